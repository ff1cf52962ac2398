"""What the page that follows runs asks for, as JSON: new rows of the list, and the conversations of a chunk."""

import json
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path

from step_envs.runs import run_names
from step_envs.viewer.pack import RowTable, Spool, failure_row, item_of
from step_envs.viewer.watched_runs import WatchedRun

_AT_ONCE = 4 * 2**20
"""Bytes of a run that are read for one answer, so that an answer never takes long."""
_ROWS = 2000
"""Rows of one answer."""
_CHUNK = 50
"""Conversations of a chunk."""


class WatchIndex:
    """The episodes of runs that may still be written, for a page that asks again and again. May be used by any thread.

    Args:
        runs: Run folders or trajectory files, which need not be there yet.

    Raises:
        ValueError: The same run is named twice.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self.names = run_names(runs)
        self._runs = [WatchedRun(run) for run in runs]
        self._lock = threading.Lock()
        self._generation = 0
        self._clear()

    def news(self, generation: int, start: int) -> str:
        """Return as JSON what has come since the last time.

        Args:
            generation: The generation that the page knows; if it is another now, the answer begins with the first row.
            start: Rows that the page has.
        """
        with self._lock:
            unread = self._advance()
            start = start if generation == self._generation and start <= len(self._rows) else 0
            stop = min(len(self._rows), start + _ROWS)
            rows = ",".join(self._rows.texts(start, stop))
            answer = {
                "generation": self._generation,
                "start": start,
                "more": unread or stop < len(self._rows),
                "tables": self._table.tables(),
                "runs": [run.figures()._asdict() for run in self._runs],
                "failures": [
                    failure_row(number, group)
                    for number, run in enumerate(self._runs)
                    for group in run.failures().groups()
                ],
            }
        return f'{json.dumps(answer, allow_nan=False).removesuffix("}")},"rows":[{rows}]}}'

    def chunk(self, number: int) -> str:
        """Return the conversations of a chunk as JSON, as many as there are now.

        Raises:
            StoreError: They are not there any more.
            IndexError: There is no such chunk.
        """
        with self._lock:
            first = number * _CHUNK
            if not 0 <= first < len(self._where):
                raise IndexError(f"There is no chunk {number}.")
            places = [divmod(place, len(self._runs)) for place in self._where[first : first + _CHUNK]]
        return f"[{','.join(item_of(self._runs[run].trajectory(at)) for at, run in places)}]"

    def problems(self) -> list[str]:
        """List what could not be read, a sentence each."""
        with self._lock:
            return [problem for run in self._runs if (problem := run.figures().problem) is not None]

    def _advance(self) -> bool:
        """Take in what was written; return whether there may be more."""
        more = False
        for run, watched in enumerate(self._runs):
            before = watched.generation
            found = watched.read(_AT_ONCE)
            if watched.generation != before:
                # What another run had is not lost, but its rows are numbered with those of this one: begin anew.
                self._runs = [WatchedRun(each.path) for each in self._runs]
                self._generation += 1
                self._clear()
                return True
            for at, trajectory in found:
                chunk, place = divmod(len(self._where), _CHUNK)
                self._rows.append(self._table.row(run, trajectory, chunk, place))
                self._where.append(at * len(self._runs) + run)
            more = more or bool(found)
        return more

    def _clear(self) -> None:
        self._table = RowTable()
        self._rows = Spool()
        self._where = array(
            "Q"
        )  # of each row the number in its run, times the number of runs, plus the number of the run
