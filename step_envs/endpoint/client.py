"""Sends requests to one endpoint, within limits, and turns each fault into an error of this package.

The ``openai`` client sends, sends again, and waits in between. What it does not do is added where its HTTP client sends a
request, so that it holds for every attempt: the attempt waits for the endpoint's rate limit; the whole answer, from
connecting to the last byte, must arrive within the time-out and within a size; and what the server says, by whatever
status, decides whether the attempt is repeated. A request that is refused for what it asks is changed as far as the
server says how, and sent again; see ``adaptation.py``.

Each request in flight has an HTTP client of its own; later requests use it again. One client for all requests would check
all its connections before and after every request, while the other threads wait: with 256 requests in flight that costs a
third of the throughput.

This module imports ``openai``; ``Gateway`` imports it when the first request is made.
"""

import logging
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import openai
from typing_extensions import override

from step_envs.endpoint.adaptation import Adaptation, room_for_answer
from step_envs.endpoint.address import Endpoint, read_key
from step_envs.endpoint.chat_completion import ChatCompletion, NotAChatCompletionError, read_body, read_completion
from step_envs.endpoint.deadline import Deadline
from step_envs.endpoint.rate_limit import RateLimit
from step_envs.endpoint.server_errors import ServerError, read_error, shortened
from step_envs.endpoint.servers import ONE_REQUEST
from step_envs.errors import EndpointDownError, EndpointError, RequestRefusedError

# The library that this version of the client sends with: httpx, or its successor.
_http: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

LARGEST_ANSWER = 64 * 2**20
"""Bytes of an answer, unpacked. A few kilobytes of gzip can unpack to gigabytes."""
_HINTS = {
    "key": " Is the key in {env} right?",
    "address": " Are base_url and model right?",
    "model": " Are base_url and model right?",
}
_MOST_CHANGES = 12
"""Changes to one request; each is of another kind, so that more are a server that does not mean what it says."""
_SECONDS_BETWEEN_WARNINGS = 60.0
_LONGEST_WAIT = 120.0
_FREE_PARAMETERS = ("messages", "seed", "response_format")
"""Parameters that may differ between requests that are refused alike."""
_NO_KEY = "none"  # the client wants a key, and a server of one's own takes any
_ERROR = "step_envs.error"
_SUSPECT = ("down", "address")
"""Faults by which some servers answer to tools, or to a format of answers, that they do not know."""
_TOO_LARGE = "step_envs.too_large"
_log = logging.getLogger(__name__)


class EndpointClient:
    """The connections to one endpoint, and how it has behaved so far.

    Any number of threads may ask at once.

    Args:
        endpoint: The endpoint.
        rate_limit: Shared by all clients that ask the same address.

    Attributes:
        failures_in_a_row: Requests that failed, each with all its attempts, since the last answer.
        last_failure: What the last of them failed with.
        refused_alike: For requests with the same parameters: how many were refused in a row with the same words, and the
            sentence that says so. An answer to such a request sets it back.

    Raises:
        EndpointError: The key is missing or malformed.
    """

    def __init__(self, endpoint: Endpoint, rate_limit: RateLimit) -> None:
        self.endpoint = endpoint
        self.failures_in_a_row = 0
        self.last_failure = ""
        self._key = read_key(endpoint)
        self._rate_limit = rate_limit
        self.refused_alike: dict[str, tuple[int, str, str]] = {}
        self._adaptations: dict[str, Adaptation] = {}
        self._lock = threading.Lock()
        self._next_warning = 0.0
        # Reading the certificates takes as long as ten requests: all clients share them.
        self._certificates = _http.create_ssl_context()
        self._senders: list[_Sender] = []
        self._idle_senders: deque[_Sender] = deque()

    def complete(self, request: dict[str, Any]) -> tuple[ChatCompletion, int]:
        """Ask for a chat completion and wait for it.

        Args:
            request: ``model``, ``messages`` and parameters.

        Returns:
            The completion, and the number of attempts that it took.

        Raises:
            RequestRefusedError: The server refuses the request itself.
            EndpointDownError: No attempt brought a chat completion.
        """
        try:
            sender = self._idle_senders.pop()
        except IndexError:
            sender = self._new_sender()
        try:
            return self._complete(sender, request)
        finally:
            self._idle_senders.append(sender)

    def _complete(self, sender: "_Sender", request: dict[str, Any]) -> tuple[ChatCompletion, int]:
        http = sender.http
        http.attempts = 0
        adaptation = self._adaptation(str(request.get("model")))
        room: int | None = None
        fault: ServerError | None = None
        before: dict[str, Any] = {}
        for _ in range(_MOST_CHANGES):
            body = adaptation.apply(request, room)
            try:
                response = self._send(sender, body, adaptation)
                break
            except openai.APIStatusError as error:
                fault, status = error.response.extensions.get(_ERROR), error.status_code
            except openai.APIConnectionError as error:
                # Only the kind of error: the text of a network library's error can quote what was sent.
                timed_out = isinstance(error, openai.APITimeoutError)
                kind = "time-out" if timed_out else type(error.__cause__ or error).__name__
                self._fail(http.attempts, f"no answer ({kind})")
            if fault is None:
                self._fail(http.attempts, f"status {status}")
            room = room_for_answer(fault, body) or room
            adaptation.learn(fault, body)
            # Another thread may have learned the same a moment before.
            if adaptation.apply(request, room) in (body, before):
                self._refuse(http.attempts, fault, request)
            before = body
        else:
            assert fault is not None
            self._refuse(http.attempts, fault, request)
        if response.extensions.get(_TOO_LARGE):
            self._fail(http.attempts, f"the answer is longer than {LARGEST_ANSWER // 2**20} MiB")
        try:
            completion = read_completion(read_body(response.content))
        except NotAChatCompletionError:
            self._fail(http.attempts, "the answer is not a chat completion", response.text[: LARGEST_ANSWER // 2**10])
        self.failures_in_a_row = 0
        self.refused_alike.pop(_alike(request), None)
        self._rate_limit.note_answer()
        return completion, http.attempts

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for sender in self._senders:
                sender.http.close()

    def _new_sender(self) -> "_Sender":
        http = _LimitedHttpClient(self.endpoint, self._rate_limit, self._certificates, self._warn)
        api = openai.OpenAI(
            api_key=self._key or _NO_KEY,
            base_url=self.endpoint.base_url,
            timeout=self.endpoint.timeout,
            max_retries=self.endpoint.max_retries,
            http_client=http,
        )
        sender = _Sender(http, api)
        with self._lock:
            self._senders.append(sender)
        return sender

    def _adaptation(self, model: str) -> Adaptation:
        with self._lock:
            return self._adaptations.setdefault(model, Adaptation(f"{self.endpoint.base_url}, model {model!r},"))

    def _send(self, sender: "_Sender", body: dict[str, Any], adaptation: Adaptation) -> Any:
        """Send a request, in the loosest form that is needed, as often as the endpoint allows.

        Raises:
            openai.APIStatusError: It is refused, or no attempt was answered.
            openai.APIConnectionError: There was no answer.
        """
        bodies = adaptation.bodies_to_try(body)
        before, most = sender.http.attempts, self.endpoint.max_retries + 1
        if len(bodies) > most > 1:
            bodies = [bodies[0], bodies[-1]]
        for place, sent in enumerate(bodies, 1):
            last = place == len(bodies)
            # A fault that the form may have caused is not a reason to ask again and again in the same form.
            share = 2 if most >= 2 * len(bodies) else 1
            sender.http.suspect_after = None if last else sender.http.attempts + share
            try:
                response = self._post(sender.api, sent, max(most - (sender.http.attempts - before), 1))
            except openai.APIStatusError as error:
                fault: ServerError | None = error.response.extensions.get(_ERROR)
                if last or fault is None or fault.kind not in _SUSPECT:
                    raise
            else:
                adaptation.note_answer(body, sent)
                return response
        raise AssertionError("unreachable")

    def _post(self, api: openai.OpenAI, body: dict[str, Any], attempts: int) -> Any:
        # Plain JSON in both directions. The client's typed call walks through every message of every request, which
        # costs more than all else together, and it accepts answers that have to be judged here.
        return api.post("/chat/completions", cast_to=_http.Response, body=body, options={"max_retries": attempts - 1})

    def _refuse(self, attempts: int, error: ServerError, request: dict[str, Any]) -> NoReturn:
        if error.may_pass:
            self._fail(attempts, f"status {error.status}", error.words)
        self.failures_in_a_row = 0
        hint = _HINTS.get(error.kind, "").format(env=self.endpoint.key_env)
        message = f"{self.endpoint.base_url} refuses the request (status {error.status}).{hint} It says: {error.words}"
        if error.kind not in ONE_REQUEST:
            # Numbers (of tokens, of the request) may differ.
            said = re.sub(r"[0-9a-f-]*\d[0-9a-f-]*", "0", error.words)
            with self._lock:
                count, words, _ = self.refused_alike.get(_alike(request), (0, said, ""))
                self.refused_alike[_alike(request)] = (count + 1 if words == said else 1, said, message)
        # "from None": the client's own error holds the whole exchange, key included, and stays out of tracebacks.
        raise RequestRefusedError(message, error.status, error.kind) from None

    def _fail(self, attempts: int, what: str, words: str = "") -> NoReturn:
        said = shortened(words)
        with self._lock:
            self.failures_in_a_row += 1
            self.last_failure = f"{what}." + (f" It says: {said}" if said else "")
        says = f" says {said!r} and" if said else ""
        raise EndpointDownError(
            f"{self.endpoint.base_url}{says} gave no usable answer, after {max(attempts, 1)} attempts: {what}."
        ) from None

    def _warn(self, what: str) -> None:
        """Say now and then what is wrong while requests are sent again: with all its waits, that takes minutes."""
        now = time.monotonic()
        if self.endpoint.max_retries and now >= self._next_warning:
            self._next_warning = now + _SECONDS_BETWEEN_WARNINGS
            _log.warning(
                "%s %s; each request is sent up to %d times.",
                self.endpoint.base_url,
                what.rstrip("."),
                self.endpoint.max_retries + 1,
            )


def _alike(request: dict[str, Any]) -> str:
    """Name the requests that ask in the same way, whatever the conversation."""
    return repr(sorted((name, repr(value)) for name, value in request.items() if name not in _FREE_PARAMETERS))


class _LimitedHttpClient(openai.DefaultHttpxClient):
    """Sends each attempt within the rate limit and the time-out of its endpoint; for one thread at a time.

    Attributes:
        attempts: Attempts made since this was set to 0.
        suspect_after: Attempt from which on a fault may be that of the answer format, and is not repeated.
    """

    def __init__(
        self, endpoint: Endpoint, rate_limit: RateLimit, certificates: ssl.SSLContext, warn: Callable[[str], None]
    ) -> None:
        super().__init__(
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            headers={"accept-encoding": "gzip, deflate"},  # what can be unpacked piece by piece everywhere
            limits=_http.Limits(keepalive_expiry=30.0),
            verify=certificates,
        )
        self.attempts = 0
        self.suspect_after: int | None = None
        self._endpoint = endpoint
        self._rate_limit = rate_limit
        self._warn = warn
        self._deadline = Deadline()
        try:
            self._deadline.apply_to(self)
        except AttributeError as error:
            raise EndpointError(
                f"{_http.__name__} {_http.__version__} cannot be used: no time limit can be set for its answers. Install "
                "the version that constraints.txt of step-envs names."
            ) from error

    @override
    def send(self, request: Any, **options: Any) -> Any:
        self._rate_limit.wait()
        self.attempts += 1
        self._deadline.begin(self._endpoint.timeout)
        try:
            received = super().send(request, **options | {"stream": True})
            try:
                content = self._content(received)
            finally:
                received.close()
        except Exception as error:
            self._warn(f"does not answer ({type(error).__name__})")
            raise
        return self._judged(received, content)

    def _content(self, received: Any) -> bytes | None:
        """Read a body, unpacked; None if it is longer than an answer can be."""
        pieces, size = [], 0
        for piece in received.iter_bytes():
            size += len(piece)
            if size > LARGEST_ANSWER:
                return None
            pieces.append(piece)
        return b"".join(pieces)

    def _judged(self, received: Any, content: bytes | None) -> Any:
        """Write what was received as a response by whose status and headers the client does what the words call for."""
        error = None if content is None else read_error(received.status_code, received.headers, content)
        headers = {"content-type": received.headers.get("content-type", "application/json")}
        status = 200 if content is None else received.status_code
        if error is not None:
            status = error.status
            suspect = error.kind in _SUSPECT and self.suspect_after is not None and self.attempts >= self.suspect_after
            headers["x-should-retry"] = "true" if error.may_pass and not suspect else "false"
            if error.may_pass and error.wait is not None:
                headers["retry-after"] = f"{min(error.wait, _LONGEST_WAIT):.3f}"
            # A server that is too busy means "too many requests" only where it says how long to wait.
            if error.may_pass and (status == 429 or error.kind == "rate_limit" or error.wait is not None):
                self._rate_limit.note_refusal(error.wait)
            elif error.may_pass:
                self._warn(f"answers with status {status}: {error.words}")
        return _http.Response(
            status,
            headers=headers,
            content=content or b"",
            request=received.request,
            extensions={_ERROR: error, _TOO_LARGE: content is None},
        )


class _Sender(NamedTuple):
    """Sends one request at a time, over a connection that it keeps."""

    http: _LimitedHttpClient
    api: openai.OpenAI
