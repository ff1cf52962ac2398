"""What a teacher said of the turns of an episode: which it judged, which it was not asked about, and what it called errors.

A turn can have a verdict that no teacher gave: the step that completes a task is right because the engine says so, and a
thought is right because the step that it led to was. Counts of a teacher's verdicts leave both out.
"""

from collections.abc import Sequence

from step_envs.outcomes import EpisodeOutcome, TurnOutcome
from step_envs.trajectory import ErrorCategory, Trajectory, Turn
from step_envs.wrappers.conversation import took_no_step

_STEPS = ("agent", "error", "correction", "expert")


def is_unjudged(turn: Turn | TurnOutcome, *, taught: bool) -> bool:
    """Return True for a step of the agent that its teacher was not asked about; see ``TeachingSchedule``.

    Args:
        turn: The turn.
        taught: A teacher watched the episode.
    """
    # A thought takes no step, and is judged by where it leads.
    return taught and turn.kind == "agent" and turn.verdict is None and not took_no_step(turn)


def judged_by_teacher(trajectory: Trajectory | EpisodeOutcome) -> list[bool]:
    """Return for each turn whether its verdict, which may be ``unknown``, is the teacher's own."""
    turns: Sequence[Turn | TurnOutcome] = trajectory.turns
    completing = _completed_unasked(trajectory)
    return [
        turn.verdict is not None and at != completing and not (turn.verdict.status == "ok" and took_no_step(turn))
        for at, turn in enumerate(turns)
    ]


def error_category(turn: Turn | TurnOutcome) -> ErrorCategory | None:
    """Return the category that the teacher put an error into; None where it gave none, or the turn is no error."""
    # A teacher of one's own may give a category to a step that it calls right.
    return turn.verdict.category if turn.verdict is not None and turn.verdict.status == "error" else None


def _completed_unasked(trajectory: Trajectory | EpisodeOutcome) -> int | None:
    """Return the index of the turn that completed the task without a teacher being asked; None if there is none."""
    protocol = trajectory.protocol
    if not trajectory.success or (protocol.get("intervene") == "before" and protocol.get("teach", "all") == "all"):
        return None  # a teacher that judges every step before it is carried out also judges the last one
    turns: Sequence[Turn | TurnOutcome] = trajectory.turns
    last = max((at for at, turn in enumerate(turns) if turn.kind in _STEPS), default=None)
    if last is None or turns[last].kind not in ("agent", "expert"):
        return None
    said = turns[last].verdict
    # Only a verdict that somebody was asked for costs something.
    return last if said is not None and said.status == "ok" and said.usage is None else None
