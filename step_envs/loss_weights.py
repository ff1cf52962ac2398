"""How much a turn weighs in training: the one place that decides it.

The weight depends on what kind of turn it is, on what a teacher said of it, on what its step was worth, and on the mask
that training applies. The wrappers ask when a turn is recorded and when its verdict is there; the training code asks again
for another mask. With the rule in one function a recorded weight and a weight computed later cannot disagree.
"""

import math
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
    advantage: float | None = None,
    temperature: float | None = None,
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
        advantage: What the turn's step was worth, from -1 to 1, as ``credit.step_advantages`` gives it; None if it is not
            known.
        temperature: With an advantage below 0, a reply weighs ``exp(advantage / temperature)`` of its weight, as in
            advantage-weighted regression (arXiv 1910.00177). None trains all replies alike.

    Returns:
        A weight from 0 to 1: instructions and observations 0; replies of an agent or expert 1, under a teacher only if it
        judged them ``ok``, and never if they broke off; errors as the mask says; corrections 1, unless the correction
        itself failed the task.

    Raises:
        ValueError: The temperature is not above 0.

    Examples:
        >>> turn_weight("agent"), turn_weight("agent", "unknown", has_teacher=True)
        (1.0, 0.0)
        >>> turn_weight("error"), turn_weight("error", masking="none"), turn_weight("error", error_weight=0.25)
        (0.0, 1.0, 0.25)
        >>> round(turn_weight("agent", advantage=-0.05, temperature=0.05), 3), turn_weight("agent", advantage=0.0)
        (0.368, 1.0)
    """
    if temperature is not None and temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}.")
    worth = 1.0 if advantage is None or temperature is None else math.exp(min(0.0, advantage) / temperature)
    match kind:
        case "instruction" | "observation":
            return 0.0
        case "agent" | "expert":
            return worth if not unfinished and (verdict == "ok" or not (has_teacher or verdict)) else 0.0
        case "correction":
            return 0.0 if ended_in_failure else worth
        case "error":
            return {"partial": error_weight, "none": 1.0, "drop": 0.0}[masking]
