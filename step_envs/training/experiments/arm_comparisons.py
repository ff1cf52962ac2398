"""Compare one arm with the others over training seeds.

Every seed gives one difference, on the same tasks. The comparisons that were named before
(``ExperimentConfig.against``) are corrected for their own number, and all others as a second family: so that a look at
ten further arms does not cost the question of the experiment its power.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from step_envs.training.experiments.episode_figures import EpisodeFigures
from step_envs.training.experiments.experiment_config import Arm
from step_envs.training.experiments.seed_statistics import MARGIN, SeedTest, SeedVerdict, holm, seed_test, verdict

Runs = Sequence[Sequence[EpisodeFigures]]
"""The episodes of an arm: one run per seed."""

ComparedFigure = Literal["success", "score"]


class ArmComparison(NamedTuple):
    """Two arms compared on the same tasks with the same seeds; differences are second minus first.

    Attributes:
        first: The first arm.
        second: The second arm.
        main: It is one of the comparisons that were named before the experiment.
        by_seed: The difference with each seed.
        test: What these differences say.
        p: p-value of a difference, adjusted for the number of comparisons of its family (Holm).
        p_equivalence: p-value against a difference that matters, adjusted in the same way.
        verdict: What may be claimed.
    """

    first: Arm
    second: Arm
    main: bool
    by_seed: tuple[float, ...]
    test: SeedTest
    p: float
    p_equivalence: float
    verdict: SeedVerdict


def compare_arms(
    name: Arm,
    runs: Runs,
    others: Mapping[Arm, Runs],
    *,
    against: Sequence[Arm] = (),
    figure: ComparedFigure = "success",
    margin: float = MARGIN,
) -> list[ArmComparison]:
    """Compare one arm with others.

    Args:
        name: Name of the arm.
        runs: Its runs, one per seed.
        others: The other arms, each with one run per seed, on the same tasks in the same order.
        against: Those that belong to the first family.
        figure: What is compared.
        margin: The smallest difference that matters.

    Raises:
        ValueError: Two runs of a seed have different tasks, or an arm lacks a seed.
    """
    found: list[ArmComparison] = []
    for main in (True, False):
        family = [other for other in others if (other in against) == main]
        differences = {other: _differences(name, runs, other, others[other], figure) for other in family}
        tests = {other: seed_test(differences[other], margin=margin) for other in family}
        adjusted = holm([tests[other].p for other in family])
        adjusted_equivalence = holm([tests[other].p_equivalence for other in family])
        for other, p, p_equivalence in zip(family, adjusted, adjusted_equivalence, strict=True):
            claim = verdict(p, p_equivalence)
            found.append(
                ArmComparison(other, name, main, tuple(differences[other]), tests[other], p, p_equivalence, claim)
            )
    return found


def _differences(second: Arm, seconds: Runs, first: Arm, firsts: Runs, figure: ComparedFigure) -> list[float]:
    if len(firsts) != len(seconds):
        raise ValueError(f"{first} was trained with {len(firsts)} seeds and {second} with {len(seconds)}.")
    for one, other in zip(firsts, seconds, strict=True):
        if [episode.task for episode in one] != [episode.task for episode in other]:
            raise ValueError(f"{first} and {second} were not evaluated on the same tasks in the same order.")
    return [_mean(other, figure) - _mean(one, figure) for one, other in zip(firsts, seconds, strict=True)]


def _mean(run: Sequence[EpisodeFigures], figure: ComparedFigure) -> float:
    return sum(float(getattr(episode, figure)) for episode in run) / len(run)
