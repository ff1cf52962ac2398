"""A checkpoint on this machine as an agent: no server, and many episodes in one batch.

A server would answer many episodes in one batch as well, but it has to be installed, started and found first, which for a
small model is most of the work.
"""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, world_of
from step_envs.agents.chat import until_stop
from step_envs.agents.window import Window, has_observations
from step_envs.endpoint.chat_completion import Finish
from step_envs.errors import ContextTooSmallError, missing_package, unknown_name
from step_envs.trajectory import Actor, Usage

if TYPE_CHECKING:
    from step_envs.agents.local.admissible import AdmissibleActions
    from step_envs.agents.local.batch import Batcher
    from step_envs.agents.local.local_chat import LocalChat


class TransformersAgent(Agent):
    """Has a Hugging Face checkpoint play, in this process.

    All agents that name the same checkpoint share one loaded model. Requests that arrive at the same time are answered in
    one batch. Each agent keeps the attention cache of its conversation from turn to turn, as far as the new prompt begins
    with the same token ids. So play many episodes at once (``concurrency``), up to ``batch`` of them. Apart from the last
    digits of floating-point numbers, a reply depends neither on the batch nor on the cache.

    A reply ends at the model's end of turn, after its action where another field begins, or where the model begins to
    invent an observation. If the conversation no longer fits the context window, the oldest observations are shortened,
    never the task; each turn records how many were. If it does not fit even so, the agent gives up.

    Args:
        model: Folder of a checkpoint with a chat template, or name of one in the Hugging Face cache.
        temperature: Sampling temperature; ETO evaluates with 0 and explores with 1.
        top_p: Nucleus sampling: sample from the most likely tokens whose probabilities add up to this.
        seed: Seed of the sampling, together with the episode's own random stream.
        max_tokens: Most tokens of a reply.
        context: Most tokens of a conversation with its reply; None uses the checkpoint's own limit.
        device: ``"auto"`` means a GPU if there is one; else a device name of torch.
        dtype: ``"auto"`` means ``"bfloat16"`` on a GPU that supports it, else ``"float32"``.
        batch: Most replies that are written together, by all agents of this model; the agent made last decides.
        download: Download the checkpoint from the Hugging Face hub if it is not on this machine.
        actions: ``"admissible"`` has the checkpoint write only actions that the world accepts, in replies of the format
            ``react``; its thoughts are not restricted.

    Raises:
        DependencyNotInstalled: torch or transformers is not installed.
        DataError: The checkpoint does not exist or cannot be read.
        TemplateError: Its tokenizer cannot turn a conversation into text; it may lack a chat template.
        ValueError: An argument has an impossible value.
        UnknownNameError: There is no such kind of ``actions``.
    """

    name = "local"

    def __init__(
        self,
        model: str,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        max_tokens: int = 256,
        context: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 64,
        download: bool = False,
        actions: Literal["any", "admissible"] = "any",
    ) -> None:
        if actions not in ("any", "admissible"):
            raise unknown_name("kind of actions", actions, ("any", "admissible"))
        check_sampling(
            temperature=temperature, top_p=top_p, max_tokens=max_tokens, context=context, batch=batch, seed=seed
        )
        try:
            from step_envs.agents.local.cache import PrefixCache
            from step_envs.agents.local.shared import shared_batcher
        except ModuleNotFoundError as error:
            raise missing_package(error.name or "torch", "TransformersAgent", "train") from error
        self._batcher: Batcher = shared_batcher(str(model), device, dtype, download=download)
        self._batcher.most = batch
        self._model = self._batcher.model
        self._kept = PrefixCache()
        self._temperature, self._top_p, self._seed, self._max_tokens = temperature, top_p, seed, max_tokens
        self._context = context or self._model.context
        # Leave room for the reply, but never more than a quarter of the window: a small one must hold a prompt as well.
        prompt = None if self._context is None else self._context - min(max_tokens, self._context // 4)
        self._prompt: list[int] = []
        self._window = Window(prompt, self._measured)
        self._draw = np.random.default_rng(seed)
        self._episode_seed: int | None = None
        self._logprobs = False
        self._admissible = actions == "admissible"
        self._params: dict[str, Any] = {
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "max_tokens": max_tokens,
            "context": self._context,
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": self._model.device.type,
        }
        if self._admissible:
            self._params["actions"] = actions

    @override
    def ask_for_logprobs(self) -> None:
        self._logprobs = True
        self._params["logprobs"] = True

    @property
    def chat(self) -> "LocalChat":
        """The same loaded checkpoint to ask, with the agent's sampling, for the teacher ``self``."""
        from step_envs.agents.local.local_chat import LEAST_TOKENS, LocalChat

        return LocalChat(
            self._batcher,
            temperature=self._temperature,
            top_p=self._top_p,
            seed=self._seed,
            max_tokens=max(self._max_tokens, LEAST_TOKENS),
            context=self._context,
        )

    @override
    def describe(self) -> Actor:
        """Return name, model and parameters; ``episode_seed`` is the seed of the running episode's sampling."""
        return Actor(name=self.name, model=self._model.name, params=self._params | {"episode_seed": self._episode_seed})

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        if self._admissible and env.get_wrapper_attr("reply_format").name != "react":
            raise ValueError(
                'actions="admissible" is for replies in the format react: leave it out with other formats.'
            )
        self._window.begin()
        self._episode_seed = int(rng.integers(2**31)) if self._temperature else None
        self._draw = np.random.default_rng([self._seed, self._episode_seed or 0])
        self._batcher.join(self._kept)

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the conversation; None if it no longer fits the context window.

        Raises:
            TemplateError: The chat template refuses the conversation.
            ContextTooSmallError: Not even the task fits.
        """
        from step_envs.agents.local.generation import GenerationRequest

        started = perf_counter()
        messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
        shown = self._window.fit(messages)
        if shown is None:
            if not has_observations(messages):
                raise ContextTooSmallError(
                    f"The prompt of this task has {len(self._prompt)} tokens and a reply may have {self._max_tokens}, but "
                    f"{self._model.name} is to read and write at most {self._context}: give a smaller max_tokens=, "
                    "--style plain (no manual), or a model with a longer context."
                )
            return None
        if self._context is None:
            self._measured(shown)
        prompt = self._prompt
        most = self._max_tokens if self._context is None else min(self._max_tokens, self._context - len(prompt))
        request = GenerationRequest(
            self._kept, list(prompt), most, self._model.completes, self._temperature, self._top_p, self._draw
        )
        request.logprobs = [] if self._logprobs else None
        if self._admissible:
            request.allows = self._admissible_in(env).allows
        ids = self._batcher.submit(request)
        usage = Usage(
            prompt_tokens=len(prompt), completion_tokens=len(ids), requests=1, seconds=perf_counter() - started
        )
        finish: Finish = "length" if len(ids) == most and not self._model.completes(ids) else "stop"
        # Thoughts are left in: ReActWrapper takes them out and finds the action.
        logprobs = None if request.logprobs is None else self._model.token_texts(ids, request.logprobs)
        return Reply(until_stop(self._model.text(ids)), usage, self._window.shortened, finish, logprobs=logprobs)

    def _admissible_in(self, env: gym.Env[str, str]) -> "AdmissibleActions":
        """Return what the world accepts in its current state."""
        from step_envs.agents.local.admissible import AdmissibleActions

        world = world_of(env)
        return AdmissibleActions(world.admissible_actions(), world.accepts, self._model.text)

    def _measured(self, messages: Any) -> int:
        # The window measures the conversation that it returns last, so this is the prompt to send.
        self._prompt = self._model.prompt(messages)
        return len(self._prompt)


def check_sampling(
    *, temperature: float, top_p: float, max_tokens: int, context: int | None, seed: int, batch: int = 1
) -> None:
    """Check the numbers that decide how a local checkpoint is sampled.

    Raises:
        ValueError: One of them is impossible; the message names it.
    """
    rules: tuple[tuple[str, object, str, Callable[[Any], bool]], ...] = (
        ("temperature", temperature, "0 or more", lambda value: value >= 0),
        ("top_p", top_p, "above 0 and at most 1", lambda value: 0 < value <= 1),
        ("max_tokens", max_tokens, "at least 1", lambda value: value >= 1),
        ("context", 8 if context is None else context, "at least 8", lambda value: value >= 8),
        ("batch", batch, "at least 1", lambda value: value >= 1),
        ("seed", seed, "0 or more", lambda value: value >= 0),
    )
    for name, value, words, allowed in rules:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not allowed(value):
            raise ValueError(f"{name} must be {words}, got {value!r}.")
