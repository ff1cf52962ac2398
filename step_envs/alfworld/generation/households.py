"""What official households are like: how much furniture a room has, what lies about in it, and where.

The tables in ``data/households.json`` are counts over the 3,553 official training games;
``benchmarks/alfworld_households.py`` measures them and compares generated households with official ones.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

ROOMS = ("kitchen", "living room", "bedroom", "bathroom")

LOOSE = ""
"""Where things stand that are in no receptacle, among the homes of a type."""


@dataclass(frozen=True, slots=True)
class Room:
    """How rooms of one kind are.

    Attributes:
        receptacles: Type -> (numbers of them, weights); zero is among the numbers.
        things: The same for things.
        homes: Thing type -> receptacle type (or ``LOOSE``) -> weight.
        shared_place: Chance that a receptacle is reached from the place of another.
    """

    receptacles: Mapping[str, tuple[list[int], list[int]]]
    things: Mapping[str, tuple[list[int], list[int]]]
    homes: Mapping[str, Mapping[str, int]]
    shared_place: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """How official households are.

    Attributes:
        rooms: Kind of room -> what it is like.
        goals: Task type -> room -> (target type, place type) -> weight.
        openable: Receptacle type -> chance that it can be opened and is closed.
        cold: Thing type -> chance that it is cold at the start.
    """

    rooms: Mapping[str, Room]
    goals: Mapping[str, Mapping[str, Mapping[tuple[str, str], int]]]
    openable: Mapping[str, float]
    cold: Mapping[str, float]

    def room_for(self, task_type: str, rng: random.Random) -> str:
        """Draw the kind of room for a task type, as often as official games are set there."""
        weights = {room: sum(goals.values()) for room, goals in self.goals[task_type].items()}
        return draw(weights, rng)


def draw(weights: Mapping[str, float], rng: random.Random) -> str:
    """Draw a name by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


@lru_cache(maxsize=1)
def statistics() -> Statistics:
    """Load the tables."""
    tables = json.loads(files("step_envs.alfworld").joinpath("data/households.json").read_text(encoding="utf-8"))
    goals: dict[str, dict[str, dict[tuple[str, str], int]]] = {}
    for task_type, listed in tables["goals"].items():
        for room, target, place, weight in listed:
            goals.setdefault(task_type, {}).setdefault(room, {})[(target, place)] = weight
    return Statistics(
        rooms={name: _room(table) for name, table in tables["rooms"].items()},
        goals=goals,
        openable=tables["openable"],
        cold=tables["cold"],
    )


def _room(table: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Room:
    games = int(table["games"])  # type: ignore[call-overload]
    standing = table["standing"]
    return Room(
        receptacles={name: _numbers(counts, games) for name, counts in table["receptacles"].items()},
        things={name: _numbers(counts, games) for name, counts in table["things"].items()},
        homes=table["homes"],
        shared_place=1 - int(standing["places"]) / int(standing["receptacles"]),  # type: ignore[call-overload]
    )


def _numbers(counts: Mapping[str, int], games: int) -> tuple[list[int], list[int]]:
    numbers = {0: games - sum(counts.values())} | {int(number): weight for number, weight in sorted(counts.items())}
    return list(numbers), list(numbers.values())
