"""Episodes that ended without a trajectory: what ``failures.jsonl`` says of them.

The file is a log: an episode that failed and succeeded on resume is still in it. Whoever shows a run therefore names the
episodes that have a trajectory by now, so that only what is still missing is reported.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from step_envs.errors import StoreError
from step_envs.file_reading import parse_json
from step_envs.store import read_lines

FAILURES = "failures.jsonl"
"""File in a run folder: one line for each episode that ended without a trajectory."""


class FailedEpisode(NamedTuple):
    """An episode without a trajectory: its number, its task, and why it failed."""

    episode: int | None
    task_id: str
    reason: str


def read_failures(run: Path, *, played: Collection[int | None] = ()) -> list[FailedEpisode]:
    """Read why episodes of a run have no trajectory, the last reason of each.

    Args:
        run: Folder of the run.
        played: Numbers of the episodes that have a trajectory, and are left out.

    Returns:
        The failed episodes, in the order of their last failure; empty if the run has no such file.

    Raises:
        StoreError: The file cannot be read; the message names the line.
    """
    file = run / FAILURES
    if not file.exists():
        return []
    found: dict[int | None, FailedEpisode] = {}
    for number, line in read_lines(file):
        place = f"Line {number} of {file}"
        record: Any = parse_json(line, place)
        try:
            failed = FailedEpisode(record["episode"], str(record["task_id"]), str(record["reason"]))
            found.pop(failed.episode, None)
            found[failed.episode] = failed
        except (KeyError, TypeError) as error:
            raise StoreError(f"{place} is no record of a failed episode: it lacks {error}.") from error
    return [failed for failed in found.values() if failed.episode not in played]
