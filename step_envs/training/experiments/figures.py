"""Compute the figures of each arm from its evaluations, and test the differences between arms.

Tasks and training seeds are both drawn at random, so the interval of a difference must cover both: pooling the tasks of all
seeds would treat the seeds as fixed, and call a lucky seed an effect.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from step_envs.alfworld.prompt import REACT
from step_envs.statistics import Interval, clustered_bootstrap, mcnemar, sign_flip, wilson
from step_envs.training.experiments.presets import Arm
from step_envs.trajectory import Trajectory

_RESAMPLES = 10_000
_ALPHA = 0.05
_REFUSED = re.compile(rf"Nothing happens\.\Z|{re.escape(REACT.format_error)}")
_REFLECTION = 'Thought: "'  # the teacher's corrections begin with a quote of the wrong action; no other thought does


class EpisodeFigures(NamedTuple):
    """Figures of an episode.

    Attributes:
        task: Id of the task.
        success: The episode reached the goal.
        steps: Number of steps.
        invalid: Replies without an effect: without an action, or with an action that the world did not understand.
        reflections: Replies that say what was wrong with the step before.
    """

    task: str
    success: bool
    steps: int
    invalid: int
    reflections: int


class RunFigures(NamedTuple):
    """Figures of a run.

    Attributes:
        episodes: Number of episodes.
        success: Share that reached the goal, with its Wilson interval.
        steps: Steps per episode.
        invalid: Share of the replies without an effect.
        met: Episodes with such a reply.
        recovered: Share of these episodes that still reached the goal.
        reflections: Reflections per episode.
    """

    episodes: int
    success: Interval
    steps: float
    invalid: float
    met: int
    recovered: Interval
    reflections: float


@dataclass(frozen=True)
class ArmComparison:
    """Two arms compared on the same tasks with the same seeds; differences are second minus first.

    Attributes:
        first: The first arm.
        second: The second arm.
        by_seed: For each seed: the difference with its interval over tasks, and the p-value of McNemar's exact test.
        difference: The difference over all seeds, with its interval over tasks and seeds.
        p: p-value over all seeds.
        p_adjusted: The same, adjusted for the number of comparisons (Holm).
        found: A difference was found: the interval excludes 0, ``p_adjusted`` < 0.05, and no seed shows the opposite sign.
    """

    first: Arm
    second: Arm
    by_seed: tuple[tuple[Interval, float], ...]
    difference: Interval
    p: float
    p_adjusted: float
    found: bool


def episode_figures(trajectory: Trajectory) -> EpisodeFigures:
    """Compute the figures of an episode."""
    replies = [turn for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction"]
    return EpisodeFigures(
        task=trajectory.task_id,
        success=trajectory.success,
        steps=trajectory.steps,
        invalid=sum(
            turn.kind == "observation" and _REFUSED.search(turn.content) is not None for turn in trajectory.turns
        ),
        reflections=sum(turn.content.startswith(_REFLECTION) for turn in replies),
    )


def run_figures(episodes: Sequence[EpisodeFigures]) -> RunFigures:
    """Compute the figures of a run."""
    met = [episode for episode in episodes if episode.invalid]
    steps = sum(episode.steps for episode in episodes)
    return RunFigures(
        episodes=len(episodes),
        success=wilson(sum(episode.success for episode in episodes), len(episodes)),
        steps=steps / len(episodes),
        invalid=sum(episode.invalid for episode in episodes) / max(steps, 1),
        met=len(met),
        recovered=wilson(sum(episode.success for episode in met), len(met)),
        reflections=sum(episode.reflections for episode in episodes) / len(episodes),
    )


def compare_arms(
    name: Arm, others: dict[Arm, list[list[EpisodeFigures]]], runs: list[list[EpisodeFigures]]
) -> list[ArmComparison]:
    """Compare one arm with others.

    Args:
        name: Name of the arm.
        others: The other arms: name -> one run per seed.
        runs: Runs of the arm, one per seed, on the same tasks in the same order.

    Raises:
        ValueError: Two runs have different tasks.
    """
    found = [_compare_two(other, name, first, runs) for other, first in others.items()]
    adjusted = holm([comparison.p for comparison in found])
    return [
        ArmComparison(**(comparison.__dict__ | {"p_adjusted": p, "found": comparison.found and p < _ALPHA}))
        for comparison, p in zip(found, adjusted, strict=True)
    ]


def _compare_two(
    first: Arm, second: Arm, ones: list[list[EpisodeFigures]], others: list[list[EpisodeFigures]]
) -> ArmComparison:
    tasks = [episode.task for episode in ones[0]]
    if any([episode.task for episode in run] != tasks for run in (*ones, *others)):
        raise ValueError(f"{first} and {second} were not evaluated on the same tasks in the same order.")
    a, b = (np.array([[episode.success for episode in run] for run in runs], dtype=float) for runs in (ones, others))
    difference = bootstrap_tasks_and_seeds(b - a)
    by_seed = tuple(
        (clustered_bootstrap((b[i] - a[i]).tolist(), tasks), mcnemar(list(a[i] > 0), list(b[i] > 0)).p)
        for i in range(len(a))
    )
    low, high, value = difference.low or 0.0, difference.high or 0.0, difference.value or 0.0
    agreed = all((interval.value or 0.0) * value >= 0 for interval, _ in by_seed)
    p = sign_flip(a.ravel().tolist(), b.ravel().tolist(), tasks * len(a))
    return ArmComparison(first, second, by_seed, difference, p, p, found=(low > 0 or high < 0) and agreed)


def bootstrap_tasks_and_seeds(differences: NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Return the mean of differences, with an interval that covers the randomness of tasks and of seeds.

    Args:
        differences: Array of shape ``[seeds, tasks]``.
        seed: Seed of the bootstrap.

    Returns:
        Mean and percentile interval of a bootstrap that draws seeds and, within each, tasks. With only two seeds, the
        difference between seeds is known only roughly.
    """
    rng = np.random.default_rng(seed)
    seeds, tasks = differences.shape
    means = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        drawn = differences[rng.integers(seeds, size=seeds)]
        means[i] = drawn[:, rng.integers(tasks, size=tasks)].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(differences.mean()), float(low), float(high))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, by Holm's method.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(probabilities)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(probabilities)), key=probabilities.__getitem__)):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        adjusted[index] = largest
    return adjusted
