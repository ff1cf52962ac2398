"""A language model behind an OpenAI-compatible endpoint as an agent."""

from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply
from step_envs.agents.window import Window, has_observations
from step_envs.endpoint import Answer, UsesChatModel
from step_envs.endpoint.model import ChatOptions
from step_envs.errors import ContextTooSmallError, RequestRefusedError
from step_envs.replies import sent_calls
from step_envs.trajectory import Actor, Usage

STOP = "\nObservation:"
"""What a model writes when it goes on after its action and invents what the world would answer."""
EMPTY_REPLY = "(nothing)"


class ChatAgent(Agent, UsesChatModel):
    """Has a model play: OpenAI's own, or one behind vLLM, SGLang, llama.cpp, Ollama, ``transformers serve``.

    A reply ends where the model begins to invent an observation, whether or not the server stops there. If the conversation
    no longer fits the context window, the oldest observations are shortened, never the task; each turn records how many
    were. If it does not fit even so, the agent gives up. A refusal is a reply without an action. With the reply format
    ``tool-calls`` the model is also offered the format's tool, unless the server refuses tools.

    Args:
        model: Name of the model.
        base_url: Root of the API, e.g. ``http://localhost:8000/v1``; None means OpenAI's.
        context_tokens: Most tokens of a conversation; None finds the limit out when the server refuses a conversation.
        stop: Ask the server to stop before an invented observation (some servers cannot).
        seeded: Send a seed, drawn for each episode from its own random stream, unless the temperature is 0.
        **options: Options of ``ChatModel``: ``api_key_env``, ``temperature`` (0 by default, with which ETO evaluates; it
            explores with 1; None leaves it to the server), ``top_p``, ``max_tokens`` of a reply (512 by default),
            ``timeout``, ``max_retries``, ``extra``.

    Raises:
        ValueError: An argument has an impossible value.
    """

    name = "chat"

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        context_tokens: int | None = None,
        stop: bool = True,
        seeded: bool = True,
        **options: Unpack[ChatOptions],
    ) -> None:
        options = ChatOptions(temperature=0.0, max_tokens=512) | options
        self.chat = self._make_chat(model, base_url, options)
        self.context_tokens = context_tokens
        self._window = Window(context_tokens)
        self._stop = stop
        self._seeded = seeded
        self._max_tokens = options["max_tokens"]
        self._greedy = options["temperature"] == 0
        self._seed: int | None = None
        self._logprobs = False

    @override
    def ask_for_logprobs(self) -> None:
        self._logprobs = True

    @override
    def describe(self) -> Actor:
        """Return name, model and parameters, with the seed of the running episode."""
        seed = self._seed if self._seeded else None
        further = {"logprobs": True} if self._logprobs else {}
        return self.chat.describe(self.name, context_tokens=self.context_tokens, stop=self._stop, seed=seed, **further)

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        self._window.begin()
        self._seed = None if self._greedy else int(rng.integers(2**31))

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the conversation; None if it no longer fits the context window.

        Raises:
            EndpointError: The endpoint gave no answer; see ``Gateway.ask``.
            ContextTooSmallError: Not even the task fits.
        """
        messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
        # Several servers refuse a conversation with an empty reply in it.
        messages = [one if one["content"] else one | {"content": EMPTY_REPLY} for one in messages]
        shown = self._window.fit(messages)
        tools = env.get_wrapper_attr("reply_format").tools if env.has_wrapper_attr("reply_format") else ()
        usage, refusal = Usage(), ""
        while shown is not None:
            try:
                answer = self._ask(shown, tools)
            except RequestRefusedError as error:
                if error.kind != "context":
                    raise
                shown, refusal = self._window.tighten(messages), f" The server says: {error}"
                continue
            usage += answer.usage
            self._window.counted(shown, answer.prompt_tokens)
            # As it was written: ReActWrapper takes the thoughts out and sees whether the end was cut off.
            return Reply(
                answer.text,
                usage,
                self._window.shortened,
                answer.finish,
                tool_calls=sent_calls(answer.tool_calls),
                logprobs=answer.logprobs,
            )
        if not has_observations(messages):
            limit = "the model's own limit" if self.context_tokens is None else f"context_tokens={self.context_tokens}"
            raise ContextTooSmallError(
                f"The prompt of this task has {sum(len(one['content']) for one in messages)} characters and does not fit "
                f"{limit} with a reply of {self._max_tokens} tokens: give a smaller max_tokens=, "
                f"--style plain (no manual), or a model with a longer context.{refusal}"
            )
        return None

    def _ask(self, messages: list[dict[str, str]], tools: tuple[dict[str, Any], ...]) -> Answer:
        return self.chat.ask(
            messages,
            tools=tools,
            stop=[STOP] if self._stop else (),
            seed=self._seed if self._seeded else None,
            # Two episodes with the same conversation get two samples, unless the model is asked for its one best answer.
            sample=self._seed or 0,
            logprobs=self._logprobs,
        )


def until_stop(text: str) -> str:
    """Return a text up to where a server that was asked to stop at ``STOP`` would have ended it."""
    return text.split(STOP, 1)[0].strip()
