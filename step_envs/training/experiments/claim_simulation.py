"""Simulate experiments whose truth is known, and count the claims that are wrong and the effects that are missed.

A rule for claiming differences is only worth what it does when there is none. The simulated experiments have what real ones
have: tasks that are easy or hard for every arm, seeds that turn out better or worse, chance in every episode, and several
comparisons at once. ``claims_over_seeds`` is the rule of our reports; any other rule can be put in its place, and
``benchmarks/claims.py`` draws both.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from step_envs.training.experiments.seed_statistics import ALPHA, holm, seed_test

Successes = NDArray[np.bool_]
"""Success of the episodes of an arm, of shape ``[seeds, tasks]``."""

ClaimRule = Callable[[Successes, Sequence[Successes]], Sequence[bool]]
"""Takes one arm and those it is compared with; returns for each of them whether a difference is claimed."""


class SimulatedExperiment(NamedTuple):
    """What is true of the experiments of a simulation.

    Attributes:
        seeds: Training seeds of every arm.
        tasks: Tasks that every arm plays with every seed.
        seed_sd: Standard deviation of an arm's success between seeds, e.g. 0.037.
        effect: By how much the first arm's success is above that of every other.
        others: Number of other arms, each compared with the first.
        success: Success of the other arms.
        hardness: Standard deviation of the hardness of tasks, in logits; 0 makes all tasks alike.
        fresh_tasks: Every seed plays tasks of its own; if False, all seeds play the same.
    """

    seeds: int
    tasks: int
    seed_sd: float = 0.037
    effect: float = 0.0
    others: int = 1
    success: float = 0.5
    hardness: float = 1.5
    fresh_tasks: bool = True


class ClaimRates(NamedTuple):
    """How often experiments claim a difference.

    Attributes:
        any_claim: Share of the experiments that claim at least one. If there is no effect, each of them is wrong.
        per_comparison: Share of all comparisons in which one is claimed. If there is an effect, this is the power.
    """

    any_claim: float
    per_comparison: float


def claims_over_seeds(first: Successes, others: Sequence[Successes]) -> list[bool]:
    """Claim a difference where Student's t over seeds, adjusted by Holm's method, is below 0.05."""
    tests = [seed_test((first.mean(1) - other.mean(1)).tolist()) for other in others]
    return [p < ALPHA for p in holm([test.p for test in tests])]


def claim_rates(
    experiment: SimulatedExperiment, rule: ClaimRule = claims_over_seeds, *, repeats: int = 2000, seed: int = 0
) -> ClaimRates:
    """Simulate experiments and count their claims.

    Args:
        experiment: What is true of them.
        rule: Decides what is claimed.
        repeats: Number of experiments.
        seed: Seed of the simulation.
    """
    rng = np.random.default_rng(seed)
    claims = np.array([rule(*simulate(experiment, rng)) for _ in range(repeats)], dtype=bool)
    return ClaimRates(float(claims.any(1).mean()), float(claims.mean()))


def simulate(experiment: SimulatedExperiment, rng: np.random.Generator) -> tuple[Successes, list[Successes]]:
    """Simulate one experiment.

    Returns:
        Successes of the first arm, and of each of the others.
    """
    shape = (experiment.seeds if experiment.fresh_tasks else 1, experiment.tasks)
    hardness = rng.normal(0, experiment.hardness, shape)

    def arm(success: float) -> Successes:
        # Close to 0 and 1 the success of a seed cannot vary as much: it is cut off there.
        by_seed = np.clip(rng.normal(success, experiment.seed_sd, experiment.seeds), 0.001, 0.999)
        share = _with_mean(hardness, by_seed[:, None])
        return np.asarray(rng.random((experiment.seeds, experiment.tasks)) < share, dtype=np.bool_)

    return arm(experiment.success + experiment.effect), [arm(experiment.success) for _ in range(experiment.others)]


def _with_mean(hardness: NDArray[np.float64], success: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the success of each task, such that its mean over the tasks of a seed is the seed's success."""
    easiness = np.log(success / (1 - success)) * np.ones_like(hardness)
    for _ in range(8):  # Newton's method; the mean is monotonous in the easiness
        share = 1 / (1 + np.exp(hardness - easiness))
        slope = (share * (1 - share)).mean(1, keepdims=True)
        easiness = easiness + (success - share.mean(1, keepdims=True)) / np.maximum(slope, 1e-6)
    return np.asarray(1 / (1 + np.exp(hardness - easiness)))
