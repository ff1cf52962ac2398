"""What there is to play: the official games where they are on this machine, and generated households everywhere.

Task ids say which they are: ``valid_unseen/<task folder>/<trial folder>`` is official, ``generated/<type>/<seed>`` and
``generated-small/<type>/<seed>`` are not.
"""

import os
import warnings
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.archive import GET_DATA, SPLITS, GameFiles, open_games
from step_envs.alfworld.games.game import Game, read_game
from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.generation.generator import generate_household
from step_envs.alfworld.generation.household import HOUSEHOLD_SIZES, HouseholdSize
from step_envs.alfworld.generation.task_ids import SEEDS, make_task_id, parse_task_id, split_of_seed
from step_envs.alfworld.generation.writer import write_game
from step_envs.alfworld.planning.errands import shortest_plan
from step_envs.errors import DataError, unknown_name
from step_envs.spaces import require_text
from step_envs.tasks import TaskSet

OFFICIAL_COUNTS = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}
"""How many games each split has in the complete release."""

ETO_STEP_LIMIT = 40

_GAMES_KEPT = 64  # parsed games in memory: about 0.1 MB each
_UNSOLVABLE = (b'"solvable": false', b'"solvable":false')

Source = Literal["auto", "official", "generated"]


class PartialDataWarning(UserWarning):
    """A split has fewer or more games than the complete release."""


class AlfworldTasks(TaskSet):
    """Tasks of ALFWorld, of either origin."""

    splits: tuple[str, ...] = SPLITS
    types = TASK_TYPES

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Game] = OrderedDict()

    @abstractmethod
    def file(self, task_id: str) -> bytes:
        """Give the game file of a task as it is on disk, or as it would be written.

        Raises:
            UnknownNameError: There is no such task.
            DataError: It cannot be read.
        """

    @abstractmethod
    def where(self, task_id: str) -> str:
        """Say where a task's game file lies, for messages."""

    def game(self, task_id: str) -> Game:
        """Read a task's game. The last few that were asked for are kept.

        Raises:
            UnknownNameError: There is no such task.
            DataError: The game file is malformed or cannot be won; the message names file and reason.
        """
        game = self._kept.pop(task_id, None)
        if game is None:
            game = read_game(self.file(task_id), self.where(task_id))
            _require_playable(game)
            if len(self._kept) >= _GAMES_KEPT:
                self._kept.popitem(last=False)
        self._kept[task_id] = game
        return game

    def max_steps(self, task_id: str) -> int:
        """Give the ETO protocol's limit, the same for all tasks."""
        return ETO_STEP_LIMIT


class OfficialTasks(AlfworldTasks):
    """The official games.

    Args:
        data_path: A folder or archive; None looks where ``ALFWORLD_DATA`` says, then in ``~/.cache/alfworld``.

    Raises:
        DataError: There are none; the message names the command that gets them.
    """

    def __init__(self, data_path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        path = Path(data_path).expanduser() if data_path is not None else find_data()
        if path is None:
            raise DataError(
                "There are no official ALFWorld games: "
                f"ALFWORLD_DATA is not set and {usual_cache()} is not there; {GET_DATA}."
            )
        self._files: GameFiles = open_games(path)
        self.splits = tuple(split for split in SPLITS if self._by_split[split])

    @property
    def path(self) -> Path:
        """Where the games lie."""
        return self._files.path

    @cached_property
    def _by_split(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name in self._files.names:
            found[name.partition("/")[0]].append(name)
        return {split: self._playable(split, names) for split, names in found.items()}

    def _playable(self, split: str, names: list[str]) -> tuple[str, ...]:
        if len(names) <= OFFICIAL_COUNTS[split]:
            return tuple(names)
        # Some downloads also bring games that are marked as unsolvable; only then is every file looked into.
        return tuple(name for name in names if not any(mark in self._files.read(name) for mark in _UNSOLVABLE))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Count the games: split -> (found, in the complete release)."""
        return {split: (len(names), OFFICIAL_COUNTS[split]) for split, names in self._by_split.items()}

    def ids(self, split: str) -> Sequence[str]:
        """List the games of a split, sorted by name; warns where it is not the complete release."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        found, expected = self.counts()[split]
        if not found:
            have = ", ".join(self.splits)
            raise DataError(f"{self.path} has no games of the split {split!r} (only of {have}): {GET_DATA}.")
        if found != expected:
            warnings.warn(
                f"{self.path} has {found} games of the split {split!r}; the complete release has {expected}.",
                PartialDataWarning,
                stacklevel=2,
            )
        return self._by_split[split]

    def select(self, split: str, task_types: Sequence[str] | None = None) -> Sequence[str]:
        """List the games of a split, of the given types only; see ``TaskSet``."""
        if split in SPLITS and split not in self.splits:
            self.ids(split)  # raises: the split exists, but not here
        return super().select(split, task_types)

    def split_of(self, task_id: str) -> str:
        """Name the split, which is the first part of the id."""
        self._check(task_id)
        return task_id.partition("/")[0]

    def type_of(self, task_id: str) -> str:
        """Name the task type, with which the task folder's name begins."""
        self._check(task_id)
        return task_id.split("/")[1].partition("-")[0]

    def file(self, task_id: str) -> bytes:
        """Read the game file."""
        self._check(task_id)
        return self._files.read(task_id)

    def where(self, task_id: str) -> str:
        """Say where the game file lies."""
        return self._files.where(task_id)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._files.names)

    def _check(self, task_id: str) -> None:
        if require_text(task_id, "A task id") not in self._known:
            raise unknown_name("task", task_id, self._files.names)


class GeneratedTasks(AlfworldTasks):
    """Households made up by seed: any number of them, without any download.

    Splits are ranges of seeds. ``ids`` lists the first of each range, all task types in turn; every other seed, and the
    other size, is played by naming it.

    Args:
        games: How many games of each task type ``ids`` lists: by split; None is about the official numbers.
        size: Size of the households that ``ids`` lists: ``"full"`` or ``"small"``.

    Raises:
        UnknownNameError: There is no such size.
    """

    def __init__(self, games: dict[str, int] | None = None, size: HouseholdSize = "full") -> None:
        super().__init__()
        if size not in HOUSEHOLD_SIZES:
            raise unknown_name("household", size, HOUSEHOLD_SIZES)
        self._size = size
        self._games = {"train": 600, "valid_seen": 24, "valid_unseen": 24} | (games or {})

    def ids(self, split: str) -> Sequence[str]:
        """List the split's first seeds, each with all six task types."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        seeds = SEEDS[split][: self._games[split]]
        return tuple(make_task_id(task_type, seed, self._size) for seed in seeds for task_type in TASK_TYPES)

    def split_of(self, task_id: str) -> str:
        """Name the split that the seed belongs to."""
        return split_of_seed(parse_task_id(task_id).seed)

    def type_of(self, task_id: str) -> str:
        """Name the task type."""
        return parse_task_id(task_id).task_type

    def file(self, task_id: str) -> bytes:
        """Write the household as a game file."""
        return write_game(generate_household(*parse_task_id(task_id))).encode()

    def where(self, task_id: str) -> str:
        """Name the task: it is its own place."""
        return task_id


def _require_playable(game: Game) -> None:
    engine = Engine(game)
    if engine.won:
        raise DataError(f"{game.source}: the goal already holds at the start, so there is nothing to play.")
    if shortest_plan(engine) is None:
        raise DataError(
            f"{game.source}: the goal cannot be reached: {game.instruction!r} has no solution in this household."
        )


def usual_cache() -> Path:
    """Name the folder where the package alfworld keeps its data."""
    return Path.home() / ".cache" / "alfworld"


def named_folder() -> Path | None:
    """Name the folder or archive that ``ALFWORLD_DATA`` names; None where it is not set."""
    named = os.environ.get("ALFWORLD_DATA")
    return Path(named).expanduser() if named else None


def find_data() -> Path | None:
    """Find official games: where ``ALFWORLD_DATA`` says, else in the usual cache; None where neither is there."""
    cache, named = usual_cache(), named_folder()
    # Importing the package alfworld sets the variable to the usual cache and makes that folder, empty.
    if named is not None and (named != cache or any(cache.glob("*"))):
        return named
    return cache if any(cache.glob("json_2.1.*")) else None


def find_tasks(
    data_path: str | os.PathLike[str] | None = None, source: Source = "auto", household: HouseholdSize = "full"
) -> AlfworldTasks:
    """Decide what is played.

    Args:
        data_path: Folder or archive of official games.
        source: ``"official"``, ``"generated"``, or ``"auto"``: official where they are named or found, else generated.
        household: Size of generated households; only those can be ``"small"``, so with ``"auto"`` it asks for them.

    Raises:
        UnknownNameError: There is no such source or size.
        DataError: Official games were named or asked for and are not there.
    """
    if source not in ("auto", "official", "generated"):
        raise unknown_name("source", source, ("auto", "official", "generated"))
    if household != "full" and (source == "official" or data_path is not None):
        asked = 'source="official"' if data_path is None else f"data_path={str(data_path)!r}"
        raise ValueError(f"{asked} asks for official games, household={household!r} for generated ones: leave one out.")
    if source == "generated" or household != "full":
        if data_path is not None:
            raise ValueError(
                f'data_path={str(data_path)!r} names official games, but source="generated" asks for others.'
            )
        return GeneratedTasks(size=household)
    if source == "official" or data_path is not None or find_data() is not None:
        return OfficialTasks(data_path)
    return GeneratedTasks()
