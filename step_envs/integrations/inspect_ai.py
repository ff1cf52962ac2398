"""Worlds for inspect_ai: tasks that ``inspect eval step_envs/alfworld`` finds, and the parts that they are made of.

A sample is a task of ours, under its own id. The solver plays it: inspect asks the model, with its limits, cache and usage,
and the world answers. The conversation is the one that ``step-envs eval`` shows, so a reply stands in it as it was read:
without thoughts, and cut where it began to speak for the world. The events of a sample hold every reply as the model sent
it. What the episode was worth, and its trajectory, lie in the sample's store, where the scorer finds them.

Worlds block while they compute, so they are asked in threads. A call that has begun is waited for, also when the sample is
cancelled: an environment that is still at work must not be given to another episode.

Ran with inspect_ai 0.3.285.
"""

# mypy: disable-error-code=untyped-decorator
# inspect_ai is not followed by the type checker.

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from step_envs.agents.chat import EMPTY_REPLY
from step_envs.endpoint.chat_completion import Finish
from step_envs.errors import missing_package
from step_envs.integrations.chat_tasks import ChatEpisode, shared_tasks
from step_envs.replies import ToolCall
from step_envs.trajectory import Actor, Trajectory, Usage
from step_envs.wrappers.reply import Reply

try:
    from anyio.to_thread import run_sync
    from inspect_ai import Task, task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.log import EvalLog
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        ModelOutput,
        ModelUsage,
    )
    from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, solver
    from inspect_ai.tool import ToolDef, ToolParams
except ModuleNotFoundError as error:
    raise missing_package("inspect_ai", "The adapter for inspect_ai", "inspect") from error

METRICS = "step_envs:metrics"
"""Key of the episode's metrics in the sample's store; absent if the episode was not played or its world broke down."""

TRAJECTORY = "step_envs:trajectory"
"""Key of the trajectory in the sample's store."""

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "tool_calls": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "refusal",
}
_MESSAGES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


@task
def alfworld(**settings: Any) -> Task:
    """Evaluate in ALFWorld; see ``world``."""
    return _task("STeP-ALFWorld-v0", settings)


@task
def webshop(**settings: Any) -> Task:
    """Evaluate in WebShop; see ``world``."""
    return _task("STeP-WebShop-v0", settings)


@task
def sciworld(**settings: Any) -> Task:
    """Evaluate in ScienceWorld; see ``world``."""
    return _task("STeP-SciWorld-v0", settings)


@task
def world(env: str, **settings: Any) -> Task:
    """Evaluate in any world of step-envs.

    Args:
        env: Id of the environment.
        **settings: Further arguments of ``ChatTasks``, e.g. ``split="valid_unseen", protocol="eto", episodes=20``.
    """
    return _task(env, settings)


def samples(env: str, **settings: Any) -> MemoryDataset:
    """Make the dataset of a world: one sample for each task, with ``task_id``, ``task_type`` and ``split`` as metadata.

    The input is the task's id. The conversation begins with the episode, because ScienceWorld takes minutes to begin all
    its tasks.

    Args:
        env: Id of the environment.
        **settings: Further arguments of ``ChatTasks``.
    """
    tasks = shared_tasks(env, settings)
    made = [
        Sample(
            id=task_id,
            input=task_id,
            metadata={"task_id": task_id, "task_type": tasks.task_type(task_id), "split": tasks.split_of(task_id)},
        )
        for task_id in tasks.task_ids
    ]
    return MemoryDataset(made, name=env)


@solver
def play_episode(env: str, **settings: Any) -> Solver:
    """Play the task that the sample's id names.

    Args:
        env: Id of the environment.
        **settings: Further arguments of ``ChatTasks``.
    """
    tasks = shared_tasks(env, settings)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        begin = partial(tasks.begin, str(state.sample_id), agent=Actor(name="inspect_ai", model=str(state.model)))
        with await run_sync(begin) as episode:
            whole = True
            try:
                state.tools = [_tool(one["function"]) for one in episode.tools]
                state.messages = [_message(one) for one in episode.messages]
                while not episode.over:
                    state = await generate(state, tool_calls="none")
                    reply = reply_of(state.output)
                    try:
                        await run_sync(episode.reply, reply)
                    except Exception:
                        whole = False
                        raise
                    state.messages = [*state.messages[:-1], *map(_message, episode.messages[-2:])]
            finally:
                # Also after an error of the model, a limit or a cancellation: the episode is worth what it was until then.
                if whole:
                    _record(state, episode)
        return state

    return solve


@scorer(
    metrics={
        name: [mean(), stderr(), grouped(mean(), "task_type", all=False)] for name in ("success", "score", "reward")
    }
    | {"steps": [mean(), stderr()]}
)
def episode_score() -> Scorer:
    """Score an episode by ``success`` (0 or 1), ``score`` (0 to 1), ``reward`` (of the protocol) and ``steps``."""

    async def score(state: TaskState, target: Target) -> Score:
        metrics = state.store.get(METRICS)
        if metrics is None:
            return Score.unscored(explanation="There is no whole episode: it did not begin, or its world broke down.")
        stop_reason = state.store.get(TRAJECTORY)["stop_reason"]
        return Score(value=metrics, explanation=f"The episode ended by: {stop_reason}.")

    return score


def reply_of(output: ModelOutput) -> Reply:
    """Translate what a model returned; reasoning that stands beside the text is no part of the reply."""
    message = output.message
    return Reply(
        message.text,
        usage=_usage(output.usage, output.time),
        finish=_FINISHES.get(output.stop_reason, "other"),
        tool_calls=tuple(ToolCall(one.function, json.dumps(one.arguments)) for one in message.tool_calls or ()),
    )


def trajectories(log: EvalLog) -> Iterator[Trajectory]:
    """Read the trajectories of a log: ``trajectories(inspect_ai.log.read_eval_log(path))``."""
    for sample in log.samples or ():
        if TRAJECTORY in sample.store:
            yield Trajectory.model_validate(sample.store[TRAJECTORY])


def _task(env: str, settings: dict[str, Any]) -> Task:
    return Task(
        dataset=samples(env, **settings),
        solver=play_episode(env, **settings),
        scorer=episode_score(),
        headline_metric="episode_score.success",
    )


def _record(state: TaskState, episode: ChatEpisode) -> None:
    episode.stop()
    state.store.set(METRICS, episode.metrics())
    state.store.set(TRAJECTORY, json.loads(episode.trajectory.to_json()))


def _message(message: dict[str, str]) -> ChatMessage:
    return _MESSAGES[message["role"]](content=message["content"] or EMPTY_REPLY)


def _tool(function: dict[str, Any]) -> ToolDef:
    async def execute(**arguments: Any) -> str:
        raise NotImplementedError("The solver carries tool calls out itself.")

    parameters = ToolParams.model_validate(function["parameters"])
    return ToolDef(execute, name=function["name"], description=function["description"], parameters=parameters)


def _usage(usage: ModelUsage | None, seconds: float | None) -> Usage:
    if usage is None:
        return Usage(requests=1, seconds=seconds or 0.0)
    # inspect counts the tokens that a server's prompt cache read or wrote beside the others.
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return Usage(
        prompt_tokens=usage.input_tokens + cached,
        completion_tokens=usage.output_tokens,
        requests=1,
        seconds=seconds or 0.0,
        cost=usage.total_cost,
    )
