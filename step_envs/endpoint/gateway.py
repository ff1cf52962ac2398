"""The one way to language models: the connections, rate limits, cache and ledger of a run, shared by all who ask.

An answer that was given once comes from the cache. Every paid request is in the ledger, whose budget holds for the run as
a whole. The requests themselves are the work of ``EndpointClient``, one for each endpoint.
"""

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from step_envs.confidential import without_keys, without_keys_within
from step_envs.endpoint.address import Endpoint
from step_envs.endpoint.cache import ResponseCache, request_key
from step_envs.endpoint.chat_completion import FINISHES, Finish
from step_envs.endpoint.cost_ledger import CostLedger
from step_envs.endpoint.rate_limit import RateLimit
from step_envs.endpoint.token_counts import TokenCounts, read_counts
from step_envs.errors import EndpointDownError, EndpointError
from step_envs.trajectory import TokenLogprob, Usage

if TYPE_CHECKING:
    from step_envs.endpoint.client import EndpointClient

_TOKENS: TypeAdapter[tuple[TokenLogprob, ...] | None] = TypeAdapter(tuple[TokenLogprob, ...] | None)

DOWN_AFTER = 5
"""Requests that failed in a row, each with all its retries, or were refused in a row with the same words, after which an
endpoint counts as down."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        text: Its words; of a refusal, the words of the refusal.
        finish: ``stop`` (it had said all), ``length`` (it was cut off), ``refusal`` (its own or a filter's), ``other``
            (an ending that is not known here, which may have come in mid-sentence).
        usage: What it cost now; an answer from the cache costs nothing but time.
        prompt_tokens: Length of the prompt as the server counted it, also from the cache; 0 where it did not count.
        thought: What it thought, where the server keeps that apart from its words.
        tool_calls: Calls of tools, as the server sent them.
        logprobs: The tokens of ``text`` and their logprobs; None where they were not asked for or the server gave none.
    """

    text: str
    finish: Finish
    usage: Usage
    prompt_tokens: int = 0
    thought: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None


def _row(answer: Answer, counts: TokenCounts) -> dict[str, Any]:
    """Write an answer as a row of the cache."""
    row: dict[str, Any] = {"text": answer.text, "finish": answer.finish, "usage": counts.model_dump()}
    if answer.thought:
        row["thought"] = answer.thought
    if answer.tool_calls:
        row["tool_calls"] = list(answer.tool_calls)
    if answer.logprobs is not None:
        row["logprobs"] = list(answer.logprobs)
    return row


def _kept_logprobs(row: dict[str, Any]) -> tuple[TokenLogprob, ...] | None:
    """Read the logprobs in a row of the cache. Only requests with logprobs have rows with them: they have other keys."""
    try:
        return _TOKENS.validate_python(row.get("logprobs"))
    except ValidationError:
        return None


class Gateway:
    """Asks endpoints, for any number of threads.

    Args:
        cache: Where answers are kept; None asks anew each time.
        ledger: Prices, what was paid, budget; None keeps a ledger without prices and budget.
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
        self._clients: dict[Endpoint, EndpointClient] = {}
        self._rate_limits: dict[str, RateLimit] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def ask(self, endpoint: Endpoint, request: dict[str, Any], *, sample: int = 0) -> Answer:
        """Ask a model.

        Args:
            endpoint: Where.
            request: ``model``, ``messages`` and parameters of a chat completion.
            sample: Tells apart answers to one request that are meant to differ.

        Raises:
            EndpointError: The request is refused (401, 404, 400, ...) or cannot be made at all.
            EndpointDownError: The endpoint returned no usable chat completion after all attempts.
            BudgetSpentError: The budget does not cover it.
            StoreError: Cache or ledger cannot be written.
        """
        if self.cache is None:
            return self._fetch(endpoint, request)[0]
        # The form of the answer is no part of the key: a later session may know better which form works.
        asked = {name: value for name, value in request.items() if name != "response_format"}
        key = request_key(endpoint.base_url, asked, sample)
        with self._lock:
            alone = self._asking.setdefault(key, threading.Lock())
        try:
            # A thread that asks what another is asking waits for that answer instead of paying for its own.
            with alone:
                known = self.cache.get(key)
                answer = None if known is None else self._kept_answer(request["model"], known)
                if answer is None:
                    answer, counts = self._fetch(endpoint, request)
                    if answer.finish == "stop" and (answer.text or answer.thought or answer.tool_calls):
                        self.cache.put(key, request["model"], _row(answer, counts))
                return answer
        finally:
            with self._lock:
                self._asking.pop(key, None)

    def down(self) -> str | None:
        """Name an endpoint that has failed or refused too often in a row to go on with; None where all is well."""
        for client in list(self._clients.values()):
            if client.failures_in_a_row >= DOWN_AFTER:
                return (
                    f"{client.endpoint.base_url} has failed {client.failures_in_a_row} requests in a row, each sent up "
                    f"to {client.endpoint.max_retries + 1} times: {client.last_failure}"
                )
            for count, _, sentence in list(client.refused_alike.values()):
                if count >= DOWN_AFTER:
                    return f"{count} requests in a row were refused alike: {sentence}"
        return None

    def require_up(self) -> None:
        """Raise an error if an endpoint is down, for callers whose result would be empty without its answers.

        Raises:
            EndpointDownError: An endpoint is down; see ``down``.
        """
        down = self.down()
        if down is not None:
            raise EndpointDownError(down)

    def close(self) -> None:
        """Close connections, cache and ledger."""
        for client in self._clients.values():
            client.close()
        if self.cache is not None:
            self.cache.close()
        self.ledger.close()

    def _fetch(self, endpoint: Endpoint, request: dict[str, Any]) -> tuple[Answer, TokenCounts]:
        """Ask the endpoint itself, within the budget, and enter what it cost in the ledger."""
        client = self._client(endpoint)
        size = sum(len(message["content"].encode()) for message in request["messages"])
        size += len(json.dumps(request["tools"])) if "tools" in request else 0
        limits = [request[name] for name in ("max_tokens", "max_completion_tokens") if request.get(name)]
        with self.ledger.set_aside(request["model"], size, max(limits, default=None)):
            started = time.perf_counter()
            completion, attempts = client.complete(request)
            counts = completion.usage
            if counts is None and self.ledger.budget is not None:
                raise EndpointError(
                    f"{endpoint.base_url} does not say how many tokens {request['model']!r} used, "
                    "so that no budget can be kept: leave the budget out."
                )
            usage = self._usage(request["model"], counts, attempts, time.perf_counter() - started)
            self.ledger.pay(endpoint.base_url, request["model"], usage)
        if not completion.present:
            raise EndpointDownError(f"{endpoint.base_url} answered without a choice.")
        if completion.finish == "other" and not (completion.text or completion.thought or completion.tool_calls):
            raise EndpointDownError(f"{endpoint.base_url} answered with an empty message.")
        counts = counts or TokenCounts(prompt_tokens=0)
        # A proxy may put the headers of the request into its answer.
        text, thought = without_keys(completion.text), without_keys(completion.thought)
        calls = without_keys_within(completion.tool_calls)
        # Where words were taken out, the tokens hold them still.
        told = request.get("logprobs") and text == completion.text
        logprobs = completion.logprobs if told else None
        answer = Answer(text, completion.finish, usage, counts.prompt_tokens, thought, calls, logprobs)
        return answer, counts

    def _kept_answer(self, model: str, row: dict[str, Any]) -> Answer | None:
        """Read a row of the cache; None if it is garbled, so that the model is asked anew."""
        text, finish, counts = row.get("text"), row.get("finish"), read_counts(row.get("usage"))
        thought, calls = row.get("thought", ""), row.get("tool_calls", [])
        if not (isinstance(text, str) and isinstance(thought, str) and isinstance(calls, list)):
            return None
        if finish not in FINISHES or counts is None or not (text or thought or calls):
            return None
        worth = self._usage(model, counts, 0, 0.0)
        self.ledger.save(worth)
        usage = Usage(cached=1, cost=None if worth.cost is None else 0.0)
        return Answer(text, finish, usage, counts.prompt_tokens, thought, tuple(calls), _kept_logprobs(row))

    def _usage(self, model: str, counts: TokenCounts | None, attempts: int, seconds: float) -> Usage:
        if counts is None:
            return Usage(requests=attempts, seconds=seconds)
        price = self.ledger.price_of(model)
        return Usage(
            prompt_tokens=counts.prompt_tokens,
            completion_tokens=counts.completion_tokens,
            requests=attempts,
            seconds=seconds,
            cost=price and price.of(counts.prompt_tokens, counts.completion_tokens, counts.cached_tokens),
        )

    def _client(self, endpoint: Endpoint) -> "EndpointClient":
        from step_envs.endpoint.client import EndpointClient

        with self._lock:
            if endpoint not in self._clients:
                limit = self._rate_limits.setdefault(endpoint.base_url, RateLimit(self._per_minute))
                self._clients[endpoint] = EndpointClient(endpoint, limit)
            return self._clients[endpoint]
