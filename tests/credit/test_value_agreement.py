"""How well values agree with outcomes and with exact values."""

import re

import numpy as np
import pytest
from made_episodes import make_episode

from step_envs.credit import agreement
from step_envs.credit.value_agreement import spearman, sum_agreement
from step_envs.errors import DataError

LOOK = ["Action: look"]


def test_exact_values_agree_exactly() -> None:
    episodes = [make_episode(LOOK * 2, 1.0, values=[0.5, 0.75, 1.0]), make_episode(LOOK, 0.0, values=[0.4, 0.0])]
    found = agreement(episodes, episodes)
    assert found.outcome.model_dump() == {"episodes": 2, "absolute_error": 0.0, "squared_error": 0.0, "r2": 1.0}
    assert (found.states, found.spearman) == (5, pytest.approx(1.0))
    assert (found.changes, found.spearman_changes) == (3, pytest.approx(1.0))


def test_the_figures_are_those_computed_by_hand() -> None:
    estimated = [make_episode(LOOK * 2, 1.0, values=[0.1, 0.9, 0.8]), make_episode(LOOK, 0.0, values=[0.5, 0.4])]
    exact = [make_episode(LOOK * 2, 1.0, values=[0.5, 0.7, 1.0]), make_episode(LOOK, 0.0, values=[0.6, 0.0])]
    found = agreement(estimated, exact)
    assert found.outcome.absolute_error == pytest.approx((0.2 + 0.4) / 2)
    assert found.outcome.squared_error == pytest.approx((0.04 + 0.16) / 2)
    assert found.outcome.r2 == pytest.approx(1 - 0.1 / 0.25)
    # Ranks 1 5 4 3 2 against 2 4 5 3 1: 1 - 6 * 4 / (5 * 24).
    assert found.spearman == pytest.approx(0.8)
    # Changes 0.8, -0.1, -0.1 against 0.2, 0.3, -0.6: ranks 3 1.5 1.5 against 2 3 1.
    assert found.changes == 3
    assert found.spearman_changes == pytest.approx(0.0)


def test_whoever_counts_replies_agrees_about_states_and_not_about_steps() -> None:
    exact = [make_episode(LOOK * 4, 1.0, values=[0.6, 0.7, 0.65, 0.9, 1.0])]
    found = agreement([make_episode(LOOK * 4, 1.0, values=[0.0, 0.25, 0.5, 0.75, 1.0])], exact)
    assert found.spearman == pytest.approx(0.9)
    assert found.spearman_changes is None


def test_an_estimator_may_be_right_about_outcomes_and_wrong_about_states() -> None:
    exact = [make_episode(LOOK * 3, 1.0, values=[0.7, 0.8, 0.9, 1.0])]
    found = agreement([make_episode(LOOK * 3, 1.0, values=[0.9, 0.8, 0.7, 1.0])], exact)
    assert found.outcome.absolute_error == 0
    assert found.outcome.r2 is None, "a single outcome has no variance"
    assert found.spearman is not None
    assert found.spearman < 0.5


def test_states_without_a_value_and_values_all_alike_are_left_out() -> None:
    known = make_episode(LOOK, 1.0, values=[0.5, 1.0])
    found = agreement([known, make_episode(LOOK, 0.0)], [known, make_episode(LOOK, 0.0, values=[0.5, 0.0])])
    assert (found.outcome.episodes, found.states) == (1, 2)
    flat = make_episode(LOOK, 1.0, values=[0.5, 0.5])
    assert agreement([flat], [known]).spearman is None
    assert agreement([flat], [known]).spearman_changes is None


def test_what_is_not_the_same_run_is_refused() -> None:
    one, other = make_episode(LOOK, 1.0, values=[0.5, 1.0]), make_episode(["Action: open box 1"], 1.0, values=[0, 1])
    with pytest.raises(
        DataError,
        match=r"^Episode 1 is 'coin' in one run and 'coin' with other turns in the other: annotate the same run twice\.$",
    ):
        agreement([one], [other])
    with pytest.raises(
        DataError, match=r"^The two runs have different numbers of episodes: annotate the same run twice"
    ):
        agreement([one, one], [one])
    with pytest.raises(DataError, match=r"^No state has a value in both runs: there is nothing to compare\.$"):
        agreement([make_episode(LOOK, 1.0)], [make_episode(LOOK, 1.0)])
    with pytest.raises(ValueError, match=re.escape("one prediction and one outcome, got 1 and 2.")):
        sum_agreement([1.0], [1.0, 0.0])


@pytest.mark.parametrize("seed", range(20))
def test_the_rank_correlation_is_that_of_scipy(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs the extra train")
    rng = np.random.default_rng(seed)
    # Few different numbers, so that many are equal.
    first, second = rng.integers(0, 2 + seed // 2, size=(2, 3 + seed)).astype(float).tolist()
    expected = stats.spearmanr(first, second).statistic if min(len(set(first)), len(set(second))) > 1 else None
    assert spearman(first, second) == (None if expected is None else pytest.approx(expected))
