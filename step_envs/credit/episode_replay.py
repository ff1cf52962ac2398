"""Take a recorded episode through its states again, in a fresh environment.

A trajectory holds actions and answers, but no states: a snapshot at every step would make records several times as large.
The engines are deterministic, so the same actions lead to the same states. What a world answers now is compared with the
record at every step. Without that, other data or another version of an engine would lead to states in which nobody ever
was, and everything computed from them would look as plausible as the truth.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium as gym

from step_envs.core import TextEnv
from step_envs.errors import DataError, quoted
from step_envs.registration import REMOTE
from step_envs.replies import is_think_action
from step_envs.snapshots import RestorePoint
from step_envs.trajectory import Trajectory, Turn
from step_envs.wrappers.conversation import took_no_step
from step_envs.wrappers.teacher_monitor import NOT_CARRIED_OUT

WITHOUT_EFFECT = ("render_mode", "task_types", "admissible_actions")
"""Options of a recorded environment that do not change its states."""
_CLOSE = 1e-9


class ReplayError(DataError):
    """The world does not answer as it did when the episode was recorded."""


class ReplayedTurn(NamedTuple):
    """A turn that has just been taken again.

    Attributes:
        number: Its place in ``Trajectory.turns``.
        before: The state in which it was written; None for the task, before which there is none.
    """

    number: int
    before: RestorePoint | None


def replay(trajectory: Trajectory, world: TextEnv) -> Iterator[ReplayedTurn]:
    """Take a world through the states of an episode.

    After each yield the world is in the state after that turn: first after the task, then after every reply. A correction
    that ran from the state before the error does so again. Whoever changes the world in between puts it back.

    Args:
        trajectory: The episode.
        world: An environment as from ``make_world``; its running episode is lost.

    Yields:
        The turn of the task, then the replies in their order.

    Raises:
        ReplayError: The world answers differently than in the record.
        DataError: The world is another environment.
        UnknownNameError: The world does not have this task.
    """
    begin_again(trajectory, world)
    replies = [
        index for index, turn in enumerate(trajectory.turns) if turn.role == "assistant" and turn.kind != "instruction"
    ]
    head = replies[0] if replies else len(trajectory.turns)
    if head:
        yield ReplayedTurn(head - 1, None)
    undone: RestorePoint | None = None
    for index in replies:
        turn = trajectory.turns[index]
        if undone is not None and turn.kind == "correction":
            world.restore(undone)
        before = world.restore_point()
        if before.snapshot.state.done:
            raise ReplayError(f"Turn {index} of {trajectory.env_id} {quoted(trajectory.task_id)} follows its end.")
        failed = _carry_out(trajectory, index, world)
        yield ReplayedTurn(index, before)
        closed_the_way = turn.verdict is not None and turn.verdict.undo
        undone = before if turn.kind == "error" and (failed or closed_the_way) else None


def begin_again(trajectory: Trajectory, world: TextEnv) -> None:
    """Begin the task of a trajectory as it was begun when it was recorded.

    Raises:
        ReplayError: The task is worded differently than in the record.
        DataError: The world is another environment.
        UnknownNameError: The world does not have this task.
    """
    if world.env_id != trajectory.env_id:
        raise DataError(f"A trajectory of {trajectory.env_id} cannot be replayed in {world.env_id}.")
    _, info = world.reset(seed=trajectory.seed, options={"task_id": trajectory.task_id})
    if _storable(info["instruction"]) != trajectory.instruction:
        raise ReplayError(
            f"The task of {trajectory.env_id} {quoted(trajectory.task_id)} is {quoted(info['instruction'])} now, and was "
            f"{quoted(trajectory.instruction)}: replay it with the data and the versions that it was played with."
        )


def make_world(env_id: str, protocol: Mapping[str, Any], env_options: Mapping[str, Any] | None = None) -> TextEnv:
    """Make the environment that an episode was played in, without its step limit.

    Args:
        env_id: ``Trajectory.env_id``.
        protocol: ``Trajectory.protocol``.
        env_options: Options that differ from the recorded ones, e.g. ``data_path`` where the data lies elsewhere now.

    Raises:
        ValueError: The environment cannot be made with these options.
        gymnasium.error.Error: The environment is not registered.
    """
    recorded = {name: value for name, value in protocol.get("env", {}).items() if name not in WITHOUT_EFFECT}
    if "max_steps" in (env_options or {}):
        raise ValueError("A replay has no step limit: leave max_steps out of the options of the environment.")
    options = recorded | dict(env_options or {}) | {"max_steps": None}
    env_id = registered_id(env_id, options)
    try:
        world = gym.make(env_id, disable_env_checker=True, **options).unwrapped
    except TypeError as error:
        raise ValueError(f"{env_id} cannot be made with {quoted(options)}: {error}.") from error
    if not isinstance(world, TextEnv):
        raise ValueError(f"{env_id} is not a text environment.")  # noqa: TRY004  (it is the record that is wrong)
    return world


def registered_id(env_id: str, env_options: Mapping[str, Any]) -> str:
    """Return the id to make an environment with: one on a server is recorded under the id of the world there."""
    return REMOTE if {"url", "env"} <= env_options.keys() else env_id


class WorldPool:
    """The environments in which one thread replays episodes; episodes that were played alike share one.

    Args:
        env_options: See ``make_world``.
    """

    def __init__(self, env_options: Mapping[str, Any] | None = None) -> None:
        self._env_options = dict(env_options or {})
        self._worlds: dict[tuple[str, str], TextEnv] = {}

    def world_for(self, env_id: str, protocol: Mapping[str, Any]) -> TextEnv:
        """Return an environment for an episode; see ``make_world`` for arguments and errors."""
        key = env_id, json.dumps(protocol.get("env", {}), sort_keys=True, default=str)
        if key not in self._worlds:
            self._worlds[key] = make_world(env_id, protocol, self._env_options)
        return self._worlds[key]

    def close(self) -> None:
        """Close the environments."""
        for world in self._worlds.values():
            world.close()
        self._worlds = {}


def _carry_out(trajectory: Trajectory, index: int, world: TextEnv) -> bool:
    """Carry out a reply as it was when it was recorded; return True if it ended the episode without success."""
    turn, answer = trajectory.turns[index], _answer(trajectory, index)
    thinks = bool(trajectory.protocol.get("think_actions"))
    if (thinks and took_no_step(turn)) or (answer is not None and answer.endswith(NOT_CARRIED_OUT)):
        return False
    if turn.action is None or (thinks and is_think_action(turn.action)):
        _, _, terminated, _, info = world.pass_step(answer or world.react.format_error)
    else:
        observation, _, terminated, _, info = world.step(turn.action)
        if answer is not None and not _shows(answer, observation, trajectory, world):
            raise _another_answer(trajectory, index, answer, observation)
    for name in ("score", "valid_action"):
        was, now = getattr(turn, name), info[name]
        if was is not None and abs(was - now) > _CLOSE:
            raise _another_answer(trajectory, index, f"{name} {was}", f"{name} {now}")
    return terminated and not info["success"]


def _answer(trajectory: Trajectory, index: int) -> str | None:
    following = trajectory.turns[index + 1 : index + 2]
    return following[0].content if following and following[0].kind == "observation" else None


def _shows(answer: str, observation: str, trajectory: Trajectory, world: TextEnv) -> bool:
    """Return True if a recorded answer shows an observation."""
    raw, shown = _storable(observation), answer.removeprefix(world.react.observation_prefix)
    # Prompt texts of one's own may have another prefix.
    if shown == raw or (raw and answer.endswith(raw)):
        return True
    # ETO's style leaves out the beginning of some observations.
    return bool(shown) and trajectory.protocol.get("observation_style") == "eto" and raw.endswith(shown)


def _storable(text: str) -> str:
    """Return a text as a record holds it: without half characters."""
    return Turn(role="user", content=text, kind="observation").content


def _another_answer(trajectory: Trajectory, index: int, was: str, now: str) -> ReplayError:
    return ReplayError(
        f"Turn {index} of {trajectory.env_id} {quoted(trajectory.task_id)} is answered with {quoted(now)} now, and was "
        f"with {quoted(was)}: replay it with the data and the versions that it was played with."
    )
