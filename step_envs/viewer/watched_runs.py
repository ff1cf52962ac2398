"""Runs that may still be written: their episodes, figures and failures so far, each line read once.

Of an episode that was read only its place in the file stays in memory: about a hundred bytes, so that a run of a hundred
thousand episodes can be watched. Its conversation is read again when somebody opens it.
"""

import codecs
import time
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from step_envs.collection.failures import FAILURES, FailedEpisode, FailureGroups, parse_failure
from step_envs.errors import StoreError, first_fault, shortened
from step_envs.file_reading import model_from_json, open_regular, read_json
from step_envs.trajectory import Trajectory
from step_envs.viewer.growing_files import GrowingFile, GrowingLine

_MOST_FAILURES = 4 * 2**20
"""Bytes of ``failures.jsonl`` that are read at one look."""
_PACE_OVER = 50
"""Episodes from whose arrival the time left is computed."""
_LONGEST_REASON = 1000

RunState = Literal["waiting", "running", "ended"]


class WatchedFigures(NamedTuple):
    """What is known of a run.

    Attributes:
        episodes: Trajectories that were read.
        planned: Episodes asked for; None where that is not known.
        failed: Episodes without a trajectory, and with a reason.
        state: ``waiting`` where nothing is written yet, ``ended`` where all that was asked for is there or the run has
            written its summary, else ``running``.
        quiet: Seconds since the last episode was written; None where there is none.
        left: Seconds that the rest takes at the pace that was seen; None where none was.
        problem: What could not be read, in a sentence; None if nothing is wrong.
    """

    episodes: int
    planned: int | None
    failed: int
    state: RunState
    quiet: float | None
    left: float | None
    problem: str | None


class WatchedRun:
    """One run that may still be written.

    Args:
        path: Folder of the run, or its file of trajectories; it need not be there yet.

    Attributes:
        path: What was named.
        folder: The folder of the run; None where a file of trajectories was named that is no run's.
    """

    def __init__(self, path: Path) -> None:
        file = path if path.suffix == ".jsonl" or path.is_file() else path / "trajectories.jsonl"
        self.path = path
        self.folder = file.parent if file.name == "trajectories.jsonl" else None
        self._file = GrowingFile(file)
        self._failures = None if self.folder is None else GrowingFile(self.folder / FAILURES)
        self._places = array("Q")
        self._played: set[int | None] = set()
        self._failed: dict[int | None, FailedEpisode] = {}
        self._arrived: deque[float] = deque(maxlen=_PACE_OVER)
        self._caught_up = False
        self._problem: str | None = None
        self._config: tuple[float, int | None] = (0.0, None)

    @property
    def generation(self) -> int:
        """How often the file was exchanged, so that what was read before is void."""
        return self._file.generation

    def read(self, most: int) -> list[tuple[int, Trajectory]]:
        """Read the episodes that were written since the last time.

        Args:
            most: Bytes after which no further episode is read.

        Returns:
            The episodes, each with the number by which ``trajectory`` finds it. If ``generation`` has changed, all that
            were returned before are void.
        """
        before = self.generation
        try:
            lines = self._file.read(most)
        except StoreError as error:
            self._problem = str(error)
            return []
        if self.generation != before:
            self._clear()
        found = []
        for line in lines:
            one = self._parse(line)
            if one is not None:
                self._places.append(line.start)
                self._played.add(one.episode)
                found.append((len(self._places) - 1, one))
        if found:
            self._arrived.extend([time.monotonic()] * len(found) if self._caught_up else [])
        self._caught_up = self._caught_up or not lines
        self._read_failures()
        return found

    def trajectory(self, number: int) -> Trajectory:
        """Read an episode again.

        Args:
            number: Its number, see ``read``.

        Raises:
            StoreError: It is not there any more.
        """
        with open_regular(self._file.path) as file:
            file.seek(self._places[number])
            line = file.readline()
        try:
            return model_from_json(Trajectory, line.removeprefix(codecs.BOM_UTF8))
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self._file.path} was changed while it was read: look at the run again.") from error

    def failures(self) -> FailureGroups:
        """Group the episodes that have failed and have no trajectory."""
        return FailureGroups(self._failed_episodes())

    def figures(self) -> WatchedFigures:
        """Return what is known of the run now."""
        planned = self._planned()
        episodes = len(self._places)
        failed = sum(1 for _ in self._failed_episodes())
        written = _modified(self._file.path)
        quiet = None if written is None or not episodes else max(0.0, time.time() - written)
        return WatchedFigures(
            episodes=episodes,
            planned=planned,
            failed=failed,
            state=self._state(planned, written),
            quiet=quiet,
            left=self._left(planned),
            problem=self._problem,
        )

    def _clear(self) -> None:
        del self._places[:]
        self._played.clear()
        self._failed.clear()
        self._arrived.clear()
        self._caught_up, self._problem = False, None

    def _parse(self, line: GrowingLine) -> Trajectory | None:
        """Parse a line; one that is no trajectory is left out and told of."""
        place = f"Line {line.number} of {self._file.path}"
        if line.text is None:
            self._problem = f"{place} is too long to be a trajectory, and is left out."
            return None
        try:
            return model_from_json(Trajectory, line.text.removeprefix(codecs.BOM_UTF8))
        except ValidationError as error:
            reason = first_fault(error)
        except (ValueError, RecursionError) as error:
            reason = str(error)
        self._problem = f"{place} is not a trajectory, and is left out: {shortened(reason, _LONGEST_REASON)}."
        return None

    def _read_failures(self) -> None:
        if self._failures is None:
            return
        before = self._failures.generation
        try:
            lines = self._failures.read(_MOST_FAILURES)
            if self._failures.generation != before:
                self._failed.clear()
            for line in lines:
                if line.text is not None:
                    failed = parse_failure(line.text, f"Line {line.number} of {self._failures.path}")
                    self._failed.pop(failed.episode, None)
                    self._failed[failed.episode] = failed._replace(reason=shortened(failed.reason, _LONGEST_REASON))
        except StoreError as error:
            self._problem = f"{error} So why episodes failed is not shown."

    def _failed_episodes(self) -> Iterator[FailedEpisode]:
        return (failed for failed in self._failed.values() if failed.episode not in self._played)

    def _planned(self) -> int | None:
        if self.folder is None:
            return None
        config = self.folder / "config.json"
        written = _modified(config)
        if written is not None and written != self._config[0]:
            try:
                episodes = read_json(config).get("episodes")
            except (StoreError, AttributeError):
                episodes = None  # the run can still be watched
            self._config = written, episodes if type(episodes) is int else None
        return None if written is None else self._config[1]

    def _state(self, planned: int | None, written: float | None) -> RunState:
        if written is None or not self._file.exists:
            return "waiting"
        if planned is not None and len(self._places) >= planned:
            return "ended"
        # A run writes its summary when it ends, whatever ended it; a resumed one goes on after that.
        summary = None if self.folder is None else _modified(self.folder / "summary.json")
        if summary is not None and summary >= written:
            return "ended"
        return "running" if len(self._places) or planned is not None else "waiting"

    def _left(self, planned: int | None) -> float | None:
        missing = 0 if planned is None else planned - len(self._places)
        passed = self._arrived[-1] - self._arrived[0] if len(self._arrived) > 1 else 0
        return passed / (len(self._arrived) - 1) * missing if passed > 0 and missing > 0 else None


def _modified(path: Path) -> float | None:
    """Return when a file was last written, in seconds since 1970; None where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
