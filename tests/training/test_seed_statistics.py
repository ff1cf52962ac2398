"""What may be claimed over training seeds: the rule against textbook values, and how often it is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

stats = pytest.importorskip("scipy.stats", reason="needs the extra train")

from step_envs.training.experiments.claim_simulation import (
    SimulatedExperiment,
    claim_rates,
    claims_over_seeds,
    simulate,
)
from step_envs.training.experiments.presets import PRESETS
from step_envs.training.experiments.seed_statistics import (
    detectable,
    difference_sd,
    flip_seeds,
    holm,
    power,
    seed_interval,
    seed_test,
    verdict,
)

pytestmark = pytest.mark.train

differences = st.lists(st.floats(-1, 1), min_size=2, max_size=12).filter(lambda values: np.std(values) > 1e-6)


@given(differences)
def test_the_t_test_is_that_of_scipy(values: list[float]) -> None:
    found, known = seed_test(values), stats.ttest_1samp(values, 0)
    interval = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue, abs=1e-9)
    assert found.difference == pytest.approx((np.mean(values), interval.low, interval.high), abs=1e-9)
    assert seed_interval(values) == found.difference


@given(differences, st.floats(0.01, 0.5))
def test_equivalence_is_two_one_sided_tests(values: list[float], margin: float) -> None:
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert seed_test(values, margin=margin).p_equivalence == pytest.approx(max(above, below), abs=1e-9)


# Whole points, so that equal sums are equal for both.
@settings(deadline=None)
@given(st.lists(st.integers(-100, 100), min_size=2, max_size=12).map(lambda values: [value / 128 for value in values]))
def test_the_exchange_of_arms_is_scipys_permutation_test(values: list[float]) -> None:
    known = stats.permutation_test(
        (values, np.zeros(len(values))),
        lambda first, second, axis: np.mean(first - second, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**13,
    )
    assert flip_seeds(values) == pytest.approx(known.pvalue, abs=2e-3)


def test_many_seeds_are_exchanged_by_chance() -> None:
    assert flip_seeds([0.01] * 20) == pytest.approx(2**-19, abs=3e-5)
    assert 0.3 < flip_seeds([0.01, -0.01] * 10 + [0.01]) <= 1


def test_one_seed_or_seeds_that_agree_to_the_last_task_claim_nothing() -> None:
    for values in ([0.3], [0.0] * 8, [0.1] * 5):
        found = seed_test(values)
        assert (found.p, found.p_equivalence) == (1.0, 1.0)
    assert seed_test([0.3]).difference == (0.3, None, None)
    with pytest.raises(ValueError, match="There is no seed to compare"):
        seed_test([])
    with pytest.raises(ValueError, match=r"margin must be above 0, got 0"):
        seed_test([0.1, 0.2], margin=0)


def test_there_are_three_verdicts() -> None:
    clear, close, wide = [0.08, 0.12, 0.1, 0.06], [0.01, -0.012, 0.004, -0.006], [0.2, -0.15, 0.1, -0.02]
    found = [seed_test(one) for one in (clear, close, wide)]
    said = [verdict(one.p, one.p_equivalence) for one in found]
    assert said == ["a difference", "no difference that matters", "undecided"]


def test_power_is_what_a_simulation_finds_and_is_turned_round_by_detectable() -> None:
    rng, sd = np.random.default_rng(0), difference_sd(0.037, 300)
    for seeds in (2, 5, 8):
        drawn = rng.normal(0.07, sd, (4000, seeds))
        share = float(np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05))
        assert power(0.07, sd, seeds) == pytest.approx(share, abs=0.025)
        assert power(detectable(sd, seeds), sd, seeds) == pytest.approx(0.8, abs=0.01)
    assert power(0.5, sd, 1) == 0 and detectable(sd, 1) == math.inf


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_is_never_below_the_p_value_and_keeps_the_order(probabilities: list[float]) -> None:
    adjusted = holm(probabilities)
    assert all(p <= q <= 1 for p, q in zip(probabilities, adjusted, strict=True))
    order = np.argsort(probabilities, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_the_simulation_has_the_truth_that_it_was_given() -> None:
    known = SimulatedExperiment(400, 200, seed_sd=0.05, effect=0.1, success=0.4)
    first, (other,) = simulate(known, np.random.default_rng(0))
    assert first.shape == (400, 200)
    assert (first.mean(), other.mean()) == pytest.approx((0.5, 0.4), abs=0.01)
    binomial = 0.4 * 0.6 / 200
    assert other.mean(1).std() == pytest.approx(math.sqrt(0.05**2 + binomial), abs=0.01)
    # Tasks are hard or easy for both arms: within a seed they succeed in the same tasks more often than chance has it.
    both = (first & other).mean()
    assert both > first.mean() * other.mean() + 0.03


@pytest.mark.parametrize(("seeds", "others"), [(2, 1), (5, 1), (8, 1), (8, 3), (8, 10)])
def test_at_most_one_experiment_in_twenty_claims_a_difference_that_is_not_there(seeds: int, others: int) -> None:
    known = SimulatedExperiment(seeds, 300, others=others)
    repeats = 800 if others < 5 else 300
    found = claim_rates(known, repeats=repeats)
    # Three standard errors of the simulation above 5 %.
    assert found.any_claim <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


def test_the_default_experiment_finds_seven_points_four_times_in_five() -> None:
    chosen = PRESETS["cpu"]
    known = SimulatedExperiment(len(chosen.seeds), chosen.held_out, effect=0.07)
    assert claim_rates(known, repeats=500).per_comparison > 0.72


def test_the_interval_covers_the_true_difference() -> None:
    known, rng = SimulatedExperiment(5, 300, effect=0.05), np.random.default_rng(0)
    covered = []
    for _ in range(500):
        first, (other,) = simulate(known, rng)
        low, high = seed_test((first.mean(1) - other.mean(1)).tolist()).difference[1:]
        assert low is not None and high is not None
        covered.append(low <= 0.05 <= high)
    assert 0.92 < np.mean(covered) < 0.98


def test_a_rule_that_pools_tasks_is_caught_by_the_simulation() -> None:
    def pooled(first: np.ndarray, others: list[np.ndarray]) -> list[bool]:
        return [
            stats.ttest_rel(first.ravel().astype(float), other.ravel().astype(float)).pvalue < 0.05 for other in others
        ]

    known = SimulatedExperiment(8, 300)
    assert (
        claim_rates(known, pooled, repeats=300).any_claim
        > 0.1
        > claim_rates(known, claims_over_seeds, repeats=300).any_claim
    )
