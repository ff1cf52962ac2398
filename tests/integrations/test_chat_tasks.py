"""``ChatTasks``: what a loop of another tool plays is what ``step-envs eval`` plays."""

import threading

import gymnasium as gym
import pytest
from own_evaluation import WORLDS, played

from step_envs.errors import UnknownNameError
from step_envs.integrations.chat_tasks import ChatTasks
from step_envs.trajectory import Actor

ALFWORLD = "STeP-ALFWorld-v0"


@pytest.mark.parametrize("protocol", ["own", "eto"])
@pytest.mark.parametrize("env", [WORLDS[0], WORLDS[1], pytest.param(WORLDS[2], marks=pytest.mark.slow)])
def test_the_same_replies_give_the_same_scores(env: str, protocol: str) -> None:
    own = played(env, protocol)
    with ChatTasks(env, episodes=len(own.episodes), protocol=own.config.protocol) as tasks:
        assert sorted(tasks.task_ids) == sorted(own.episodes)
        found = {}
        for task_id in tasks.task_ids:
            with tasks.begin(task_id) as episode:
                while not episode.over:
                    episode.reply(own.script.reply(episode.messages))
                found[task_id] = episode.metrics()
                assert episode.trajectory.turns == own.episodes[task_id].turns
    assert found == own.metrics


def test_episodes_of_several_threads_do_not_mix() -> None:
    own = played(ALFWORLD)
    found = {}
    with ChatTasks(ALFWORLD, episodes=len(own.episodes), protocol="eto") as tasks:

        def play(task_id: str) -> None:
            with tasks.begin(task_id) as episode:
                while not episode.over:
                    episode.reply(own.script.reply(episode.messages))
                found[task_id] = episode.metrics()

        threads = [threading.Thread(target=play, args=(task_id,)) for task_id in tasks.task_ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == own.metrics


def test_an_environment_is_used_again_and_one_that_outlives_its_tasks_is_closed(made: list[gym.Env[str, str]]) -> None:
    tasks = ChatTasks(ALFWORLD, episodes=2)
    with pytest.raises(UnknownNameError, match=r"Unknown task 'nowhere'"):
        tasks.begin("nowhere")
    with tasks.begin(tasks.task_ids[0]):
        pass
    second = tasks.begin(tasks.task_ids[1])
    tasks.close()
    assert second.reply("Action: look").startswith("Observation: ")
    second.close()
    assert len(made) == 1
    with pytest.raises(gym.error.ClosedEnvironmentError):
        made[0].reset()
    with pytest.raises(gym.error.ClosedEnvironmentError, match=r"These tasks are closed: make new ones to play them\."):
        tasks.begin(tasks.task_ids[0])


def test_an_episode_that_the_loop_ends_says_so() -> None:
    with ChatTasks(ALFWORLD, episodes=1) as tasks, tasks.begin(tasks.task_ids[0], agent="someone") as episode:
        assert episode.messages == tasks.first_messages(tasks.task_ids[0])
        assert episode.tools == ()
        episode.reply("Action: look")
        episode.stop()
        assert (episode.trajectory.stop_reason, episode.trajectory.agent.name) == ("agent_stopped", "someone")
        with pytest.raises(gym.error.ResetNeeded, match=r"The episode is over: begin another one\."):
            episode.reply("Action: look")
        episode.close()
        with pytest.raises(
            gym.error.ResetNeeded, match=r"The episode is closed: read its trajectory and messages before that\."
        ):
            _ = episode.messages


@pytest.mark.parametrize(
    ("env", "split"),
    [(WORLDS[0], "valid_unseen"), (WORLDS[1], "test"), pytest.param(WORLDS[2], "test", marks=pytest.mark.slow)],
)
def test_type_and_split_of_a_task_are_those_of_its_episodes(env: str, split: str) -> None:
    someone = Actor(name="someone", model="a model")
    with ChatTasks(env, split=split, episodes=2, env_options={"task_types": _some_types(env)}) as tasks:
        for task_id in tasks.task_ids:
            with tasks.begin(task_id, agent=someone) as episode:
                one = episode.trajectory
            assert (tasks.task_type(task_id), tasks.split_of(task_id)) == (one.task_type, one.split)
            assert one.task_type in _some_types(env) and one.agent == someone
        with pytest.raises(UnknownNameError, match=r"Unknown task 'nowhere'"):
            tasks.task_type("nowhere")


def _some_types(env: str) -> list[str]:
    with ChatTasks(env) as tasks:
        return sorted({tasks.task_type(task_id) for task_id in tasks.task_ids})[:2]


def test_tools_are_those_of_the_reply_format() -> None:
    with (
        ChatTasks(ALFWORLD, episodes=1, reply_format="tool-calls") as tasks,
        tasks.begin(tasks.task_ids[0]) as episode,
    ):
        assert len(episode.tools) == 1


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown split 'valid_unsen'\. Did you mean 'valid_unseen'"):
        ChatTasks(ALFWORLD, split="valid_unsen")
    with pytest.raises(ValueError, match=r"episodes: Input should be greater than or equal to 1, got 0\."):
        ChatTasks(ALFWORLD, episodes=0)
    with pytest.raises(UnknownNameError, match=r"Unknown argument of ChatTasks 'splits'\. Did you mean 'split'"):
        ChatTasks(ALFWORLD, splits="train")
