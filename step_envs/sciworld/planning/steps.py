"""What an action is for (travel, looking, measuring, waiting, watering, or anything else), and the steps of a solution.

A plan can only be shortened or repaired if it is known which of its actions change the world, which only pass the time, and
where each is done. This is read from the action's words and from the engine's answer.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

NOT_UNDERSTOOD = ("No known action matches that input.", "Unknown action.")
"""How the engine's answer begins if it did not understand an action."""

_NO_EFFECT = re.compile(
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


class ActionKind(Enum):
    """What an action is for."""

    TRAVEL = auto()
    LOOK = auto()
    MEASURE = auto()
    WAIT = auto()
    WATER = auto()
    ANSWER = auto()
    ACT = auto()


_KINDS = (
    (ActionKind.TRAVEL, re.compile(r"(go( to)?|teleport( to)?|open door to|close door to) .+")),
    (
        ActionKind.LOOK,
        re.compile(r"look( around| at .+| in .+)?|examine .+|read .+|inventory|inv|task|objects|help"),
    ),
    (ActionKind.MEASURE, re.compile(r"use thermometer\b.* on .+")),
    (ActionKind.WAIT, re.compile(r"wait1?|wait 1")),
    (
        ActionKind.WATER,
        re.compile(r"(de)?activate sink|move jug to sink|pour jug (into|in) (self watering )?flower pot .+"),
    ),
    (ActionKind.ANSWER, re.compile(r"\d+")),
)


def normalize(action: str) -> str:
    """Return an action as the engine reads it: in lower case, with single spaces."""
    return " ".join(action.lower().split())


def action_kind(action: str) -> ActionKind:
    """Return what an action is for."""
    text = normalize(action)
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), ActionKind.ACT)


def had_no_effect(observation: str) -> bool:
    """Return True if the engine's answer means that the action changed nothing but the clock."""
    return _NO_EFFECT.match(observation) is not None


@dataclass(frozen=True, slots=True)
class PlanStep:
    """An action of a solution and the room it is done in, without the travel to that room.

    Attributes:
        action: The action.
        room: Where it is done.
        observation: What the engine answered (to the number, if it asked which object is meant).
        ticks: Ticks of the engine's clock that it took.
        score: The engine's score after it.
        answer: The number that was given when the engine asked which object is meant; None if it did not ask.
        start: The engine's clock before it.
        soft: True if it only shows something or lets time pass: it may be left out if the goal is reached without it.
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
    def kind(self) -> ActionKind:
        """What the action is for."""
        return action_kind(self.action)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What has to be typed: the action, and the answer if there is one."""
        return (self.action,) if self.answer is None else (self.action, self.answer)
