"""Filter the trajectories to train on as the STeP paper does, and count what each rule dropped."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from step_envs.outcomes import EpisodeOutcome
from step_envs.registration import known_class
from step_envs.trajectory import Trajectory


@dataclass
class Selection:
    """The trajectories that were kept, and how many each rule dropped.

    Attributes:
        kept: Trajectories that pass every rule.
        dropped: Rule -> number of trajectories that it dropped; each counts once, for the first rule it breaks.
    """

    kept: list[Trajectory] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def select(
    trajectories: Iterable[Trajectory],
    *,
    min_score: float = 1.0,
    max_errors: int | None = None,
    allow_unknown: bool = False,
) -> Selection:
    """Keep the trajectories that the paper would train on: those that reach the goal with few errors.

    Args:
        trajectories: The trajectories to choose from.
        min_score: Drop trajectories with a lower final score (as a share of the maximum).
        max_errors: Drop trajectories with more error turns; None is the environment's own number (WebShop 1, others 2).
        allow_unknown: Keep trajectories in which the teacher gave no verdict on some step.
    """
    selection = Selection()
    for trajectory in trajectories:
        rule = broken_rule(trajectory, min_score=min_score, max_errors=max_errors, allow_unknown=allow_unknown)
        if rule is None:
            selection.kept.append(trajectory)
        else:
            selection.dropped[rule] += 1
    return selection


def broken_rule(
    trajectory: Trajectory | EpisodeOutcome,
    *,
    min_score: float = 1.0,
    max_errors: int | None = None,
    allow_unknown: bool = False,
) -> str | None:
    """Return the first rule of the filter that a trajectory breaks, e.g. ``"score below 1"``; None if ``select`` keeps it.

    Args:
        trajectory: The trajectory.
        min_score: See ``select``, as for the other arguments.
        max_errors: See ``select``.
        allow_unknown: See ``select``.
    """
    limit = known_class(trajectory.env_id).max_errors if max_errors is None else max_errors
    if trajectory.score < min_score:
        return f"score below {min_score:g}"
    if trajectory.errors > limit:
        return f"more than {limit} errors"
    if trajectory.unknown_verdicts and not allow_unknown:
        return "a step without verdict"
    if not any(turn.loss > 0 for turn in trajectory.turns):
        return "nothing to train on"
    return None


def halve_tasks(
    task_ids: Sequence[str], *, share: float = 0.5, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split tasks into those that train the base agent, and those that it then plays under the teacher.

    Args:
        task_ids: All tasks, without repeats.
        share: Share of the first part, from 0 to 1.
        seed: Decides which task is in which part.

    Returns:
        The paper's U1 and U2: disjoint, together all tasks, each in the given order.

    Raises:
        ValueError: A task comes twice, or the share is not between 0 and 1.
    """
    if len(set(task_ids)) != len(task_ids):
        raise ValueError("A task comes twice: the two parts would not be disjoint.")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}.")
    order = np.random.default_rng(seed).permutation(len(task_ids))
    first = {int(index) for index in order[: round(share * len(task_ids))]}
    return (
        tuple(task for index, task in enumerate(task_ids) if index in first),
        tuple(task for index, task in enumerate(task_ids) if index not in first),
    )


def is_golden(trajectory: Trajectory) -> bool:
    """Return True if an expert gave every reply."""
    kinds = {turn.kind for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction"}
    return kinds == {"expert"}
