"""Which trajectories to train on, as the STeP paper filters them, and what each rule threw away."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np

from step_envs.core import TextEnv
from step_envs.registration import env_class
from step_envs.trajectory import Trajectory


@dataclass
class Selection:
    """What was kept, and how many each rule dropped.

    Attributes:
        kept: Trajectories that pass every rule.
        dropped: Rule -> how many fell to it; each trajectory counts once, for the first rule it breaks.
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
        trajectories: What was collected.
        min_score: Final score (over the maximum) below which a trajectory is dropped.
        max_errors: Error turns above which it is dropped; None is the environment's own figure (WebShop 1, others 2).
        allow_unknown: Keep trajectories in which the teacher gave no verdict on some step.
    """
    selection = Selection()
    for trajectory in trajectories:
        limit = _most_errors(trajectory.env_id) if max_errors is None else max_errors
        if trajectory.score < min_score:
            selection.dropped[f"score below {min_score:g}"] += 1
        elif trajectory.errors > limit:
            selection.dropped[f"more than {limit} errors"] += 1
        elif trajectory.unknown_verdicts and not allow_unknown:
            selection.dropped["a step without verdict"] += 1
        elif not any(turn.loss > 0 for turn in trajectory.turns):
            selection.dropped["nothing to train on"] += 1
        else:
            selection.kept.append(trajectory)
    return selection


def _most_errors(env_id: str) -> int:
    """Give the environment's own figure; of one that is not known here, what most worlds have."""
    # The name comes from a file: what would import a module of its choosing is cut off.
    try:
        return env_class(env_id.rpartition(":")[2]).max_errors
    except (gym.error.Error, TypeError):
        return TextEnv.max_errors


def halve_tasks(
    task_ids: Sequence[str], *, share: float = 0.5, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split tasks into those whose golden trajectories train the base agent and those it then plays under the teacher.

    Args:
        task_ids: All tasks, without repeats.
        share: Share of the first part.
        seed: Decides which task goes where.

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
