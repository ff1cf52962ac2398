"""Recorded episodes are taken through exactly the states that they went through."""

import re
from collections.abc import Callable

import gymnasium as gym
import pytest
from credit_worlds import WORLDS

from step_envs.credit import make_world, replay
from step_envs.errors import DataError
from step_envs.registration import env_class
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teacher_monitor import NOT_CARRIED_OUT
from step_envs.wrappers.teachers import OracleTeacher

Episodes = Callable[..., list[Trajectory]]


@pytest.mark.parametrize("intervene", ["after", "before"])
@pytest.mark.parametrize("env_id", WORLDS)
def test_every_reply_is_replayed_in_its_order(env_id: str, intervene: str, episodes: Episodes) -> None:
    for trajectory in episodes(env_id, intervene):
        world = make_world(trajectory.env_id, trajectory.protocol)
        numbers = [turn.number for turn in replay(trajectory, world)]
        replies = [
            number
            for number, turn in enumerate(trajectory.turns)
            if turn.role == "assistant" and turn.kind != "instruction"
        ]
        assert numbers == [replies[0] - 1, *replies]
        _, info = world.restore(world.restore_point())
        assert (info["score"], info["success"]) == (trajectory.score, trajectory.success)
        world.close()


@pytest.mark.parametrize("intervene", ["after", "before"])
@pytest.mark.parametrize("env_id", WORLDS)
def test_the_states_are_those_of_the_episode(env_id: str, intervene: str) -> None:
    """Snapshots taken while an episode is played equal those of its replay, byte for byte."""
    world = gym.make(env_id, max_steps=None, **WORLDS[env_id])
    watched = TeacherMonitorWrapper(ReActWrapper(world), OracleTeacher(), max_errors=30, intervene=intervene)  # type: ignore[arg-type]
    watched.reset(seed=3)
    recorded = [world.unwrapped.snapshot()]  # type: ignore[attr-defined]
    plan = world.unwrapped.oracle.plan()  # type: ignore[attr-defined]
    replies = [plan[0], "dance", None, *plan[1:3], *world.unwrapped.admissible_actions()[:2]]  # type: ignore[attr-defined]
    for action in replies:
        text = "I do not know." if action is None else f"Thought: why not\nAction: {action}"
        _, _, terminated, truncated, _ = watched.step(text)
        recorded.append(world.unwrapped.snapshot())  # type: ignore[attr-defined]
        if terminated or truncated:
            break
    trajectory = watched.trajectory
    assert trajectory.errors
    if intervene == "before":
        assert any(turn.content.endswith(NOT_CARRIED_OUT) for turn in trajectory.turns)

    again = make_world(trajectory.env_id, trajectory.protocol)
    states = []
    for turn in replay(trajectory, again):
        following = trajectory.turns[turn.number + 2 : turn.number + 3]
        if not following or following[0].kind != "correction":
            states.append(again.snapshot())
    assert states == recorded
    again.close()
    watched.close()


def test_a_correction_that_ran_from_before_the_error_does_so_again(episodes: Episodes) -> None:
    taken_back = [
        (one, number)
        for one in episodes("STeP-WebShop-v0", "after", 40)
        for number, turn in enumerate(one.turns)
        if turn.verdict is not None and turn.verdict.undo and number + 2 < len(one.turns)
    ]
    assert taken_back
    for trajectory, error in taken_back:
        world = make_world(trajectory.env_id, trajectory.protocol)
        before = {turn.number: turn.before for turn in replay(trajectory, world)}
        assert bytes(before[error]) == bytes(before[error + 2])  # type: ignore[arg-type]
        world.close()


def test_an_answer_that_differs_from_the_record_is_an_error(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    number = next(number for number, turn in enumerate(trajectory.turns) if turn.kind == "observation")
    turns = list(trajectory.turns)
    turns[number] = turns[number].model_copy(update={"content": "Observation: A dragon is here."})
    world = make_world(trajectory.env_id, trajectory.protocol)
    with pytest.raises(DataError, match=re.escape(f"Turn {number - 1} of STeP-ALFWorld-v0 ")) as caught:
        list(replay(trajectory.model_copy(update={"turns": tuple(turns)}), world))
    assert str(caught.value).endswith("replay it with the data and the versions that it was played with.")
    assert "and was with 'Observation: A dragon is here.'" in str(caught.value)
    world.close()


def test_a_score_that_differs_from_the_record_is_an_error(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    number = next(number for number, turn in enumerate(trajectory.turns) if turn.score == 0 and turn.action)
    turns = list(trajectory.turns)
    turns[number] = turns[number].model_copy(update={"score": 0.5})
    world = make_world(trajectory.env_id, trajectory.protocol)
    with pytest.raises(DataError, match=r"answered with 'score 0\.0' now, and was with 'score 0\.5'"):
        list(replay(trajectory.model_copy(update={"turns": tuple(turns)}), world))
    world.close()


def test_the_world_is_the_recorded_one_without_its_step_limit(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    world = make_world(trajectory.env_id, trajectory.protocol)
    assert isinstance(world, env_class("STeP-ALFWorld-v0"))
    world.reset(options={"task_id": trajectory.task_id})
    assert not any(world.step("look")[3] for _ in range(100))
    world.close()
    with pytest.raises(ValueError, match="A replay has no step limit: leave max_steps out"):
        make_world(trajectory.env_id, trajectory.protocol, {"max_steps": 5})
    with pytest.raises(ValueError, match="Unknown option of STeP-ALFWorld-v0 'hous'"):
        make_world(trajectory.env_id, trajectory.protocol, {"hous": "small"})


def test_a_task_that_is_another_one_now_is_an_error(episodes: Episodes) -> None:
    trajectory = episodes("STeP-WebShop-v0")[0]
    world = make_world(trajectory.env_id, trajectory.protocol)
    with pytest.raises(DataError, match=r"The task of STeP-WebShop-v0 .* now, and was 'Buy a boat\.': replay it"):
        list(replay(trajectory.model_copy(update={"instruction": "Buy a boat."}), world))
    with pytest.raises(DataError, match=r"^A trajectory of STeP-ALFWorld-v0 cannot be replayed in STeP-WebShop-v0\.$"):
        list(replay(episodes("STeP-ALFWorld-v0")[0], world))
    world.close()
