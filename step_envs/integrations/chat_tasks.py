"""Tasks as chats, for a loop that belongs to another tool and asks its model itself.

Such a loop wants three things of a world: which tasks there are, what a model should see next, and what an episode was
worth. ``ChatTasks`` gives it these, and makes tasks, prompts, limits and rewards by the same code as ``step-envs eval``.
So the same replies to the same tasks give the same scores here and there.

A new ScienceWorld environment takes seconds where none is open, so environments are kept and used again. Loops that do not
wait for one another (threads, asyncio) may share a ``ChatTasks``; an episode belongs to one of them at a time.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, Self

import gymnasium as gym
from gymnasium.error import ResetNeeded
from pydantic import ValidationError

from step_envs.errors import validation_sentence
from step_envs.options import NamesOptions
from step_envs.registration import env_class
from step_envs.replies import ReplyFormatName
from step_envs.tasks import TaskSet
from step_envs.training.evaluation import EvalConfig, reward_of
from step_envs.trajectory import Actor, Trajectory
from step_envs.wrappers.react import step_chat, text_env
from step_envs.wrappers.record import Recorder
from step_envs.wrappers.reply import Reply


class ChatTasks(NamesOptions):
    r"""The tasks of a world as chats.

    Args:
        env: Id of the environment.
        split: The split; None is the environment's default.
        tasks: These tasks only, whatever their split; None takes those of ``split``.
        episodes: Number of tasks, drawn with the seed as ``step-envs eval`` draws them; None takes every task.
        seed: Decides which tasks are drawn, and their order.
        protocol: ``own``: the environment's own reward, limits and options. ``eto``: those of ETO; see ``EvalConfig``.
        env_options: Further keyword arguments of the environment, e.g. ``{"task_types": ["boil"]}``.
        style: Prompt style; see ``ReActWrapper``.
        reply_format: How a reply names its action: ``react``, ``action-tags`` or ``tool-calls``; see ``ReActWrapper``.
        tolerant: Also take actions in common variants of that form; see ``ReActWrapper``.
        think_actions: Answer actions that only think at no step of the world; see ``ReActWrapper``.
        teacher: Who watches and corrects, e.g. ``"oracle"``, in the form of ``step-envs collect``; None: nobody, as in an
            evaluation.
        max_errors: Number of errors that the teacher corrects; one more ends the episode. None uses the environment's
            default.

    Attributes:
        task_ids: The tasks.
        protocol: As given.
        reply_format: As given.
        teacher: As given.

    Raises:
        UnknownNameError: There is no such environment, split, task type or option.
        DataError: Data that was named is absent.
        ValueError: Another argument has an impossible value.

    Examples:
        >>> tasks = ChatTasks("STeP-ALFWorld-v0", split="valid_unseen", episodes=2)
        >>> with tasks.begin(tasks.task_ids[0]) as episode:
        ...     observation = episode.reply("Thought: I look first.\\nAction: look")
        >>> observation.startswith("Observation: You are in the middle of a room")
        True
        >>> tasks.close()
    """

    def __init__(
        self,
        env: str,
        *,
        split: str | None = None,
        tasks: Sequence[str] | None = None,
        episodes: int | None = None,
        seed: int = 0,
        protocol: Literal["own", "eto"] = "own",
        env_options: dict[str, Any] | None = None,
        style: Literal["eto", "system", "plain"] = "eto",
        reply_format: ReplyFormatName = "react",
        tolerant: bool = False,
        think_actions: bool = False,
        teacher: str | None = None,
        max_errors: int | None = None,
    ) -> None:
        try:
            config = EvalConfig(
                env=env,
                split=split,
                tasks=None if tasks is None else tuple(tasks),
                episodes=episodes,
                seed=seed,
                protocol=protocol,
                env_options=env_options or {},
                style=style,
                reply_format=reply_format,
                tolerant=tolerant,
                think_actions=think_actions,
            )
        except ValidationError as error:
            raise ValueError(validation_sentence(error)) from error
        self.protocol, self.reply_format, self.teacher = protocol, reply_format, teacher
        self._run = config.run().with_changes(teacher=teacher, max_errors=max_errors)
        options = {name: value for name, value in self._run.env_options.items() if name != "task_types"}
        self._known: TaskSet = env_class(env).task_set(**options)
        self.task_ids = tuple(plan.task_id for plan in self._run.episodes_to_play())
        self._lock = threading.Lock()
        self._free: list[gym.Env[str, str]] = []
        self._closed = False

    def begin(self, task_id: str, *, agent: str | Actor = "unnamed") -> "ChatEpisode":
        """Begin an episode.

        Args:
            task_id: The task; any of the world's, also one that is not in ``task_ids``.
            agent: Who will reply, for the record.

        Raises:
            UnknownNameError: There is no such task.
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
        """
        env = self._take()
        try:
            return ChatEpisode(self, env, task_id, agent)
        except BaseException:
            self._give_back(env)
            raise

    def task_type(self, task_id: str) -> str:
        """Return the type of a task.

        Raises:
            UnknownNameError: There is no such task.
        """
        return self._known.type_of(task_id)

    def split_of(self, task_id: str) -> str:
        """Return the official split that a task belongs to.

        Raises:
            UnknownNameError: There is no such task.
        """
        return self._known.split_of(task_id)

    def first_messages(self, task_id: str) -> list[dict[str, str]]:
        """Return the conversation at the start of a task: ``role`` and ``content`` of each message."""
        with self.begin(task_id) as episode:
            return episode.messages

    def close(self) -> None:
        """Close the environments; one of a running episode is closed with its episode."""
        with self._lock:
            self._closed, free, self._free = True, self._free, []
        for env in free:
            env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> gym.Env[str, str]:
        with self._lock:
            if self._closed:
                raise gym.error.ClosedEnvironmentError("These tasks are closed: make new ones to play them.")
            if self._free:
                return self._free.pop()
        return self._run.make_env()

    def _give_back(self, env: gym.Env[str, str]) -> None:
        with self._lock:
            if not self._closed:
                self._free.append(env)
                return
        env.close()


class ChatEpisode:
    """One episode: a conversation that goes on with every reply. ``ChatTasks.begin`` makes it.

    Attributes:
        over: The world, or its step limit, ended the episode.
        last_reward: Change in score by the last reply.
        info: The environment's ``info`` after the last reply.
    """

    def __init__(self, tasks: ChatTasks, env: gym.Env[str, str], task_id: str, agent: str | Actor) -> None:
        self._tasks, self._env = tasks, env
        _, self.info = env.reset(seed=0, options={"task_id": task_id})
        self._recorder: Recorder = env.get_wrapper_attr("recorder")
        self._recorder.agent = Actor(name=agent) if isinstance(agent, str) else agent
        self.over = False
        self.last_reward = 0.0
        self._start = text_env(env).restore_point()
        self._way: int | None = None
        self._closed = False

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation so far, for the model: ``role`` and ``content`` of each message."""
        return list(self._open().get_wrapper_attr("messages"))

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The tools to offer to the model, in OpenAI's form; none unless ``reply_format`` is ``tool-calls``."""
        return tuple(self._open().get_wrapper_attr("reply_format").tools)

    @property
    def trajectory(self) -> Trajectory:
        """The record so far."""
        trajectory: Trajectory = self._open().get_wrapper_attr("trajectory")
        return trajectory

    @property
    def reward(self) -> float:
        """Reward of the episode so far, under the protocol."""
        return reward_of(self.trajectory, self._tasks.protocol)

    def progress(self) -> float:
        """Return the share of the oracle's plan that is done: 0 at the start, 1 when the task is done.

        It is 1 minus the length of the plan from here over its length at the start. So it is below 0 if the episode moved
        away from the goal. It is at least -1, which it is where the oracle finds no plan.
        """
        oracle = text_env(self._open()).oracle
        if self._way is None:
            self._way = oracle.distance(self._start) or 0
        if self.info["success"]:
            return 1.0
        left = oracle.distance()
        return max(-1.0, 1.0 - left / self._way) if left is not None and self._way else -1.0

    def state_key(self) -> str:
        """Return a text that two moments of a task share if the world is in the same state, whatever came before.

        It is the world's part of a snapshot, so it is exact: no two states share one. ScienceWorld saves a state as the
        actions that lead to it, so there only equal histories share one.
        """
        saved = json.loads(text_env(self._open()).snapshot())
        return json.dumps([saved["task_id"], saved["world"]])

    def reply(self, reply: str | Reply) -> str:
        """Carry out the action of a reply.

        Args:
            reply: The model's whole reply, or a ``Reply`` with what else is known of it.

        Returns:
            The observation, as it is put to the model.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over.
        """
        env = self._open()
        if self.over:
            raise ResetNeeded("The episode is over: begin another one.")
        observation, self.last_reward, terminated, truncated, self.info = step_chat(env, reply)
        self.over = terminated or truncated
        return observation

    def stop(self) -> None:
        """Note that the loop ends the episode here: out of tokens or turns, or the model gave up."""
        self._open()
        if not self.over:
            self._recorder.stop()
            self.over = True

    def metrics(self) -> dict[str, float]:
        """Return what the episode was worth so far: ``success`` (0 or 1), ``score``, ``reward`` and ``steps``."""
        return {
            "success": float(self.info["success"]),
            "score": float(self.info["score"]),
            "reward": self.reward,
            "steps": float(self.info["steps"]),
        }

    def close(self) -> None:
        """Free the environment; doing it again changes nothing."""
        if not self._closed:
            self._closed = True
            self._tasks._give_back(self._env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> gym.Env[str, str]:
        if self._closed:
            raise ResetNeeded("The episode is closed: read its trajectory and messages before that.")
        return self._env


def shared_tasks(env: str, settings: Mapping[str, Any]) -> ChatTasks:
    """Return the tasks of everybody in this process who asks with the same settings, for tools that make many environments.

    Args:
        env: Id of the environment.
        settings: Further arguments of ``ChatTasks``, as JSON values.
    """
    return _shared_tasks(env, json.dumps(settings, sort_keys=True))


@lru_cache(maxsize=16)
def _shared_tasks(env: str, settings: str) -> ChatTasks:
    return ChatTasks(env, **json.loads(settings))
