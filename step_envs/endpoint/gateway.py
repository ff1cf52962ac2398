"""The one way out to language models: connections, pace, cache and bill of a run, shared by all who ask.

Sending, retrying and the waits between retries are the ``openai`` client's. What it does not do is here: every request,
those it sends again included, passes the pace of its endpoint; an answer must be whole within the time-out, however
slowly it trickles in; what was answered once comes from the cache; what was paid is on the bill. A request that fails in
the end is an error of ``step_envs.errors`` whose text never holds the key.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any, Literal, NamedTuple, NoReturn

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from step_envs.endpoint.cache import ResponseCache, request_key
from step_envs.endpoint.cost_ledger import CostLedger
from step_envs.endpoint.deadline import Deadline
from step_envs.endpoint.rate_limit import RateLimit
from step_envs.errors import EndpointDownError, EndpointError, RequestRefusedError
from step_envs.trajectory import Usage

OFFICIAL = "https://api.openai.com/v1"
DOWN_AFTER = 5
"""Requests that failed in a row, each with all its retries, after which an endpoint counts as down."""

_NEW_NAMES = {"max_tokens": "max_completion_tokens"}
"""Parameters that some servers only know by another name, with the same meaning."""
_HINTS = {
    401: " Is the key in {env} right?",
    403: " Is the key in {env} right?",
    404: " Are base_url and model right?",
}
_WHOLE = (None, "stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call")
_CUT_OFF = ("length", "max_tokens", "model_length")
"""What servers call the end of an answer that is whole, and of one that ran out of room."""
_LONGEST_QUOTE = 300
_MOST_CONNECTIONS = 1024
_NO_KEY = "none"  # servers of one's own take anything


class Endpoint(NamedTuple):
    """Where and how to ask.

    Attributes:
        base_url: Root of the API, up to and with ``/v1``.
        key_env: Name of the environment variable that holds the key.
        timeout: Seconds in which an answer must be whole.
        max_retries: How often a request is sent again after a time-out, a dropped connection, 408, 409, 429 or 5xx.
    """

    base_url: str = OFFICIAL
    key_env: str = "OPENAI_API_KEY"
    timeout: float = 120.0
    max_retries: int = 5


Finish = Literal["stop", "length", "refusal", "other"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        text: Its words; of a refusal, the words of the refusal.
        finish: ``stop`` (it had said all), ``length`` (it was cut off), ``refusal`` (its own or a filter's), ``other``
            (an ending that is not known here, which may have come in mid-sentence).
        usage: What it cost now; from the cache, nothing but time.
        prompt_tokens: Length of the prompt as the server counted it, also from the cache; 0 where it did not.
    """

    text: str
    finish: Finish
    usage: Usage
    prompt_tokens: int = 0


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Details(BaseModel):
    cached_tokens: int | None = Field(None, ge=0)


class _Tokens(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)
    prompt_tokens_details: _Details | None = None


class _Completion(BaseModel):
    """The part of a chat completion that is needed; servers add to it as they please."""

    choices: list[_Choice]
    usage: _Tokens | None = None

    @field_validator("usage", mode="wrap")
    @classmethod
    def _counted_or_not(cls, given: Any, read: ValidatorFunctionWrapHandler) -> _Tokens | None:
        # A count that is no count ({}, nulls) is none; the words are as good as ever.
        try:
            tokens: _Tokens | None = read(given)
        except ValidationError:
            return None
        return tokens


@dataclass
class _Connection:
    """The connection to one endpoint and what is known of it."""

    client: Any
    key: str
    response: Any
    failed_in_a_row: int = 0
    last_failure: str = ""
    renamed: set[str] = field(default_factory=set)


class Gateway:
    """Asks endpoints, for any number of threads.

    Args:
        cache: Where answers are kept; None asks anew each time.
        ledger: Prices, what was paid, budget; None keeps a bill without either.
        requests_per_minute: Most requests in a minute to any one endpoint; None means no limit.

    Attributes:
        ledger: What was paid.
        formats: Endpoint and model -> the most exacting answer format found to work; see ``wrappers.teachers``.
    """

    def __init__(
        self,
        *,
        cache: ResponseCache | None = None,
        ledger: CostLedger | None = None,
        requests_per_minute: float | None = None,
    ) -> None:
        self.cache = cache
        self.ledger = ledger or CostLedger()
        self.formats: dict[tuple[str, str], int] = {}
        self._per_minute = requests_per_minute
        self._lines: dict[Endpoint, _Connection] = {}
        self._paces: dict[str, RateLimit] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._sent = threading.local()
        self._deadline = Deadline()

    def ask(self, endpoint: Endpoint, request: dict[str, Any], *, sample: int = 0) -> Answer:
        """Ask a model.

        Args:
            endpoint: Where.
            request: ``model``, ``messages`` and parameters of a chat completion.
            sample: Tells apart answers to one request that are meant to differ.

        Raises:
            EndpointError: The request is refused (401, 404, 400, ...) or cannot be made at all.
            EndpointDownError: No answer could be had.
            BudgetSpentError: The budget does not cover it.
            StoreError: Cache or bill cannot be written.
        """
        if self.cache is None:
            return self._fetch(endpoint, request)[0]
        # The form an answer was asked for in is no part of the question: a later session may know better which works.
        asked = {name: value for name, value in request.items() if name != "response_format"}
        key = request_key(endpoint.base_url, asked, sample)
        with self._lock:
            alone = self._asking.setdefault(key, threading.Lock())
        try:
            # Who asks what is being asked already waits for that answer instead of paying for another.
            with alone:
                known = self.cache.get(key)
                if known is not None:
                    tokens = _Tokens.model_validate(known["usage"])
                    worth = self._cost(request["model"], tokens, 0, 0.0)
                    self.ledger.save(worth)
                    usage = Usage(cached=1, cost=None if worth.cost is None else 0.0)
                    return Answer(known["text"], known["finish"], usage, tokens.prompt_tokens)
                answer, counted = self._fetch(endpoint, request)
                if answer.finish == "stop":
                    kept = {"text": answer.text, "finish": answer.finish, "usage": counted}
                    self.cache.put(key, request["model"], kept)
                return answer
        finally:
            with self._lock:
                self._asking.pop(key, None)

    def down(self) -> str | None:
        """Name an endpoint that has failed too often in a row to go on with, and how; None where all is well."""
        for endpoint, line in list(self._lines.items()):
            if line.failed_in_a_row >= DOWN_AFTER:
                return (
                    f"{endpoint.base_url} has failed {line.failed_in_a_row} requests in a row, each sent up to "
                    f"{endpoint.max_retries + 1} times: {line.last_failure}"
                )
        return None

    def require_up(self) -> None:
        """Go on only where no endpoint is down, for those whom answers that never come would leave with nothing to say.

        Raises:
            EndpointDownError: One is; see ``down``.
        """
        down = self.down()
        if down is not None:
            raise EndpointDownError(down)

    def close(self) -> None:
        """Close connections, cache and bill."""
        for line in self._lines.values():
            line.client.close()
        if self.cache is not None:
            self.cache.close()
        self.ledger.close()

    # Within.

    def _fetch(self, endpoint: Endpoint, request: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
        line = self._line(endpoint)
        size = sum(len(message["content"].encode()) for message in request["messages"])
        limits = [request[name] for name in ("max_tokens", "max_completion_tokens") if request.get(name)]
        with self.ledger.set_aside(request["model"], size, max(limits, default=None)):
            started = time.perf_counter()
            completion, sent = self._send(endpoint, line, request)
            tokens = completion.usage
            if tokens is None and self.ledger.budget is not None:
                raise EndpointError(
                    f"{endpoint.base_url} does not say how many tokens {request['model']!r} used, "
                    "so that no budget can be kept: leave the budget out."
                )
            usage = self._cost(request["model"], tokens, sent, time.perf_counter() - started)
            self.ledger.pay(endpoint.base_url, request["model"], usage)
        if not completion.choices:
            raise EndpointDownError(f"{endpoint.base_url} answered without a choice.")
        text, finish = _read(completion.choices[0])
        if finish == "other" and not text:
            raise EndpointDownError(f"{endpoint.base_url} answered with an empty message.")
        counted = tokens or _Tokens(prompt_tokens=0)
        return Answer(text, finish, usage, counted.prompt_tokens), counted.model_dump(exclude_none=True)

    def _cost(self, model: str, tokens: _Tokens | None, sent: int, seconds: float) -> Usage:
        if tokens is None:
            return Usage(requests=sent, seconds=seconds)
        price = self.ledger.price_of(model)
        cached = tokens.prompt_tokens_details.cached_tokens if tokens.prompt_tokens_details else None
        cost = price and price.of(
            tokens.prompt_tokens, tokens.completion_tokens, min(cached or 0, tokens.prompt_tokens)
        )
        return Usage(
            prompt_tokens=tokens.prompt_tokens,
            completion_tokens=tokens.completion_tokens,
            requests=sent,
            seconds=seconds,
            cost=cost,
        )

    def _send(self, endpoint: Endpoint, line: _Connection, request: dict[str, Any]) -> tuple[_Completion, int]:
        import openai

        self._sent.count = 0
        body = {_NEW_NAMES[name] if name in line.renamed else name: value for name, value in request.items()}
        try:
            # As plain JSON in both directions: the client's typed call walks through every message of every request, which
            # costs more than all else together, and lets a server's liberties pass that are to be judged here.
            content = line.client.post("/chat/completions", cast_to=line.response, body=body).content
        except openai.APIStatusError as error:
            name = _renamed(error)
            if name is not None and name not in line.renamed and name in request:
                line.renamed.add(name)
                return self._send(endpoint, line, request)
            self._refused(endpoint, line, error)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            kind = "time-out" if isinstance(error, openai.APITimeoutError) else _describe(cause)
            self._failed(endpoint, line, f"no answer ({kind})")
        try:
            completion = _Completion.model_validate_json(content)
        except ValidationError:
            self._failed(endpoint, line, "the answer is not a chat completion")
        line.failed_in_a_row = 0
        self._pace(endpoint.base_url).answered()
        return completion, self._sent.count

    def _refused(self, endpoint: Endpoint, line: _Connection, error: Any) -> NoReturn:
        status = error.status_code
        said = " ".join(_cut(_without(str(error.message), line.key)).split())
        if status in (408, 409, 429) or status >= 500:
            self._failed(endpoint, line, f"status {status}")
        line.failed_in_a_row = 0
        hint = _HINTS.get(status, "").format(env=endpoint.key_env)
        # The client's own error holds the whole exchange: it stays out of tracebacks.
        message = f"{endpoint.base_url} refuses the request (status {status}).{hint} It says: {said}"
        raise RequestRefusedError(message, status) from None

    def _failed(self, endpoint: Endpoint, line: _Connection, what: str) -> NoReturn:
        with self._lock:
            line.failed_in_a_row += 1
            line.last_failure = f"{what}."
        raise EndpointDownError(
            f"{endpoint.base_url} gave no usable answer, after {max(self._sent.count, 1)} attempts: {what}."
        ) from None

    def _line(self, endpoint: Endpoint) -> _Connection:
        with self._lock:
            if endpoint not in self._lines:
                self._lines[endpoint] = self._connect(endpoint)
            return self._lines[endpoint]

    def _connect(self, endpoint: Endpoint) -> _Connection:
        import openai

        key = os.environ.get(endpoint.key_env, "")
        if not key and endpoint.base_url == OFFICIAL:
            raise EndpointError(
                f"No key: set the environment variable {endpoint.key_env}, or name a server of your own with base_url."
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            # Most often the line break at the end of the file that it came from.
            raise EndpointError(
                f"The key in the environment variable {endpoint.key_env} holds a space, a line break or another character "
                "that no key has: set it again."
            )
        pace = self._paces.setdefault(endpoint.base_url, RateLimit(self._per_minute))

        def before(request: Any) -> None:
            self._sent.count = getattr(self._sent, "count", 0) + 1
            pace.take()
            self._deadline.set(endpoint.timeout)

        def after(response: Any) -> None:
            wait = _retry_after(response.headers)
            # A 503 says "too many" where it says for how long, else it can be anything.
            if response.status_code == 429 or (response.status_code == 503 and wait is not None):
                pace.refused(wait)

        # The HTTP library that this version of the client sits on.
        http_library = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
        http = openai.DefaultHttpxClient(
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            limits=type(openai.DEFAULT_CONNECTION_LIMITS)(
                max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS, keepalive_expiry=30.0
            ),
            event_hooks={"request": [before], "response": [after]},
        )
        self._deadline.watch(http)
        client = openai.OpenAI(
            api_key=key or _NO_KEY,
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            max_retries=endpoint.max_retries,
            http_client=http,
        )
        return _Connection(client, key, http_library.Response)

    def _pace(self, base_url: str) -> RateLimit:
        return self._paces[base_url]


def _read(choice: _Choice) -> tuple[str, Finish]:
    """Tell the words of a choice, and how it ended."""
    message = choice.message
    if message.refusal:
        return message.refusal, "refusal"
    text = message.content or ""
    if choice.finish_reason == "content_filter":
        return text, "refusal"
    if choice.finish_reason in _CUT_OFF:
        return text, "length"
    # The words count whatever a server calls the ending; whether they may be kept does not follow from them.
    return text, "stop" if text and choice.finish_reason in _WHOLE else "other"


def _renamed(error: Any) -> str | None:
    """Name the parameter that a server only takes by its new name, if that is why it refused."""
    if error.status_code not in (400, 422):
        return None
    text = str(error.message)
    return next((name for name, new in _NEW_NAMES.items() if name in text and new in text), None)


def _retry_after(headers: Any) -> float | None:
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _describe(error: BaseException) -> str:
    # Only the kind: the text of an error of the network layers can quote what was sent.
    return type(error).__name__


def _without(text: str, key: str) -> str:
    return text.replace(key, "[key]") if key else text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."
