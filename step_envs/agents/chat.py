"""A language model behind an OpenAI-compatible endpoint as an agent."""

import re
from typing import Unpack

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply
from step_envs.agents.window import Window
from step_envs.endpoint import Answer, UsesChatModel
from step_envs.endpoint.model import ChatOptions
from step_envs.errors import RequestRefusedError
from step_envs.trajectory import Actor, Usage

STOP = "\nObservation:"
"""What a model writes when it goes on after its action and invents what the world would answer."""

_THINKING = re.compile(r"\A.*?</think>\s*", re.DOTALL)


class ChatAgent(Agent, UsesChatModel):
    """Has a model play: OpenAI's own, or one behind vLLM, SGLang, llama.cpp, Ollama, ``transformers serve``.

    A reply ends where the model begins to invent an observation, whether or not the server stops there. If the conversation
    no longer fits the context window, the oldest observations are shortened, never the task; each turn records how many
    were. If it does not fit even so, the agent gives up. A refusal is a reply without an action.

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
        self._greedy = options["temperature"] == 0
        self._seed: int | None = None

    @override
    def describe(self) -> Actor:
        """Return name, model and parameters, with the seed of the running episode."""
        seed = self._seed if self._seeded else None
        return self.chat.describe(self.name, context_tokens=self.context_tokens, stop=self._stop, seed=seed)

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        self._window.begin()
        self._seed = None if self._greedy else int(rng.integers(2**31))

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the conversation; None if it no longer fits the context window.

        Raises:
            EndpointError: The endpoint gave no answer; see ``Gateway.ask``.
        """
        messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
        shown = self._window.fit(messages)
        usage = Usage()
        while shown is not None:
            try:
                answer = self._ask(shown)
            except RequestRefusedError as error:
                if error.kind != "context":
                    raise
                shown = self._window.tighten(messages)
                continue
            usage += answer.usage
            self._window.counted(shown, answer.prompt_tokens)
            return Reply(trimmed(answer.text), usage, self._window.shortened, answer.finish)
        return None

    def _ask(self, messages: list[dict[str, str]]) -> Answer:
        return self.chat.ask(
            messages,
            stop=[STOP] if self._stop else (),
            seed=self._seed if self._seeded else None,
            # Two episodes with the same conversation get two samples, unless the model is asked for its one best answer.
            sample=self._seed or 0,
        )


def trimmed(text: str) -> str:
    """Return what the model says to the world, without its ``<think>`` text and without the observations it invented."""
    return _THINKING.sub("", text, count=1).split(STOP, 1)[0].strip()
