"""The tasks of ALFWorld: official games where they are on this machine, and generated households everywhere.

The ids tell them apart: ``valid_unseen/<task folder>/<trial folder>`` is an official game, ``generated/<type>/<seed>`` and
``generated-small/<type>/<seed>`` are generated ones. Listing official games must not read thousands of files: split and
type are taken from the id, and a game file is read and checked when it is played.
"""

import hashlib
import os
import warnings
import weakref
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Literal

from typing_extensions import override

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.agentgym import AGENTGYM_SPLITS, agentgym_games
from step_envs.alfworld.games.archive import (
    COMPLETE_COUNTS,
    GET_DATA,
    OFFICIAL_SPLITS,
    SPLITS,
    GameFiles,
    open_games,
)
from step_envs.alfworld.games.game import Game, read_game
from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.generation.generator import generate_household
from step_envs.alfworld.generation.household import HOUSEHOLD_SIZES, HouseholdSize
from step_envs.alfworld.generation.task_ids import SEEDS, make_task_id, parse_task_id, split_of_seed
from step_envs.alfworld.generation.writer import make_game, write_game
from step_envs.alfworld.planning.errands import shortest_plan
from step_envs.errors import DataError, unknown_name
from step_envs.spaces import require_text
from step_envs.tasks import TaskSet

OFFICIAL_COUNTS = {split: COMPLETE_COUNTS[split][0] for split in SPLITS}
"""Split -> number of games in the complete release, for the splits that every copy should have."""

ETO_STEP_LIMIT = 40
"""Steps after which the ETO protocol truncates an episode, the same for all tasks."""

_GAMES_KEPT = 64  # parsed games kept in memory, about 0.1 MB each
_UNSOLVABLE = (b'"solvable": false', b'"solvable":false')

GameSource = Literal["auto", "official", "generated"]


class PartialDataWarning(UserWarning):
    """A split has fewer or more games than the complete release."""


class AlfworldTasks(TaskSet):
    """Tasks of ALFWorld, official or generated."""

    splits: tuple[str, ...] = SPLITS
    types = TASK_TYPES

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Game] = OrderedDict()

    @abstractmethod
    def game_file(self, task_id: str) -> bytes:
        """Return the game file of a task, read from disk or written for a generated household.

        Raises:
            UnknownNameError: There is no such task.
            DataError: The file cannot be read.
        """

    @abstractmethod
    def source_of(self, task_id: str) -> str:
        """Return where a task's game file comes from, for messages."""

    def game(self, task_id: str) -> Game:
        """Read a task's game, or return it from memory where it was among the last few that were read.

        Raises:
            UnknownNameError: There is no such task.
            DataError: The game file is malformed, or the game cannot be won; the message names file and reason.
        """
        game = self._kept.pop(task_id, None)
        if game is None:
            game = self.read(task_id)
            if len(self._kept) >= _GAMES_KEPT:
                # Threads share these tasks: another one may have taken the last game out since.
                with suppress(KeyError):
                    self._kept.popitem(last=False)
        self._kept[task_id] = game
        return game

    def read(self, task_id: str) -> Game:
        """Read a task's game from its file and check that it can be played; errors as of ``game``."""
        game = read_game(self.game_file(task_id), self.source_of(task_id))
        _require_playable(game)
        return game

    def digest(self, task_id: str) -> str:
        """Return the SHA-256 of a task's game file, in hexadecimal."""
        kept = self._kept.get(task_id)
        return kept.digest if kept is not None else hashlib.sha256(self.game_file(task_id)).hexdigest()

    @override
    def max_steps(self, task_id: str) -> int:
        return ETO_STEP_LIMIT


class OfficialTasks(AlfworldTasks):
    """The official games.

    Args:
        data_path: A folder or archive; None looks where ``ALFWORLD_DATA`` says, then in ``~/.cache/alfworld``.

    Raises:
        DataError: There are no games; the message names the command that downloads them.
    """

    def __init__(self, data_path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        path = Path(data_path).expanduser() if data_path is not None else find_data()
        if path is None:
            raise DataError(
                "There are no official ALFWorld games: "
                f"ALFWORLD_DATA is not set and {default_data_folder()} is not there; {GET_DATA}."
            )
        self._files: GameFiles = open_games(path)
        official = tuple(split for split in OFFICIAL_SPLITS if self._by_split[split])
        self.splits = official + tuple(
            split
            for split, home in AGENTGYM_SPLITS.items()
            if home in official and any(name in self._known for name in agentgym_games(split))
        )

    @property
    def path(self) -> Path:
        """Folder or archive with the games."""
        return self._files.path

    @cached_property
    def _by_split(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {split: [] for split in OFFICIAL_SPLITS}
        for name in self._files.names:
            found[name.partition("/")[0]].append(name)
        return {split: self._playable(split, names) for split, names in found.items()}

    def _playable(self, split: str, names: list[str]) -> tuple[str, ...]:
        if len(names) <= COMPLETE_COUNTS[split][0]:
            return tuple(names)
        # Some downloads contain games that are marked as unsolvable. They are the only reason to read every file.
        return tuple(name for name in names if not any(mark in self._files.read(name) for mark in _UNSOLVABLE))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return split -> (number of games found, number in a complete release); ``valid_train`` only if it is there."""
        found = {split: len(names) for split, names in self._by_split.items() if names or split in SPLITS}
        return {
            split: (count, count if count in COMPLETE_COUNTS[split] else COMPLETE_COUNTS[split][0])
            for split, count in found.items()
        }

    @override
    def ids(self, split: str) -> Sequence[str]:
        """List the games of a split, sorted by name, and warn if they are not the complete release."""
        if split in AGENTGYM_SPLITS:
            return self._agentgym_ids(split)
        if split not in OFFICIAL_SPLITS:
            raise unknown_name("split", split, (*OFFICIAL_SPLITS, *AGENTGYM_SPLITS))
        found, expected = self.counts().get(split, (0, 0))
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

    @override
    def select(self, split: str, task_types: Sequence[str] | None = None) -> Sequence[str]:
        home = AGENTGYM_SPLITS.get(split, split)
        if home in OFFICIAL_SPLITS and home not in self.splits:
            self.ids(home)  # raises an error: the split exists, but this data does not have it
        return super().select(split, task_types)

    def _agentgym_ids(self, split: str) -> Sequence[str]:
        """List the games of one of AgentGym's lists in its order, and say how many of them this data does not have."""
        listed = agentgym_games(split)
        there = [name for name in listed if name in self._known]
        if len(there) < len(listed):
            warnings.warn(
                f"Of the {len(listed)} games of AgentGym's list {split!r}, {len(listed) - len(there)} are not in "
                f"{self.path} and are skipped (complete releases lack 239 of 'agentgym_train', which cannot be solved).",
                PartialDataWarning,
                stacklevel=2,
            )
        return tuple(there)

    @override
    def split_of(self, task_id: str) -> str:
        self._check(task_id)
        return task_id.partition("/")[0]

    @override
    def type_of(self, task_id: str) -> str:
        self._check(task_id)
        return task_id.split("/")[1].partition("-")[0]

    @override
    def game_file(self, task_id: str) -> bytes:
        self._check(task_id)
        return self._files.read(task_id)

    @override
    def source_of(self, task_id: str) -> str:
        return self._files.source_of(task_id)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._files.names)

    def _check(self, task_id: str) -> None:
        if require_text(task_id, "A task id") not in self._known:
            raise unknown_name("task", task_id, self._files.names)


class GeneratedTasks(AlfworldTasks):
    """Generated households: any number of them, without a download.

    A split is a range of seeds. ``ids`` lists the first seeds of the range, each with all task types. Every other seed, and
    the other size, can be played by its id.

    Args:
        games: Split -> number of games of each task type that ``ids`` lists; None is about the official numbers.
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

    @override
    def select(self, split: str, task_types: Sequence[str] | None = None) -> Sequence[str]:
        if split in OFFICIAL_SPLITS[len(SPLITS) :] or split in AGENTGYM_SPLITS:
            raise DataError(f"The split {split!r} has official games only: {GET_DATA}.")
        return super().select(split, task_types)

    @override
    def ids(self, split: str) -> Sequence[str]:
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        seeds = SEEDS[split][: self._games[split]]
        return tuple(make_task_id(task_type, seed, self._size) for seed in seeds for task_type in TASK_TYPES)

    @override
    def split_of(self, task_id: str) -> str:
        return split_of_seed(parse_task_id(task_id).seed)

    @override
    def type_of(self, task_id: str) -> str:
        return parse_task_id(task_id).task_type

    @override
    def read(self, task_id: str) -> Game:
        """Make the game of a household, which cannot fail to be playable, without writing and reading its file."""
        return make_game(generate_household(*parse_task_id(task_id)))

    @override
    def game_file(self, task_id: str) -> bytes:
        return write_game(generate_household(*parse_task_id(task_id))).encode()

    @override
    def source_of(self, task_id: str) -> str:
        return task_id


def _require_playable(game: Game) -> None:
    engine = Engine(game)
    if engine.won:
        raise DataError(f"{game.source}: the goal already holds at the start, so there is nothing to play.")
    if shortest_plan(engine) is None:
        raise DataError(
            f"{game.source}: the goal cannot be reached: {game.instruction!r} has no solution in this household."
        )


def default_data_folder() -> Path:
    """Return the folder where the package alfworld keeps its data."""
    return Path.home() / ".cache" / "alfworld"


def data_folder_from_environment() -> Path | None:
    """Return the folder or archive that ``ALFWORLD_DATA`` names; None if it is not set."""
    named = os.environ.get("ALFWORLD_DATA")
    return Path(named).expanduser() if named else None


def find_data() -> Path | None:
    """Find official games where ``ALFWORLD_DATA`` says, else in the default folder; None if there are none."""
    cache, named = default_data_folder(), data_folder_from_environment()
    # Importing the package alfworld sets the variable to the default folder and creates that folder, empty.
    if named is not None and (named != cache or any(cache.glob("*"))):
        return named
    return cache if any(cache.glob("json_2.1.*")) else None


def find_tasks(
    data_path: str | os.PathLike[str] | None = None, source: GameSource = "auto", household: HouseholdSize = "full"
) -> AlfworldTasks:
    """Choose between official and generated tasks.

    Args:
        data_path: Folder or archive of official games.
        source: ``"official"``, ``"generated"``, or ``"auto"``: official ones if they are named or found, else generated.
        household: Size of generated households. Official ones are never ``"small"``, so with ``"auto"`` this size asks for
            generated ones.

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
        return _shared(("generated", household), lambda: GeneratedTasks(size=household))
    found = find_data() if data_path is None else Path(data_path).expanduser()
    if source == "official" or found is not None:
        return _shared(("official", _state_of(found)), lambda: OfficialTasks(data_path))
    return _shared(("generated", "full"), GeneratedTasks)


_in_use: "weakref.WeakValueDictionary[object, AlfworldTasks]" = weakref.WeakValueDictionary()


def _shared(key: object, make: Callable[[], AlfworldTasks]) -> AlfworldTasks:
    """Return the tasks that open environments play already: the ids of a split take half a megabyte."""
    tasks = _in_use.get(key)
    if tasks is None:
        tasks = _in_use[key] = make()
    return tasks


def _state_of(path: Path | None) -> object:
    """Describe a folder or archive so that another description follows from games that are added or taken away."""
    if path is None:
        return None
    try:
        places = [path, *sorted(path.glob("*")), *sorted(path.glob("*/*"))] if path.is_dir() else [path]
        return tuple((str(place.absolute()), place.stat().st_mtime_ns, place.stat().st_size) for place in places[:200])
    except OSError:
        return object()
