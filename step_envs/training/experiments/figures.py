"""What came out of the evaluations: the figures of each arm, and how sure the differences between arms are."""

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
_REFUSED = ("Nothing happens.", REACT.format_error)
_REFLECTION = (
    'Thought: "'  # the teacher's corrections begin by quoting the action that was wrong; no other thought does
)


class Episode(NamedTuple):
    """What counts of an episode.

    Attributes:
        task: Its task.
        success: It reached the goal.
        steps: Actions carried out.
        invalid: Replies that did nothing: without an action, or with one that the world did not understand.
        reflections: Replies that say what was wrong with the step before.
    """

    task: str
    success: bool
    steps: int
    invalid: int
    reflections: int


class Outcome(NamedTuple):
    """Figures of a run.

    Attributes:
        episodes: How many.
        success: Share that reached the goal, with its Wilson interval.
        steps: Steps an episode.
        invalid: Share of the replies that did nothing.
        met: Episodes with such a reply.
        recovered: Share of those that reached the goal all the same.
        reflections: Reflections an episode.
    """

    episodes: int
    success: Interval
    steps: float
    invalid: float
    met: int
    recovered: Interval
    reflections: float


@dataclass(frozen=True)
class Comparison:
    """One arm beside another on the same tasks with the same seeds; differences are second minus first.

    Attributes:
        first: The one.
        second: The other.
        by_seed: For each seed: the difference with its interval over tasks, and the exact McNemar test's probability.
        difference: The difference over all seeds, with its interval over tasks and seeds.
        p: Probability of so large a difference if both were alike, over all seeds.
        p_adjusted: The same, allowing for how many comparisons are made (Holm).
        found: The interval excludes 0, ``p_adjusted`` is below 0.05, and no seed says the opposite; anything else is no
            difference.
    """

    first: Arm
    second: Arm
    by_seed: tuple[tuple[Interval, float], ...]
    difference: Interval
    p: float
    p_adjusted: float
    found: bool


def episode_of(trajectory: Trajectory) -> Episode:
    """Take from a trajectory what counts."""
    replies = [turn for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction"]
    return Episode(
        task=trajectory.task_id,
        success=trajectory.success,
        steps=trajectory.steps,
        invalid=sum(turn.kind == "observation" and turn.content.endswith(_REFUSED) for turn in trajectory.turns),
        reflections=sum(turn.content.startswith(_REFLECTION) for turn in replies),
    )


def outcome_of(episodes: Sequence[Episode]) -> Outcome:
    """Work out the figures of a run."""
    met = [episode for episode in episodes if episode.invalid]
    steps = sum(episode.steps for episode in episodes)
    return Outcome(
        episodes=len(episodes),
        success=wilson(sum(episode.success for episode in episodes), len(episodes)),
        steps=steps / len(episodes),
        invalid=sum(episode.invalid for episode in episodes) / max(steps, 1),
        met=len(met),
        recovered=wilson(sum(episode.success for episode in met), len(met)),
        reflections=sum(episode.reflections for episode in episodes) / len(episodes),
    )


def compare(name: Arm, others: dict[Arm, list[list[Episode]]], runs: list[list[Episode]]) -> list[Comparison]:
    """Compare one arm with others.

    Args:
        name: Its name.
        others: The other arms: name -> a run for each seed.
        runs: Its own runs, one for each seed, on the same tasks in the same order.

    Raises:
        ValueError: Two runs are not of the same tasks.
    """
    found = [_compared(other, name, first, runs) for other, first in others.items()]
    adjusted = holm([comparison.p for comparison in found])
    return [
        Comparison(**(comparison.__dict__ | {"p_adjusted": p, "found": comparison.found and p < _ALPHA}))
        for comparison, p in zip(found, adjusted, strict=True)
    ]


def _compared(first: Arm, second: Arm, ones: list[list[Episode]], others: list[list[Episode]]) -> Comparison:
    tasks = [episode.task for episode in ones[0]]
    if any([episode.task for episode in run] != tasks for run in (*ones, *others)):
        raise ValueError(f"{first} and {second} were not evaluated on the same tasks in the same order.")
    a, b = (np.array([[episode.success for episode in run] for run in runs], dtype=float) for runs in (ones, others))
    difference = over_tasks_and_seeds(b - a)
    by_seed = tuple(
        (clustered_bootstrap((b[i] - a[i]).tolist(), tasks), mcnemar(list(a[i] > 0), list(b[i] > 0)).p)
        for i in range(len(a))
    )
    low, high, value = difference.low or 0.0, difference.high or 0.0, difference.value or 0.0
    agreed = all((interval.value or 0.0) * value >= 0 for interval, _ in by_seed)
    p = sign_flip(a.ravel().tolist(), b.ravel().tolist(), tasks * len(a))
    return Comparison(first, second, by_seed, difference, p, p, found=(low > 0 or high < 0) and agreed)


def over_tasks_and_seeds(differences: NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Give the mean of differences with an interval that covers the chance of tasks and that of seeds.

    Args:
        differences: One for each seed and task: ``[seeds, tasks]``.
        seed: Seed of the draws.

    Returns:
        Mean and percentile interval of a bootstrap that draws seeds and, in each, tasks. With two seeds it can only tell
        roughly how much seeds differ.
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
    """Adjust probabilities for how many there are, by Holm's method.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(probabilities)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(probabilities)), key=probabilities.__getitem__)):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        adjusted[index] = largest
    return adjusted
