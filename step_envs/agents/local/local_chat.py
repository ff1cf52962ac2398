"""A checkpoint in this process as a model that teachers ask, as they ask one behind an endpoint.

The requests of a teacher join those of the agents: one copy of the weights writes replies and verdicts in one batch. A
checkpoint follows no schema, so its verdicts are asked for as plain text and read as those of a server that knows none.
"""

import hashlib
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from typing_extensions import override

from step_envs.agents.local.batch import Batcher
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.generation import GenerationRequest
from step_envs.endpoint import Answer, AskedModel, Gateway
from step_envs.endpoint.adaptation import merged_roles
from step_envs.endpoint.chat_completion import Finish
from step_envs.errors import RequestRefusedError, TemplateError
from step_envs.trajectory import Actor, Usage

LEAST_TOKENS = 512
"""Tokens that a verdict may have where the agent's own replies may have fewer: error, reason, reflection and action."""

_PLAIN_TEXT = 2
"""Place of plain text in the order of answer formats; see ``step_envs.wrappers.teachers.structured_output.FORMATS``."""


class LocalChat(AskedModel):
    """A loaded checkpoint that can be asked.

    Sampling is seeded by ``seed`` and the prompt, so that the same question gets the same answer in any order, in any batch
    and after a resumed run.

    Args:
        batcher: The loaded checkpoint and its queue of requests.
        temperature: Sampling temperature; 0 takes the most likely token.
        top_p: Nucleus sampling.
        seed: Seed of the sampling.
        max_tokens: Most tokens of an answer.
        context: Most tokens of a prompt with its answer; None uses the checkpoint's own limit.
    """

    behind_endpoint = False

    def __init__(
        self,
        batcher: Batcher,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        max_tokens: int = 1024,
        context: int | None = None,
    ) -> None:
        self.batcher = batcher
        self.model = batcher.model.name
        self.answer_format = _PLAIN_TEXT
        self._temperature, self._top_p, self._seed, self._max_tokens = temperature, top_p, seed, max_tokens
        self._context = context or batcher.model.context
        # The prompts of one episode share a beginning, which is read once; the agent's own conversation is another one.
        self._kept = PrefixCache()

    @override
    def ask(
        self,
        messages: Sequence[dict[str, str]],
        *,
        response_format: dict[str, Any] | None = None,
        tools: Sequence[dict[str, Any]] = (),
        stop: Sequence[str] = (),
        seed: int | None = None,
        sample: int = 0,
        logprobs: bool = False,
    ) -> Answer:
        """Ask the checkpoint, and wait for its answer.

        Args:
            messages: ``role`` and ``content``.
            response_format: Not used, like the next two: a checkpoint takes none of them.
            tools: See ``response_format``.
            stop: See ``response_format``.
            seed: Seed of the sampling; None is the model's own.
            sample: Tells apart answers to one question that are meant to differ.
            logprobs: Return the logprobs of the answer's tokens.

        Raises:
            RequestRefusedError: The prompt does not fit the checkpoint's context.
            TemplateError: The chat template refuses the messages.
        """
        started, model = perf_counter(), self.batcher.model
        try:
            prompt = model.prompt(messages)
        except TemplateError:
            # Some templates know no system message, as some servers refuse one.
            merged = merged_roles([dict(message) for message in messages])
            if merged == list(messages):
                raise
            prompt = model.prompt(merged)
        most = self._max_tokens if self._context is None else min(self._max_tokens, self._context - len(prompt))
        if most < 1:
            raise RequestRefusedError(
                f"The question has {len(prompt)} tokens, but {self.model} is to read and write at most {self._context}.",
                400,
                "context",
            )
        digest = hashlib.sha256(np.array(prompt, dtype=np.int64).tobytes()).digest()
        draw = np.random.default_rng(
            [self._seed if seed is None else seed, sample, *np.frombuffer(digest, dtype=np.uint32).tolist()]
        )
        request = GenerationRequest(self._kept, list(prompt), most, _never, self._temperature, self._top_p, draw)
        request.logprobs = [] if logprobs else None
        ids = self.batcher.submit(request)
        text = model.text(ids)
        if model.begins_in_thought:
            # The mark that opens the thought stands in the prompt; without it an unfinished thought looks like words.
            text = f"<think>{text}"
        usage = Usage(
            prompt_tokens=len(prompt), completion_tokens=len(ids), requests=1, seconds=perf_counter() - started
        )
        finish: Finish = "length" if len(ids) == most else "stop"
        tokens = None if request.logprobs is None else model.token_texts(ids, request.logprobs)
        return Answer(text, finish, usage, len(prompt), logprobs=tokens)

    @override
    def describe(self, name: str, **further: Any) -> Actor:
        """Return name and sampling parameters of the model, for the record."""
        params: dict[str, Any] = {
            "temperature": self._temperature,
            "top_p": self._top_p,
            "seed": self._seed,
            "max_tokens": self._max_tokens,
            "context": self._context,
        }
        return Actor(name=name, model=self.model, params=params | further)

    @override
    def connect(self, gateway: Gateway) -> None:
        """Change nothing: a checkpoint in this process is asked directly and costs nothing."""


def _never(reply: list[int]) -> bool:
    """Let only the end of turn and the limit end an answer: a verdict may quote what would end an agent's reply."""
    return False
