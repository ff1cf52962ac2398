"""A language model behind an OpenAI-compatible endpoint as an agent."""

import re
from typing import Any

import gymnasium as gym
import numpy as np

from step_envs.agents.base import Agent, Reply
from step_envs.agents.window import Window
from step_envs.endpoint import Answer, ChatModel, UsesChatModel
from step_envs.errors import RequestRefusedError
from step_envs.trajectory import Actor, Usage

STOP = "\nObservation:"
"""What a model writes when it goes on by itself and invents what the world would answer."""

_THINKING = re.compile(r"\A.*?</think>\s*", re.DOTALL)
_TOO_LONG = (400, 413, 422)


class ChatAgent(Agent, UsesChatModel):
    """Has a model play: OpenAI's own, or one behind vLLM, SGLang, llama.cpp, Ollama, ``transformers serve``.

    A reply ends where the model begins to invent an observation, whether or not the server stops there. Where the
    conversation outgrows the context window, the oldest observations are shortened first, never the task; each turn records
    how many were. A conversation that does not fit even so is given up. A refusal is a reply without an action.

    Args:
        model: Name of the model.
        base_url: Root of the API, e.g. ``http://localhost:8000/v1``; None is OpenAI's.
        api_key_env: Name of the environment variable that holds the key.
        temperature: Sampling temperature; ETO evaluates with 0 and explores with 1. None leaves it to the server.
        top_p: Nucleus sampling.
        max_tokens: Most tokens of a reply.
        context_tokens: Most tokens of a conversation; None finds out when the server refuses one.
        stop: Ask the server to stop before an invented observation (some cannot).
        seeded: Send a seed, drawn for each episode from its own random stream, when the temperature is not 0.
        timeout: Seconds in which an answer must be whole.
        max_retries: How often a failed request is sent again.
        extra: Further parameters of the request body.

    Raises:
        ValueError: An argument has an impossible value.
    """

    name = "chat"

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float | None = 0.0,
        top_p: float | None = None,
        max_tokens: int | None = 512,
        context_tokens: int | None = None,
        stop: bool = True,
        seeded: bool = True,
        timeout: float = 120.0,
        max_retries: int = 5,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.chat = ChatModel(
            model,
            base_url,
            api_key_env=api_key_env,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            timeout=timeout,
            max_retries=max_retries,
            extra=extra,
        )
        self.context_tokens = context_tokens
        self._window = Window(context_tokens)
        self._stop = stop
        self._seeded = seeded
        self._greedy = temperature == 0
        self._seed: int | None = None

    def describe(self) -> Actor:
        """Say who acts, for the record; the seed is that of the running episode."""
        seed = self._seed if self._seeded else None
        return self.chat.describe(self.name, context_tokens=self.context_tokens, stop=self._stop, seed=seed)

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        """Draw the episode's seed."""
        self._window.begin()
        self._seed = None if self._greedy else int(rng.integers(2**31))

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the conversation; None where it does not fit the context window any more.

        Raises:
            EndpointError: No answer could be had; see ``Gateway.ask``.
        """
        messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
        shown = self._window.fit(messages)
        usage = Usage()
        while shown is not None:
            try:
                answer = self._ask(shown)
            except RequestRefusedError as error:
                if error.status not in _TOO_LONG or not _says_too_long(error):
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
            # Two episodes with the same conversation are two samples, unless the model is asked for its one best answer.
            sample=self._seed or 0,
        )


def trimmed(text: str) -> str:
    """Leave what the model says to the world: not what it thought in ``<think>``, not what it made the world answer."""
    return _THINKING.sub("", text, count=1).split(STOP, 1)[0].strip()


def _says_too_long(error: RequestRefusedError) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("context", "too long", "maximum", "max_model_len", "too large"))
