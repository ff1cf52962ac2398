"""What the tests of all engines with worker processes need: runs in the coin world, and their workers."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import own_world  # noqa: F401  (registers Coin-v0)
import psutil

from step_envs.collection import Progress
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory

HERE = Path(__file__).parent / "cluster"
PATHS = os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, sys.path)])
"""PYTHONPATH with which other processes find the worlds of the tests."""
KEY = "sk-marker-0123456789abcdef"


def without_time(out: Path) -> dict[int | None, Any]:
    """Return the trajectories of a run by episode, without what they cost; none is there twice."""
    found = list(read_trajectories(out))
    kept = {trajectory.episode: trajectory.model_dump(exclude={"usage"}) for trajectory in found}
    assert len(kept) == len(found)
    return kept


def descendants(is_wanted: Callable[[str], bool], of: int | None = None) -> list[psutil.Process]:
    """Return the processes under this one, or under another, whose command line is wanted."""
    found = []
    for child in psutil.Process(of).children(recursive=True):
        with suppress(psutil.Error):
            if is_wanted(" ".join(child.cmdline())):
                found.append(child)
    return found


def kill_one_at(counts: set[int], workers: Callable[[], list[psutil.Process]]) -> Any:
    """Return a watcher that kills a worker at each of these numbers of episodes, and takes the number out."""

    def watch(progress: Progress, trajectory: Trajectory | None) -> None:
        if progress.kept in counts:
            counts.discard(progress.kept)
            workers()[0].kill()

    return watch
