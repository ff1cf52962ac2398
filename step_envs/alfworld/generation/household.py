"""A generated household as data: furniture, things in it, and a task.

``generator`` makes households, ``writer`` turns them into game files. Both import this module, so that neither has to
import the other. Types are spelled as in ``vocabulary``, ids and locations as in official game files.
"""

from dataclasses import dataclass, field
from typing import Literal

from step_envs.alfworld.games.goal import Goal, make_goal
from step_envs.alfworld.generation.vocabulary import fact_type

HouseholdSize = Literal["full", "small"]

HOUSEHOLD_SIZES: tuple[HouseholdSize, ...] = ("full", "small")
"""Sizes of households: that of official ones, or a few receptacles out of such a household."""


@dataclass(frozen=True, slots=True)
class Furniture:
    """A receptacle of a layout.

    Attributes:
        id: Its id in facts.
        type: Its type.
        place: Id of the location that it is reached from; several receptacles can share one.
        openable: It has a door, which is closed at the start.
        position: x, height and z, in metres.
    """

    id: str
    type: str
    place: str
    openable: bool
    position: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Item:
    """A thing of a household.

    Attributes:
        id: Its id in facts.
        type: Its type.
        home: The receptacle that it is in or on; None for a thing that stands by itself.
        place: Id of the location that it is reached from.
        cold: It is cold at the start.
        inside: Id of the thing that it is inside of, such as a spoon in a mug.
    """

    id: str
    type: str
    home: Furniture | None
    place: str
    cold: bool = False
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A room with its furniture, before there are things in it.

    Attributes:
        room: Kind of room, one of ``household_statistics.ROOMS``.
        number: Number of the layout among those of its kind.
        furniture: Its receptacles.
        start: Id of the location where the agent begins.
    """

    room: str
    number: int
    furniture: tuple[Furniture, ...]
    start: str

    def of_type(self, name: str) -> list[Furniture]:
        """List the receptacles of a type."""
        return [piece for piece in self.furniture if piece.type == name]


@dataclass(frozen=True)
class Household:
    """A furnished room with things in it, and a task.

    Attributes:
        task_type: One of ``goal.TASK_TYPES``.
        seed: The seed that it was made from.
        layout: The room.
        items: The things.
        target: Type of the thing that the task asks for.
        place: Type of the receptacle, or of the lamp, that the task names.
        sentence: The task in words.
        size: Its size.
        goal: The goal in the engine's terms; computed from the fields above.
    """

    task_type: str
    seed: int
    layout: Layout
    items: tuple[Item, ...]
    target: str
    place: str
    sentence: str
    size: HouseholdSize = "full"
    goal: Goal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "goal", make_goal(self.task_type, fact_type(self.target), fact_type(self.place)))
