"""Worlds for AReaL, and for any trainer that serves its model by OpenAI's interface while an episode is played.

AReaL calls ``await workflow.run(row, base_url=..., http_client=..., api_key=...)`` for each row of its dataset, and trains
on the answers that its own proxy sent: it records their tokens, so nothing has to be masked here. ``EpisodeWorkflow`` plays
the row's task with the model behind the address, and returns the reward.

The interface was read in AReaL 1.0.4, which needs GPUs; the workflow was run against OpenAI-compatible servers.
"""

import os
from typing import Any

from step_envs.endpoint.chat_completion import NotAChatCompletionError, read_completion
from step_envs.errors import EndpointError, missing_package, quoted
from step_envs.integrations.async_episodes import async_episode, in_thread
from step_envs.integrations.chat_tasks import ChatTasks
from step_envs.options import NamesOptions
from step_envs.replies import sent_calls
from step_envs.trajectory import Usage
from step_envs.wrappers.reply import Reply

try:
    from openai import AsyncOpenAI
except ModuleNotFoundError as error:
    raise missing_package("openai", "The adapter for AReaL", "endpoint") from error


class EpisodeWorkflow(NamesOptions):
    """Plays an episode with the model behind an endpoint.

    Args:
        env: Id of the environment.
        settings: Further arguments of ``ChatTasks``, e.g. ``{"split": "train", "style": "system"}``.
        model: Name of the model; AReaL's proxy takes ``default``.
        max_turns: Most replies of an episode, beside the step limit of the world; None means no limit.
        request: Further fields of each request, e.g. ``{"temperature": 1.0, "max_completion_tokens": 256}``.

    Raises:
        UnknownNameError: A setting or a name in one does not exist.
        ValueError: A setting has an impossible value.
    """

    def __init__(
        self,
        env: str,
        *,
        settings: dict[str, Any] | None = None,
        model: str = "default",
        max_turns: int | None = None,
        request: dict[str, Any] | None = None,
    ) -> None:
        if max_turns is not None and max_turns < 1:
            raise ValueError(f"max_turns must be at least 1 or None, got {max_turns}.")
        self.tasks = ChatTasks(env, **(settings or {}))
        self._model, self._max_turns, self._request = model, max_turns, dict(request or {})

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of a dataset: ``task_id`` and ``messages``, the conversation at the start of each task."""
        return [{"task_id": one, "messages": self.tasks.first_messages(one)} for one in self.tasks.task_ids]

    async def run(self, data: dict[str, Any], **extra: Any) -> float:
        """Play the task of a row.

        Args:
            data: The row; its ``task_id`` names the task.
            **extra: ``base_url`` and ``api_key`` of the endpoint (else ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``), and
                ``http_client``, an asynchronous client to send with.

        Returns:
            The reward of the episode, under the protocol of the tasks.

        Raises:
            ValueError: The row names no task.
            openai.OpenAIError: The endpoint refuses; the episode is dropped, and the environment is free again.
            EndpointError: What it answers is no chat completion.
        """
        if "task_id" not in data:
            raise ValueError("The row has no column 'task_id': make the dataset with EpisodeWorkflow.rows.")
        client = AsyncOpenAI(
            base_url=extra.get("base_url") or os.environ.get("OPENAI_BASE_URL"),
            api_key=extra.get("api_key") or os.environ.get("OPENAI_API_KEY"),
            http_client=extra.get("http_client"),
            max_retries=0,
        )
        turns = 0
        try:
            async with async_episode(self.tasks, data["task_id"], agent="areal") as episode:
                while not episode.over:
                    request = self._request | ({"tools": list(episode.tools)} if episode.tools else {})
                    body = {"model": self._model, "messages": episode.messages} | request
                    # Without the client's look at every message, which takes 40 ms in a long conversation.
                    answer = await client.post("/chat/completions", body=body, cast_to=object)
                    await in_thread(episode.reply, _reply(answer))
                    turns += 1
                    if turns == self._max_turns:
                        episode.stop()
                return episode.reward
        finally:
            if extra.get("http_client") is None:
                await client.close()


def _reply(answer: object) -> Reply:
    """Read an answer as our own agents read it: cut off or whole, with its tool calls and its count of tokens."""
    try:
        said = read_completion(answer)
    except NotAChatCompletionError as error:
        raise EndpointError(f"The endpoint answered with no chat completion, but with {quoted(answer)}.") from error
    counted = said.usage
    usage = (
        None
        if counted is None
        else Usage(prompt_tokens=counted.prompt_tokens, completion_tokens=counted.completion_tokens, requests=1)
    )
    return Reply(said.text, usage, finish=said.finish, tool_calls=sent_calls(said.tool_calls))
