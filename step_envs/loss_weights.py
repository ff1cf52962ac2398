"""How much a turn weighs in training: the one place that decides it.

The weight depends on what kind of turn it is, on what a teacher said of it, and on the mask that training applies. The
wrappers ask when a turn is recorded and when its verdict is there; the training code asks again for another mask. With the
rule in one function a recorded weight and a weight computed later cannot disagree.
"""

from typing import Literal

from step_envs.trajectory import Kind

VerdictStatus = Literal["ok", "error", "unknown"]

Masking = Literal["partial", "none", "drop"]
"""How turns that were judged wrong are trained on: in the context but not in the loss (``partial``), like all others
(``none``), or not at all (``drop``)."""


def turn_weight(
    kind: Kind,
    verdict: VerdictStatus | None = None,
    *,
    has_teacher: bool = False,
    ended_in_failure: bool = False,
    unfinished: bool = False,
    masking: Masking = "partial",
    error_weight: float = 0.0,
) -> float:
    """Return the weight of every token of a turn in the training loss.

    Args:
        kind: Kind of the turn.
        verdict: What the teacher said of the turn; None if nobody has judged it.
        has_teacher: A teacher judges the episode, so that a turn without a verdict is not known to be right.
        ended_in_failure: The engine ended the episode without success at this turn.
        unfinished: The reply broke off before its action was complete: nobody should learn to stop in mid-sentence.
        masking: What becomes of error turns.
        error_weight: Weight of error turns under ``partial``, from 0 (the paper's loss) to 1.

    Returns:
        A weight from 0 to 1: instructions and observations 0; replies of an agent or expert 1, under a teacher only if it
        judged them ``ok``, and never if they broke off; errors as the mask says; corrections 1, unless the correction
        itself failed the task.

    Examples:
        >>> turn_weight("agent"), turn_weight("agent", "unknown", has_teacher=True)
        (1.0, 0.0)
        >>> turn_weight("error"), turn_weight("error", masking="none"), turn_weight("error", error_weight=0.25)
        (0.0, 1.0, 0.25)
    """
    match kind:
        case "instruction" | "observation":
            return 0.0
        case "agent" | "expert":
            return 1.0 if not unfinished and (verdict == "ok" or not (has_teacher or verdict)) else 0.0
        case "correction":
            return 0.0 if ended_in_failure else 1.0
        case "error":
            return {"partial": error_weight, "none": 1.0, "drop": 0.0}[masking]
