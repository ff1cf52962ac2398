"""Worlds for verifiers: a taskset, an environment that plays its tasks, and a harness that asks the model.

``vf-eval`` and prime-rl find these classes by the name of a module at the top, ``step_envs_verifiers``, which exports them.
A verifiers environment plays an episode in ``run``. Ours begins the episode of a world, gives its conversation to the
player as the first turn, and then gives each observation as the next user turn, until the world ends the episode or a
limit of verifiers does. The conversation is the world's own from the first message on, so a task has no prompt of its own.

Ran with verifiers 0.4.0.
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from step_envs.endpoint.chat_completion import Finish
from step_envs.errors import missing_package
from step_envs.integrations.async_episodes import async_episode, in_thread
from step_envs.integrations.chat_tasks import ChatEpisode, ChatTasks
from step_envs.replies import ReplyFormatName, ToolCall, reply_format
from step_envs.wrappers.reply import Reply

try:
    import verifiers.v1 as vf
except ModuleNotFoundError as error:
    raise missing_package("verifiers", "The adapter for verifiers", "verifiers") from error

from step_envs.integrations.verifiers_harness import ReplyHarness

__all__ = ["ReplyHarness", "StepEnvsEnv", "StepEnvsTaskset"]

ONE_CALL = "Only the first call of a reply is carried out."
"""What answers the further tool calls of one reply; a server refuses a conversation in which a call has no answer."""

_FINISH: dict[str | None, Finish] = {"stop": "stop", "tool_calls": "stop", "length": "length"}


class StepEnvsTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]  # verifiers is not followed by the type checker
    """The settings of ``ChatTasks``, as ``--env.taskset.*``; see there."""

    env: str = ""
    """Id of the environment, e.g. `STeP-ALFWorld-v0`."""
    split: str | None = None
    """The split; None is the environment's default."""
    tasks: list[str] | None = None
    """These tasks only, whatever their split; None takes those of `split`."""
    episodes: int | None = None
    """Number of tasks, drawn with the seed as `step-envs eval` draws them; None takes every task."""
    seed: int = 0
    """Decides which tasks are drawn, and their order."""
    protocol: Literal["own", "eto"] = "own"
    """`own`: the environment's own reward, limits and options. `eto`: those of ETO."""
    env_options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the environment, as JSON, e.g. `{"task_types": ["boil"]}`."""
    style: Literal["eto", "system", "plain"] = "eto"
    """Prompt style."""
    reply_format: ReplyFormatName = "react"
    """How a reply names its action."""
    tolerant: bool = False
    """Also take actions in common variants of that form."""
    think_actions: bool = False
    """Answer actions that only think at no step of the world."""

    @property
    def name(self) -> str:
        """Name runs by their world: every world has the same taskset id."""
        return self.env or str(self.id)

    def open(self) -> ChatTasks:
        """Open the tasks.

        Raises:
            ValueError: A setting has an impossible value, or no environment is named.
        """
        if not self.env:
            raise ValueError("Name the environment: --env.taskset.env STeP-ALFWorld-v0, for example.")
        return ChatTasks(
            self.env,
            split=self.split,
            tasks=self.tasks,
            episodes=self.episodes,
            seed=self.seed,
            protocol=self.protocol,
            env_options=self.env_options,
            style=self.style,
            reply_format=self.reply_format,
            tolerant=self.tolerant,
            think_actions=self.think_actions,
        )


class StepEnvsData(vf.TaskData):  # type: ignore[misc]
    """A task on its way between processes: ``id`` is the task id, ``tools`` are offered to the model."""

    env: str
    tools: list[dict[str, Any]] = Field(default_factory=list)


class StepEnvsTask(vf.Task[StepEnvsData]):  # type: ignore[misc]
    """A task of a world."""

    @property
    def key(self) -> str:
        """Identify a task by world and task id; its place among the tasks changes with ``episodes`` and ``seed``."""
        return f"{self.data.env}/{self.data.id}"


class StepEnvsTaskset(vf.Taskset[StepEnvsTask, StepEnvsTasksetConfig]):  # type: ignore[misc]
    """The tasks of a world."""

    def load(self) -> Iterator[StepEnvsTask]:
        """List the tasks; none of them is begun."""
        tools = list(reply_format(self.config.reply_format).tools)
        with self.config.open() as tasks:
            for task_id in tasks.task_ids:
                data = StepEnvsData(id=task_id, name=task_id, env=self.config.env, tools=tools)
                yield StepEnvsTask(data, self.config.task)


class StepEnvsEnvConfig(vf.EnvConfig):  # type: ignore[misc]
    """The settings of the agent that plays: ``--env.player.*``."""

    # The harness (the taskset's own unless another is named) runs no program of the model's, so it needs no sandbox.
    player: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class StepEnvsEnv(vf.Env[StepEnvsEnvConfig]):  # type: ignore[misc]
    """Plays tasks of a world, one episode each.

    The trace of an episode gets the reward ``reward``, the metrics ``success``, ``score`` and ``steps``, and in ``info``
    the ``stop_reason`` of our own record. An episode that failed, because the model or the world's engine did, gets none
    of them: it has an error instead.
    """

    _tasks: ChatTasks | None = None

    async def start(self) -> None:
        """Open the tasks; verifiers calls this before the first episode."""
        self._tasks = await in_thread(self.taskset.config.open)

    async def stop(self) -> None:
        """Close the environments."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await in_thread(tasks.close)

    async def run(self, task: StepEnvsTask, agents: vf.Agents) -> None:
        """Play one episode."""
        if self._tasks is None:
            raise RuntimeError("The environment is not running: play episodes inside `async with env.serving()`.")
        async with async_episode(self._tasks, task.data.id, agent="verifiers") as episode:
            async with agents.player.interaction(task) as interaction:
                segment = await interaction.turn(episode.messages)
                while not segment.terminated:
                    reply = _last_reply(segment)
                    observation = await in_thread(episode.reply, _read(reply, interaction.trace))
                    if episode.over:
                        break
                    segment = await interaction.turn(_answer(reply, observation))
            episode.stop()
            if interaction.trace.ok:
                _record(episode, interaction.trace)


def _last_reply(segment: vf.Segment) -> vf.AssistantMessage:
    """Return what the model wrote last: a harness with tools of its own may have asked it several times."""
    replies = [message for message in segment.messages if isinstance(message, vf.AssistantMessage)]
    return replies[-1] if replies else vf.AssistantMessage()


def _read(message: vf.AssistantMessage, trace: vf.Trace) -> Reply:
    """Return a message as the reply that our own agent would make of it, without the thoughts beside its text."""
    calls = tuple(ToolCall(call.name, call.arguments) for call in message.tool_calls or ())
    answered = [call for call in trace.calls if call.error is None]
    finish = _FINISH.get(answered[-1].finish_reason if answered else None, "other")
    return Reply(message.content or "", finish=finish, tool_calls=calls)


def _answer(reply: vf.AssistantMessage, observation: str) -> list[dict[str, str]]:
    """Return the next turn: the observation as a user turn, or as the result of the tool call that led to it."""
    if not reply.tool_calls:
        return [{"role": "user", "content": observation}]
    return [
        {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": ONE_CALL if number else observation}
        for number, call in enumerate(reply.tool_calls)
    ]


def _record(episode: ChatEpisode, trace: vf.Trace) -> None:
    metrics = episode.metrics()
    trace.record_reward("reward", metrics.pop("reward"))
    trace.record_metrics(metrics)
    trace.info["stop_reason"] = episode.trajectory.stop_reason
