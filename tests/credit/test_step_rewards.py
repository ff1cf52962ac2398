"""Rewards for single replies, from values."""

from collections.abc import Callable

import pytest
from made_episodes import make_episode

from step_envs.credit import contribution_rewards
from step_envs.credit.annotation import with_values
from step_envs.credit.oracle_value import OracleValue
from step_envs.errors import DataError
from step_envs.trajectory import Trajectory

REPLIES = ["Action: look", "Action: jump", "Action: take coin"]


def known(rewards: list[float | None]) -> list[float]:
    return [reward for reward in rewards if reward is not None]


def test_rewards_are_contributions_and_add_up_to_the_predicted_outcome() -> None:
    episode = make_episode(REPLIES, 1.0, values=[0.4, 0.5, 0.2, 0.9])
    rewards = contribution_rewards(episode)
    assert [number for number, reward in enumerate(rewards) if reward is not None] == [3, 5, 7]
    assert known(rewards) == pytest.approx([0.5, -0.3, 0.7])
    assert sum(known(rewards)) == pytest.approx(0.9)


def test_the_first_reply_has_no_merit_for_where_the_episode_begins() -> None:
    episode = make_episode(REPLIES, 1.0, values=[0.4, 0.5, 0.2, 0.9])
    assert known(contribution_rewards(episode, from_start=True)) == pytest.approx([0.1, -0.3, 0.7])


def test_a_valid_action_is_worth_something_on_its_own() -> None:
    episode = make_episode(REPLIES, 1.0, values=[0.4, 0.5, 0.2, 0.9], valid=[True, False, None])
    assert known(contribution_rewards(episode, alpha=2, beta=0.1)) == pytest.approx([1.0 + 0.05, -0.6, 1.4])
    assert known(contribution_rewards(episode, alpha=0, beta=1, grounding=1)) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("intervene", ["before", "after"])
def test_they_add_up_in_played_episodes_with_errors_and_corrections(
    episodes: Callable[..., list[Trajectory]], intervene: str
) -> None:
    function = OracleValue()
    for trajectory in episodes("STeP-ALFWorld-v0", intervene):
        valued = with_values(trajectory, function.values(trajectory), function.describe())
        last = [turn.value for turn in valued.turns if turn.value is not None][-1]
        assert sum(known(contribution_rewards(valued))) == pytest.approx(last)
    function.close()


def test_a_reply_without_a_value_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^Turn 5 of box 'coin' has no value: write values with step-envs annotate, and leave out the ep",
    ):
        contribution_rewards(make_episode(REPLIES, 1.0, values=[0.4, 0.5, None, 0.9]))
