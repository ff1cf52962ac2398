"""Episodes that ended without a trajectory: what ``failures.jsonl`` says of them.

The file is a log: an episode that failed and succeeded on resume is still in it. Whoever shows a run therefore names the
episodes that have a trajectory by now, so that only what is still missing is reported.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from step_envs.errors import StoreError, shortened
from step_envs.file_reading import parse_json
from step_envs.store import read_lines

FAILURES = "failures.jsonl"
"""File in a run folder: one line for each episode that ended without a trajectory."""


_LONGEST_REASON = 1000
_FIGURES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\d+(?:[.,]\d+)*")
"""What differs between two failures of one kind: addresses, request ids, numbers."""
_ADVICE = (
    (
        r"context window|context length|does not fit|too long",
        "Give the model a longer context window, lower max_tokens, or play with a lower max_steps.",
    ),
    (
        r"endpoint|connection|ConnectError|went down",
        "Look at the server of the model; when it answers again, add --resume to the same command.",
    ),
    (
        r"took longer than",
        "Give episodes more time with --episode-seconds, or play fewer at once with --concurrency.",
    ),
    (
        r"no usable verdict|verdict",
        "Try the teacher alone with step-envs teacher-eval; --on-unknown continue keeps such episodes.",
    ),
    (
        r"MemoryError|out of memory|process ended|died|WorkerLost",
        "The machine may be short of memory: play fewer episodes at once with --concurrency.",
    ),
)
"""What to look for in a reason, and what to do about it."""
_OTHERWISE = "The traceback is in failures.jsonl; where the cause is gone, --resume plays these episodes again."


class FailedEpisode(NamedTuple):
    """An episode without a trajectory: its number, its task, and why it failed."""

    episode: int | None
    task_id: str
    reason: str


class FailureGroup(NamedTuple):
    """Failed episodes whose reasons differ in numbers only.

    Attributes:
        example: The first of them, whose reason stands for all.
        episodes: How many they are.
        advice: What to do about it.
    """

    example: FailedEpisode
    episodes: int
    advice: str


class FailureGroups:
    """Groups failed episodes by reason while they come."""

    def __init__(self, failed: Iterable[FailedEpisode] = ()) -> None:
        self._groups: dict[str, FailureGroup] = {}
        for one in failed:
            self.add(one)

    def add(self, failed: FailedEpisode) -> None:
        """Add a failed episode."""
        reason = shortened(" ".join(failed.reason.split()), _LONGEST_REASON)
        kind = _FIGURES.sub("#", reason)
        group = self._groups.get(kind)
        if group is None:
            group = FailureGroup(failed._replace(reason=reason), 0, failure_advice(reason))
        self._groups[kind] = group._replace(episodes=group.episodes + 1)

    def groups(self) -> list[FailureGroup]:
        """List the groups, the largest first."""
        return sorted(self._groups.copy().values(), key=lambda group: -group.episodes)


def failure_advice(reason: str) -> str:
    """Say in a sentence what to do about episodes that failed for a reason."""
    return next((words for pattern, words in _ADVICE if re.search(pattern, reason, re.IGNORECASE)), _OTHERWISE)


def parse_failure(line: bytes, place: str) -> FailedEpisode:
    """Read one line of ``failures.jsonl``.

    Args:
        line: The line.
        place: Where it is, for the error: ``"Line 3 of runs/x/failures.jsonl"``.

    Raises:
        StoreError: It is no record of a failed episode.
    """
    record: Any = parse_json(line, place)
    try:
        return FailedEpisode(record["episode"], str(record["task_id"]), str(record["reason"]))
    except (KeyError, TypeError) as error:
        raise StoreError(f"{place} is no record of a failed episode: it lacks {error}.") from error


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
        failed = parse_failure(line, f"Line {number} of {file}")
        found.pop(failed.episode, None)
        found[failed.episode] = failed
    return [failed for failed in found.values() if failed.episode not in played]
