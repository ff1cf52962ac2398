"""What an episode came to: the part of a trajectory that counts and filters need, read three times as fast as the whole.

To resume a run with a hundred thousand episodes, only their numbers, outcomes and verdicts have to be known, and not a word
of what was said. Lines are still parsed whole, so that a line that is no JSON, or lacks one of these fields, is found.
"""

import os
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from step_envs.store import read_records
from step_envs.trajectory import ErrorCategory, Kind, StopReason, Usage


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class VerdictOutcome(_Part):
    """Of a verdict: see ``trajectory.Verdict``."""

    status: Literal["ok", "error", "unknown"]
    reason: str | None = None
    category: ErrorCategory | None = None
    usage: Usage | None = None


class TurnOutcome(_Part):
    """Of a turn: see ``trajectory.Turn``."""

    kind: Kind
    loss: float = 0.0
    action: str | None = None
    valid_action: bool | None = None
    verdict: VerdictOutcome | None = None
    logprobs: list[Any] | None = None


class TeacherOutcome(_Part):
    """Of a teacher: see ``trajectory.Actor``."""

    name: str


class EpisodeOutcome(_Part):
    """Of a trajectory: see ``trajectory.Trajectory``, whose attributes have the same names."""

    env_id: str
    task_id: str
    task_type: str
    episode: int | None = None
    protocol: dict[str, Any] = {}
    teacher: TeacherOutcome | None = None
    turns: tuple[TurnOutcome, ...]
    score: float
    success: bool
    reward: float
    stop_reason: StopReason
    errors: int
    unknown_verdicts: int
    usage: Usage = Usage()


def read_outcomes(path: str | os.PathLike[str]) -> Iterator[EpisodeOutcome]:
    """Read what the episodes of a store came to, one at a time, in the order of writing.

    Args:
        path: The file, or the run folder that holds it as ``trajectories.jsonl``.

    Raises:
        StoreError: As ``read_trajectories``, except that only the fields that are read are checked.
    """
    return read_records(path, EpisodeOutcome)
