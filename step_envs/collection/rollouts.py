"""Play one episode, from reset to trajectory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import gymnasium as gym
import numpy as np

from step_envs.agents.base import Agent
from step_envs.trajectory import Trajectory
from step_envs.wrappers.react import step_chat
from step_envs.wrappers.record import Recorder


class RolloutStoppedError(Exception):
    """The rollout was stopped before the episode had ended; nothing of it is kept."""


def rollout(
    env: gym.Env[str, str],
    agent: Agent,
    *,
    seed: int | None = None,
    task_id: str | None = None,
    episode: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    turn_to_reset: AbstractContextManager[object] | None = None,
) -> Trajectory:
    """Let an agent play one episode.

    Args:
        env: A chat environment that records: under ``TeacherMonitorWrapper`` or ``RecordTrajectory``.
        agent: The agent.
        seed: Seed of the reset and of the agent's random stream.
        task_id: The task; None lets the seed pick it.
        episode: Number of the episode in its run, for the record.
        stopped: Called before every step; if it returns True, the episode is dropped.
        turn_to_reset: A lock or semaphore that is held during the reset, to limit how many episodes start at once.

    Returns:
        The complete trajectory.

    Raises:
        RolloutStoppedError: ``stopped`` returned True.
        TypeError: The environment does not record.
    """
    try:
        recorder: Recorder = env.get_wrapper_attr("recorder")
    except AttributeError as error:
        raise TypeError("rollout needs an environment under TeacherMonitorWrapper or RecordTrajectory.") from error
    with turn_to_reset or nullcontext():
        env.reset(seed=seed, options=None if task_id is None else {"task_id": task_id})
    agent.begin(env, np.random.default_rng(seed))
    # After begin, because an agent may draw some of its parameters there.
    recorder.agent, recorder.episode = agent.describe(), episode
    over = False
    while not over:
        if stopped():
            raise RolloutStoppedError(f"Episode {episode} was dropped before its end.")
        reply = agent.act(env)
        if reply is None:
            recorder.stop()
            break
        _, _, terminated, truncated, _ = step_chat(env, reply)
        over = terminated or truncated
    trajectory: Trajectory = env.get_wrapper_attr("trajectory")
    return trajectory
