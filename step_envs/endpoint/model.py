"""One model behind one endpoint, with its sampling parameters; teachers and agents ask through it."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar, TypedDict
from urllib.parse import SplitResult, urlsplit

from typing_extensions import override

from step_envs.confidential import looks_like_secret, refuse_secrets
from step_envs.endpoint.address import OFFICIAL, Endpoint
from step_envs.endpoint.gateway import Answer, Gateway
from step_envs.errors import missing_package
from step_envs.trajectory import Actor

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class ChatOptions(TypedDict, total=False):
    """The options of a ``ChatModel``, for agents and teachers that hand them on to one."""

    api_key_env: str
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    timeout: float
    max_retries: int
    extra: dict[str, Any] | None


class AskedModel(ABC):
    """A language model that teachers and agents ask, wherever it is.

    Attributes:
        model: Its name.
        answer_format: Number of the most exacting answer format that it was found to follow, in the order in which
            ``wrappers.teachers`` tries them, from 0.
    """

    behind_endpoint: ClassVar[bool]
    """True if it is asked through a gateway, with a cache, a ledger and a budget."""

    model: str
    answer_format: int

    @abstractmethod
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
        """Ask the model, and wait for its answer; see ``ChatModel.ask``."""

    @abstractmethod
    def describe(self, name: str, **further: Any) -> Actor:
        """Return the description of the model for the record; see ``ChatModel.describe``."""

    @abstractmethod
    def connect(self, gateway: Gateway) -> None:
        """Ask through ``gateway`` from now on; nothing changes for a model that is behind no endpoint."""


class ChatModel(AskedModel):
    """A language model behind an endpoint.

    Args:
        model: Name of the model, as the endpoint knows it.
        base_url: Root of the API, e.g. ``http://localhost:8000/v1``; None is OpenAI's.
        api_key_env: Name of the environment variable that holds the key. The key itself cannot be given, because all
            arguments are written into configurations and records.
        temperature: Sampling temperature; None leaves it to the server.
        top_p: Nucleus sampling; None leaves it to the server.
        max_tokens: Most tokens of an answer.
        timeout: Seconds within which each attempt must bring the whole answer.
        max_retries: How often a failed request is sent again.
        extra: Further parameters of the request body, for servers that have their own.

    Attributes:
        gateway: The gateway it asks through. Until ``connect``, all models share one without cache and budget.

    Raises:
        ValueError: An argument has an impossible value, ``base_url`` or ``extra`` holds a secret, or ``api_key_env`` is
            no name of a variable.
        gymnasium.error.DependencyNotInstalled: The client is not installed.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        timeout: float = 120.0,
        max_retries: int = 5,
        extra: dict[str, Any] | None = None,
    ) -> None:
        address = OFFICIAL if base_url is None else base_url.rstrip("/")
        parts = _address_parts(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must look like http://localhost:8000/v1.")
        if parts.username or parts.password or parts.query or parts.fragment or looks_like_secret(address):
            raise ValueError(
                "base_url must hold no user name, password or query, and no fragment or key, for it is written "
                "into records: put the key into an environment variable and name that with api_key_env."
            )
        refuse_secrets(
            extra or {}, "extra", instead="put it into an environment variable and name that with api_key_env."
        )
        if looks_like_secret(str(model)):
            raise ValueError("model looks like a key: give the name of the model, for it is written into records.")
        if not _is_variable(str(api_key_env)):
            # Not quoted: it may be the key.
            raise ValueError(
                "api_key_env must be the name of an environment variable, like OPENAI_API_KEY, and not the key itself, "
                "for it is written into records."
            )
        if temperature is not None and temperature < 0:
            raise ValueError(f"temperature must not be negative, got {temperature}.")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens}.")
        if timeout <= 0 or max_retries < 0:
            raise ValueError(f"timeout must be more than 0 and max_retries not negative, got {timeout}, {max_retries}.")
        if find_spec("openai") is None:
            raise missing_package("openai", "Asking a language model", "endpoint")
        self.model = str(model)
        self.endpoint = Endpoint(address, api_key_env, float(timeout), max_retries)
        self._parameters = {
            name: value
            for name, value in (("temperature", temperature), ("top_p", top_p), ("max_tokens", max_tokens))
            if value is not None
        }
        self._extra = dict(extra or {})
        self.gateway = shared_gateway()

    behind_endpoint = True

    @property
    def answer_format(self) -> int:
        """Number of the most exacting answer format that was found to work; all who use the gateway share it."""
        return self.gateway.formats.get((self.endpoint.base_url, self.model), 0)

    @answer_format.setter
    def answer_format(self, number: int) -> None:
        self.gateway.formats[self.endpoint.base_url, self.model] = number

    @override
    def connect(self, gateway: Gateway) -> None:
        """Ask through ``gateway`` from now on."""
        self.gateway = gateway

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
        """Ask the model, and wait for its answer.

        Args:
            messages: ``role`` and ``content``.
            response_format: The form that the answer must have, as the API takes it; None leaves it free.
            tools: Tools that the model may call, as the API takes them; not sent to a server that refuses them.
            stop: Texts before which the server should stop.
            seed: Seed for the server's sampling.
            sample: Tells apart answers to one request that are meant to differ.
            logprobs: Ask for the logprobs of the sampled tokens; not sent to a server that refuses to give them.

        Raises:
            EndpointError: See ``Gateway.ask``.
        """
        # Half a surrogate pair, which Python text may hold, cannot be sent.
        sent = [{name: text.encode("utf-8", "replace").decode() for name, text in turn.items()} for turn in messages]
        request: dict[str, Any] = {"model": self.model, "messages": sent, **self._parameters}
        if response_format is not None:
            request["response_format"] = response_format
        if tools:
            request["tools"] = list(tools)
        if stop:
            request["stop"] = list(stop)
        if seed is not None:
            request["seed"] = seed
        if logprobs:
            request["logprobs"] = True
        if self._extra:
            request |= self._extra
        return self.gateway.ask(self.endpoint, request, sample=sample)

    @override
    def describe(self, name: str, **further: Any) -> Actor:
        """Return the description of the model for the record.

        Args:
            name: Its role in the run, e.g. ``openai``.
            **further: More parameters to record.
        """
        params: dict[str, Any] = {"base_url": self.endpoint.base_url, **self._parameters}
        if self._extra:
            params["extra"] = self._extra
        return Actor(name=name, model=self.model, params=params | further)


def _address_parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  (raises for one that is no number, which may be half of a password)
    except ValueError:
        raise ValueError("base_url must look like http://localhost:8000/v1.") from None
    return parts


def _is_variable(name: str) -> bool:
    """Return True if this is the name of an environment variable, and not a key that happens to have the form of one."""
    if not _VARIABLE.fullmatch(name) or looks_like_secret(name):
        return False
    # A key of letters and digits looks like a name; but it is the name of nothing.
    return name in os.environ or (name.upper() == name and sum(map(str.isdigit, name)) <= 4)


class UsesChatModel:
    """Base of teachers and agents that ask a model; a run connects their ``chat`` to its gateway."""

    chat: AskedModel

    def _make_chat(self, model: str, base_url: str | None, options: ChatOptions) -> ChatModel:
        """Make the model to ask.

        Raises:
            TypeError: An option is not one of a ``ChatModel``; the class that was given it is named.
        """
        for name in options:
            if name not in ChatOptions.__annotations__:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {name!r}")
        return ChatModel(model, base_url, **options)


def asks_endpoint(player: object) -> bool:
    """Return True for an agent or teacher that asks a model behind an endpoint."""
    return isinstance(player, UsesChatModel) and player.chat.behind_endpoint


@cache
def shared_gateway() -> Gateway:
    """Return the gateway of all models that are connected to no other."""
    return Gateway()
