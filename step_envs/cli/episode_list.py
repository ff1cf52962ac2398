"""The list of the terminal browser: the episodes of runs that may still be written, filtered and searched."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from step_envs.collection.failures import FailureGroup
from step_envs.trajectory import Trajectory
from step_envs.viewer.watched_runs import WatchedFigures, WatchedRun

_AT_ONCE = 2 * 2**20
"""Bytes that are read between two looks at the keyboard."""


class EpisodeRow(NamedTuple):
    """What the list shows of an episode; the words of the conversation stay in the file.

    Attributes:
        run: Number of its run.
        number: Its number in that run, by which it is read again.
        episode: Number of the episode; None if it has none.
        task: Task id.
        stop: Why it ended.
        success: The goal was reached.
        score: Final score.
        steps: Number of steps.
        errors: Error turns.
        corrected: Corrections.
        unknown: Unknown verdicts.
    """

    run: int
    number: int
    episode: int | None
    task: str
    stop: str
    success: bool
    score: float
    steps: int
    errors: int
    corrected: int
    unknown: int


FILTERS: dict[str, tuple[str, Callable[[EpisodeRow], bool]]] = {
    "a": ("all", lambda row: True),
    "s": ("successes", lambda row: row.success),
    "f": ("failures", lambda row: not row.success),
    "e": ("with errors", lambda row: row.errors > 0),
    "r": ("recovered", lambda row: row.errors > 0 and row.success),
    "u": ("unknown verdicts", lambda row: row.unknown > 0),
}
"""Key of each filter, its name, and what it keeps."""


class EpisodeList:
    """Episodes of runs, as far as they are written and pass the filter.

    Args:
        runs: Run folders or trajectory files.

    Attributes:
        rows: All episodes that were read.
        shown: Those that pass filter and search.
        at: Place of the chosen one in ``shown``.
        filter: Key of the filter.
        query: Part of the task id that is searched for.
        reading: There may be more to read at once.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self._paths = list(runs)
        self.filter, self.query = "a", ""
        self._runs = [WatchedRun(path) for path in runs]
        self.rows: list[EpisodeRow] = []
        self.shown: list[EpisodeRow] = []
        self.at = 0
        self.reading = True

    def read(self) -> bool:
        """Read what was written since the last time; return whether there was anything."""
        found = False
        for run, watched in enumerate(self._runs):
            before = watched.generation
            new = watched.read(_AT_ONCE)
            if watched.generation != before:
                self._begin_again()
                return True
            for number, one in new:
                row = _row(run, number, one)
                self.rows.append(row)
                if self._passes(row):
                    self.shown.append(row)
            found = found or bool(new)
        self.reading = found
        return found

    def select(self, filter: str | None = None, query: str | None = None) -> None:
        """Change filter or search; the chosen episode stays chosen if it passes.

        Args:
            filter: Key of the filter.
            query: Part of the task id, in any case.
        """
        chosen = self.chosen()
        self.filter = self.filter if filter is None else filter
        self.query = self.query if query is None else query
        self.shown = [row for row in self.rows if self._passes(row)]
        self.at = self.shown.index(chosen) if chosen in self.shown else 0

    def move(self, by: int) -> bool:
        """Choose another episode; return False at the end of the list."""
        before = self.at
        self.at = max(0, min(len(self.shown) - 1, self.at + by))
        return self.at != before

    def chosen(self) -> EpisodeRow | None:
        """Return the chosen episode; None in an empty list."""
        return self.shown[self.at] if self.shown else None

    def trajectory(self, row: EpisodeRow) -> Trajectory:
        """Read an episode again.

        Raises:
            StoreError: It is not there any more.
        """
        return self._runs[row.run].trajectory(row.number)

    def figures(self) -> list[WatchedFigures]:
        """Return what is known of each run."""
        return [run.figures() for run in self._runs]

    def failures(self) -> list[FailureGroup]:
        """Return why episodes have no trajectory."""
        return [group for run in self._runs for group in run.failures().groups()]

    def _begin_again(self) -> None:
        self._runs = [WatchedRun(path) for path in self._paths]
        self.rows.clear()
        self.shown = []
        self.at = 0
        self.reading = True

    def _passes(self, row: EpisodeRow) -> bool:
        return FILTERS[self.filter][1](row) and self.query.lower() in row.task.lower()


def _row(run: int, number: int, one: Trajectory) -> EpisodeRow:
    return EpisodeRow(
        run=run,
        number=number,
        episode=one.episode,
        task=one.task_id,
        stop=one.stop_reason,
        success=one.success,
        score=one.score,
        steps=one.steps,
        errors=one.errors,
        corrected=sum(turn.kind == "correction" for turn in one.turns),
        unknown=one.unknown_verdicts,
    )
