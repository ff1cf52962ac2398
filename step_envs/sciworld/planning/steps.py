"""What an action is for: travel, looking, measuring, waiting, watering, or doing something that counts."""

import re
from dataclasses import dataclass
from enum import Enum, auto

NOT_UNDERSTOOD = ("No known action matches that input.", "Unknown action.")
"""How the engine's answer begins when it did not understand an action."""

_WITHOUT_EFFECT = re.compile(
    "|".join(
        (
            *map(re.escape, NOT_UNDERSTOOD),
            "You can't move something into itself",
            r"(The|A) .+ is already ",
            "It's not clear how to get there",
            r"The .+ appears broken",
        )
    )
)


class Kind(Enum):
    """What an action is for."""

    TRAVEL = auto()
    LOOK = auto()
    MEASURE = auto()
    WAIT = auto()
    WATER = auto()
    ANSWER = auto()
    ACT = auto()


_KINDS = (
    (Kind.TRAVEL, re.compile(r"(go( to)?|teleport( to)?|open door to|close door to) .+")),
    (
        Kind.LOOK,
        re.compile(r"look( around| at .+| in .+)?|examine .+|read .+|inventory|inv|task|objects|help"),
    ),
    (Kind.MEASURE, re.compile(r"use thermometer\b.* on .+")),
    (Kind.WAIT, re.compile(r"wait1?|wait 1")),
    (Kind.WATER, re.compile(r"(de)?activate sink|move jug to sink|pour jug (into|in) (self watering )?flower pot .+")),
    (Kind.ANSWER, re.compile(r"\d+")),
)


def normal(action: str) -> str:
    """Give an action as the engine reads it: without regard to case and spacing."""
    return " ".join(action.lower().split())


def kind_of(action: str) -> Kind:
    """Say what an action is for."""
    text = normal(action)
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), Kind.ACT)


def without_effect(observation: str) -> bool:
    """Say whether the engine's answer means that the action changed nothing but the clock."""
    return _WITHOUT_EFFECT.match(observation) is not None


@dataclass(frozen=True, slots=True)
class Step:
    """An action of a solution, freed of how the agent came to the room it is done in.

    Attributes:
        action: The action.
        room: Where it is done.
        observation: What the engine answered (to the answer, where it asked which object is meant).
        ticks: Ticks of the engine's clock that it took.
        score: The engine's score after it.
        answer: The number that was answered when the engine asked; None where it did not ask.
        start: The engine's clock before it.
        soft: It shows something or lets time pass, so that it may be left out where the goal is reached without it.
    """

    action: str
    room: str
    observation: str
    ticks: int
    score: int
    answer: str | None = None
    start: int = 0
    soft: bool = False

    @property
    def kind(self) -> Kind:
        """What the action is for."""
        return kind_of(self.action)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is typed."""
        return (self.action,) if self.answer is None else (self.action, self.answer)
