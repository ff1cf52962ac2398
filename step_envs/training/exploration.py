"""Play the tasks of recorded trajectories again, in the same world and in the same words, with another agent.

A loop of exploring and training needs the environment, its options and the form of the prompt, and all of this is in the
record of the golden trajectories that the loop begins with. Nothing has to be said twice, and nothing can differ.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.failures import read_failures
from step_envs.collection.progress import Progress
from step_envs.credit.episode_replay import WITHOUT_EFFECT, registered_id
from step_envs.errors import DataError, quoted
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory

_PROMPT = ("style", "reply_format", "tolerant", "think_actions")
"""Parts of the protocol that decide what an agent reads and how its replies are read."""


def same_tasks(trajectories: Iterable[Trajectory], agent: str, *, repeats: int = 1, **settings: Any) -> CollectConfig:
    """Return the configuration of a collection that plays the tasks of trajectories with another agent.

    Args:
        trajectories: Episodes of one environment, all played with the same options and prompt.
        agent: The agent, as ``name`` or ``name:option=value,...``.
        repeats: Episodes of each task.
        **settings: Further fields of ``CollectConfig``, e.g. ``teacher="oracle"``; without one, the agent plays alone.

    Raises:
        DataError: There is no trajectory, or two of them were played in different worlds or with different prompts.
        ValueError: A setting does not fit.
    """
    tasks: dict[str, None] = {}
    first: Trajectory | None = None
    for one in trajectories:
        first = first or one
        if _world(one) != _world(first):
            raise DataError(
                f"Task {quoted(one.task_id)} was played in {one.env_id} with {quoted(str(_world(one)[1:]))}, and task "
                f"{quoted(first.task_id)} in {first.env_id} with {quoted(str(_world(first)[1:]))}: name runs of one world, "
                "collected with the same options."
            )
        tasks[one.task_id] = None
    if first is None:
        raise DataError("There is no trajectory whose task could be played.")
    _, env, prompt = _world(first)
    played = {"teacher": None, "tasks": tuple(tasks), "episodes": repeats * len(tasks)} | settings
    return CollectConfig.model_validate(
        {"env": registered_id(first.env_id, env), "env_options": env, "agent": agent, **prompt, **played}
    )


def explore(config: CollectConfig, out: Path, *, concurrency: int = 1) -> list[Trajectory]:
    """Play the episodes of a configuration as ``play_all`` does, and return them in the order of their numbers."""
    play_all(config, out, concurrency=concurrency)
    return sorted(read_trajectories(out), key=lambda one: one.episode or 0)


def play_all(config: CollectConfig, out: Path, *, concurrency: int = 1) -> Progress:
    """Play the episodes of a configuration, or the rest of them, for a training that needs them all.

    Args:
        config: As from ``same_tasks``.
        out: Folder of the run; one that was stopped goes on.
        concurrency: Episodes that are played at once.

    Raises:
        DataError: An episode failed; the message gives the last reason.
        StoreError: The folder holds something else.
    """
    figures = collect(config, out, resume=out.exists(), concurrency=concurrency)
    if figures.failed:
        raise DataError(f"{figures.failed} episodes of {out} failed, the last: {read_failures(out)[-1].reason}")
    return figures


def world_fingerprint(config: CollectConfig, *more: Any) -> str:
    """Return a hash of tasks, world and prompt, by which a training knows that it goes on with the same.

    Args:
        config: The configuration.
        *more: What else is compared, as JSON values.
    """
    parts = ("env", "env_options", "tasks", "style", "reply_format", "tolerant", "think_actions")
    content = [config.model_dump(mode="json", include=set(parts)), *more]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _world(trajectory: Trajectory) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the environment, its options, and what decides the prompt."""
    protocol = trajectory.protocol
    env = {name: value for name, value in protocol.get("env", {}).items() if name not in (*WITHOUT_EFFECT, "split")}
    return trajectory.env_id, env, {name: protocol[name] for name in _PROMPT if name in protocol}
