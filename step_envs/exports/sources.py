"""Reads what is exported: trajectories, run folders and files, one trajectory at a time."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from step_envs.errors import StoreError
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory

StrPath = str | os.PathLike[str]
Source = StrPath | Iterable[StrPath] | Iterable[Trajectory]
"""Trajectories, or where they are: run folders or files, one or several."""

Keep = Callable[[Trajectory], bool]
Row = tuple[str, Trajectory]
"""A trajectory and its name in the file."""


def named(source: Source, keep: Keep | None) -> Iterator[Row]:
    """Read trajectories and name each after its task, with a number from the second of a task on."""
    counts: Counter[str] = Counter()
    used: set[str] = set()
    for trajectory in filter(keep or (lambda trajectory: True), _trajectories(source)):
        task = trajectory.task_id
        counts[task] += 1
        row_id = task if counts[task] == 1 else f"{task}#{counts[task]}"
        while row_id in used:
            counts[task] += 1
            row_id = f"{task}#{counts[task]}"
        used.add(row_id)
        yield row_id, trajectory


def _trajectories(source: Source) -> Iterator[Trajectory]:
    for item in [source] if isinstance(source, (str, os.PathLike)) else source:
        if isinstance(item, Trajectory):
            yield item
            continue
        try:
            yield from read_trajectories(item)
        except OSError as error:
            # As a StoreError, for an OSError would be reported as a fault of the file that is being written.
            raise StoreError(f"Cannot read {item}: {error.strerror}.") from error


def digested(rows: Iterator[Row], digest: Any) -> Iterator[Row]:
    """Yield the rows unchanged, and add their trajectories to a hash."""
    for row_id, trajectory in rows:
        digest.update(trajectory.to_json().encode())
        yield row_id, trajectory
