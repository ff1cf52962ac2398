"""The paper's filters and its split of the tasks."""

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_envs.agents import NoviceAgent, rollout
from step_envs.training import halve_tasks, select
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher


def test_every_rule_says_what_it_dropped() -> None:
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), OracleTeacher(), max_errors=9)
    trajectories = [rollout(env, NoviceAgent(0.4), seed=seed) for seed in range(40)]
    chosen = select(trajectories)
    assert chosen.kept
    assert all(trajectory.success and trajectory.errors <= 2 for trajectory in chosen.kept)
    assert set(chosen.dropped) == {"score below 1", "more than 2 errors"} & set(chosen.dropped)
    assert len(chosen.kept) + chosen.dropped.total() == 40
    assert len(select(trajectories, max_errors=0).kept) < len(chosen.kept)
    assert select(trajectories, max_errors=0).dropped["more than 0 errors"] > 0


@given(st.lists(st.integers(), unique=True), st.floats(0, 1), st.integers(0, 2**32))
def test_tasks_are_halved_without_overlap(numbers: list[int], share: float, seed: int) -> None:
    tasks = [str(number) for number in numbers]
    first, second = halve_tasks(tasks, share=share, seed=seed)
    assert not set(first) & set(second)
    assert sorted(first + second) == sorted(tasks)
    assert len(first) == round(share * len(tasks))
    assert halve_tasks(tasks, share=share, seed=seed) == (first, second)


def test_repeated_tasks_and_silly_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="A task comes twice"):
        halve_tasks(["a", "a"])
    with pytest.raises(ValueError, match=r"share must be from 0 to 1, got 2\."):
        halve_tasks(["a"], share=2)
