"""Intervals and tests, against published values, against scipy, and by how often they are right."""

from collections.abc import Sequence

import numpy as np
import pytest

from step_envs.statistics import (
    Interval,
    bootstrap,
    clustered_bootstrap,
    mcnemar,
    paired_bootstrap,
    sign_flip,
    task_mean,
    wilson,
)


def test_wilson_against_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        share = wilson(hits, of)
        assert (share.low, share.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_wilson_interval_holds_its_share() -> None:
    for of in range(1, 60):
        for hits in (0, of // 2, of):
            share = wilson(hits, of)
            assert share.low <= share.value <= share.high
        assert wilson(0, of).low == 0.0
        assert wilson(of, of).high == 1.0


def test_the_bootstrap_covers() -> None:
    rng = np.random.default_rng(3)

    def mean(groups: Sequence[float]) -> float:
        return float(np.mean(groups))

    hits = 0
    for _ in range(40):
        share = bootstrap(list(rng.normal(0, 1, 40)), mean)
        assert share.low is not None
        assert share.high is not None
        hits += share.low <= 0 <= share.high
    assert hits >= 33


def test_wilson_of_nothing_and_of_nonsense() -> None:
    assert wilson(0, 0) == Interval(None, None, None)
    with pytest.raises(ValueError, match=r"hits must be from 0 to 3, got 4\."):
        wilson(4, 3)


@pytest.mark.train
def test_wilson_and_mcnemar_as_scipy_has_them() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra train")
    for hits, of in ((0, 7), (3, 7), (7, 7), (250, 600)):
        low, high = stats.binomtest(hits, of).proportion_ci(method="wilson")
        assert wilson(hits, of)[1:] == pytest.approx((low, high), abs=1e-12)
    for b, c in ((0, 0), (0, 6), (5, 5), (40, 21), (700, 900)):
        found = mcnemar([True] * b + [False] * c, [False] * b + [True] * c)
        expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
        assert found == (b, c, pytest.approx(expected, rel=1e-9))


def test_drawing_whole_tasks_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    tasks = [task for task in range(40) for _ in range(5)]
    same = [float(task % 2) for task in tasks]  # all five episodes of a task end alike
    clustered, alone = clustered_bootstrap(same, tasks), clustered_bootstrap(same, range(200))
    assert clustered.value == alone.value == 0.5
    assert width(clustered) == pytest.approx(np.sqrt(5) * width(alone), rel=0.1)
    mixed = list(rng.permutation(same))
    assert width(clustered_bootstrap(mixed, tasks)) == pytest.approx(width(alone), rel=0.25)


def test_tasks_of_unequal_weight() -> None:
    # The mean of all, not the mean of the means of the tasks.
    found = clustered_bootstrap([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert found == (0.75, 0.0, 1.0)


def test_the_interval_of_a_clustered_mean_covers() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        means = rng.normal(0, 1, 50)
        values = (means[:, None] + rng.normal(0, 0.5, (50, 4))).ravel()
        found = clustered_bootstrap(list(values), list(np.repeat(np.arange(50), 4)))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits >= 51


def test_a_paired_difference_is_surer_than_an_unpaired_one() -> None:
    rng = np.random.default_rng(2)
    hard = rng.random(300)
    first = (rng.random(300) > hard).astype(float)
    second = np.where(rng.random(300) < 0.1, 1.0, first)
    paired = paired_bootstrap(list(first), list(second), range(300))
    assert paired.value == pytest.approx(float(np.mean(second - first)))
    assert paired.low is not None
    assert paired.low > 0
    assert width(paired) < 0.5 * width(clustered_bootstrap(list(second), range(300)))
    assert paired == paired_bootstrap(list(first), list(second), range(300))
    assert paired_bootstrap([], [], []) == Interval(None, None, None)


def test_flipping_signs_is_mcnemar_where_tasks_have_one_episode() -> None:
    for b, c in ((0, 0), (1, 5), (7, 8), (60, 30)):
        first, second = [1.0] * b + [0.0] * c, [0.0] * b + [1.0] * c
        exact = mcnemar(list(map(bool, first)), list(map(bool, second))).p
        assert sign_flip(first, second, range(b + c)) == pytest.approx(exact, abs=2e-3)


def test_flipping_signs_takes_the_episodes_of_a_task_together() -> None:
    first, second = [0.0] * 20, [1.0] * 20
    assert sign_flip(first, second, range(20)) < 1e-4
    assert sign_flip(first, second, ["one"] * 20) == 1.0


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Every value belongs to a cluster: there are 2 values, 1 clusters\."):
        clustered_bootstrap([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match=r"Pairs are needed: there are 1 of the first, 2 of the second\."):
        paired_bootstrap([1.0], [1.0, 2.0], ["a", "b"])
    with pytest.raises(ValueError, match=r"Pairs are needed: there are 1 of the first, 0 of the second\."):
        mcnemar([True], [])


def width(interval: Interval) -> float:
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


def test_what_always_happened_in_few_tasks_is_not_certain() -> None:
    assert task_mean([1.0] * 6, [1, 1, 2, 2, 3, 3]) == wilson(3, 3)
    assert task_mean([0.0] * 6, [1, 1, 2, 2, 3, 3]) == wilson(0, 3)
