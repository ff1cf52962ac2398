"""Statistics of official households: how much furniture a room has, which things are in it, and where they are.

The tables in ``data/households.json`` are counts over the 3,553 official training games. The generator draws from them, and
the explorer searches first where they say that a thing usually is. ``benchmarks/alfworld_households.py`` measures them and
compares generated households with official ones.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import accumulate
from typing import NamedTuple

ROOMS = ("kitchen", "living room", "bedroom", "bathroom")

LOOSE = ""
"""Name, among the homes of a type, of things that are in no receptacle."""


class Numbers(NamedTuple):
    """How many of a type a room has.

    Attributes:
        numbers: The numbers that occur, 0 included.
        weights: The weight of each.
        cumulative: The sum of the weights up to each; a draw from these is twice as fast.
    """

    numbers: Sequence[int]
    weights: Sequence[int]
    cumulative: Sequence[int]

    def draw(self, rng: random.Random) -> int:
        """Draw one of the numbers, weighted."""
        return rng.choices(self.numbers, cum_weights=self.cumulative)[0]


@dataclass(frozen=True, slots=True)
class RoomStatistics:
    """Statistics of the rooms of one kind.

    Attributes:
        receptacles: Receptacle type -> how many a room has.
        things: The same for things.
        homes: Thing type -> receptacle type (or ``LOOSE``) -> weight.
        shared_place: Probability that a receptacle is reached from the location of another one.
    """

    receptacles: Mapping[str, Numbers]
    things: Mapping[str, Numbers]
    homes: Mapping[str, Mapping[str, int]]
    shared_place: float


@dataclass(frozen=True, slots=True)
class HouseholdStatistics:
    """Statistics of official households.

    Attributes:
        rooms: Kind of room -> its statistics.
        goals: Task type -> kind of room -> (target type, place type) -> weight.
        openable: Receptacle type -> probability that it has a door, which is then closed.
        cold: Thing type -> probability that it is cold at the start.
    """

    rooms: Mapping[str, RoomStatistics]
    goals: Mapping[str, Mapping[str, Mapping[tuple[str, str], int]]]
    openable: Mapping[str, float]
    cold: Mapping[str, float]

    def room_for(self, task_type: str, rng: random.Random) -> str:
        """Draw the kind of room for a task type, weighted by the number of official games in each kind."""
        weights = {room: sum(goals.values()) for room, goals in self.goals[task_type].items()}
        return weighted_choice(weights, rng)


def weighted_choice(weights: Mapping[str, float], rng: random.Random) -> str:
    """Draw one of the names, weighted."""
    return rng.choices(list(weights), list(weights.values()))[0]


@lru_cache(maxsize=1)
def load_statistics() -> HouseholdStatistics:
    """Load the tables; they are read once."""
    tables = json.loads(files("step_envs.alfworld").joinpath("data/households.json").read_text(encoding="utf-8"))
    goals: dict[str, dict[str, dict[tuple[str, str], int]]] = {}
    for task_type, listed in tables["goals"].items():
        for room, target, place, weight in listed:
            goals.setdefault(task_type, {}).setdefault(room, {})[(target, place)] = weight
    return HouseholdStatistics(
        rooms={name: _room(table) for name, table in tables["rooms"].items()},
        goals=goals,
        openable=tables["openable"],
        cold=tables["cold"],
    )


def _room(table: Mapping[str, Mapping[str, Mapping[str, int]]]) -> RoomStatistics:
    games = int(table["games"])  # type: ignore[call-overload]
    standing = table["standing"]
    return RoomStatistics(
        receptacles={name: _numbers(counts, games) for name, counts in table["receptacles"].items()},
        things={name: _numbers(counts, games) for name, counts in table["things"].items()},
        homes=table["homes"],
        shared_place=1 - int(standing["places"]) / int(standing["receptacles"]),  # type: ignore[call-overload]
    )


def _numbers(counts: Mapping[str, int], games: int) -> Numbers:
    numbers = {0: games - sum(counts.values())} | {int(number): weight for number, weight in sorted(counts.items())}
    return Numbers(list(numbers), list(numbers.values()), list(accumulate(numbers.values())))
