"""Sends requests to one endpoint, within a time limit, and turns each fault into an error of this package.

The ``openai`` client sends, sends again, and waits in between. Two things it does not do, and they are added where its HTTP
client sends a request, so that they hold for every attempt: the attempt waits for the endpoint's rate limit, and the whole
answer, from connecting to the last byte, must arrive within the time-out.

This module imports ``openai``; ``Gateway`` imports it when the first request is made.
"""

import threading
import time
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any, NoReturn

import openai
from pydantic import ValidationError
from typing_extensions import override

from step_envs.endpoint.address import Endpoint, read_key
from step_envs.endpoint.chat_completion import ChatCompletion
from step_envs.endpoint.deadline import Deadline
from step_envs.endpoint.rate_limit import RateLimit
from step_envs.errors import EndpointDownError, EndpointError, RequestRefusedError

# The library that this version of the client sends with: httpx, or its successor.
_http: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

_NEW_NAMES = {"max_tokens": "max_completion_tokens"}
"""Parameters that some servers only know by another name, with the same meaning."""
_HINTS = {
    401: " Is the key in {env} right?",
    403: " Is the key in {env} right?",
    404: " Are base_url and model right?",
}
_LONGEST_QUOTE = 300
_MOST_CONNECTIONS = 1024
_NO_KEY = "none"  # the client wants a key, and a server of one's own takes any


class EndpointClient:
    """The connections to one endpoint, and how it has behaved so far.

    Any number of threads may ask at once.

    Args:
        endpoint: The endpoint.
        rate_limit: Shared by all clients that ask the same address.

    Attributes:
        failures_in_a_row: Requests that failed, each with all its attempts, since the last answer.
        last_failure: What the last of them failed with.

    Raises:
        EndpointError: The key is missing or malformed.
    """

    def __init__(self, endpoint: Endpoint, rate_limit: RateLimit) -> None:
        self.endpoint = endpoint
        self.failures_in_a_row = 0
        self.last_failure = ""
        self._key = read_key(endpoint)
        self._rate_limit = rate_limit
        self._renamed: set[str] = set()
        self._lock = threading.Lock()
        self._http_client = _LimitedHttpClient(endpoint, rate_limit)
        self._client = openai.OpenAI(
            api_key=self._key or _NO_KEY,
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            max_retries=endpoint.max_retries,
            http_client=self._http_client,
        )

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
        self._http_client.attempts = 0
        body = {_NEW_NAMES[name] if name in self._renamed else name: value for name, value in request.items()}
        try:
            # Plain JSON in both directions. The client's typed call walks through every message of every request, which
            # costs more than all else together, and it accepts answers that have to be judged here.
            content = self._client.post("/chat/completions", cast_to=_http.Response, body=body).content
        except openai.APIStatusError as error:
            name = _renamed_parameter(error)
            if (
                name is not None and name in body
            ):  # sent by its old name, perhaps while another thread learned the new one
                self._renamed.add(name)
                return self.complete(request)
            self._refuse(error)
        except openai.APIConnectionError as error:
            # Only the kind of error: the text of a network library's error can quote what was sent.
            kind = "time-out" if isinstance(error, openai.APITimeoutError) else type(error.__cause__ or error).__name__
            self._fail(f"no answer ({kind})")
        try:
            completion = ChatCompletion.model_validate_json(content)
        except ValidationError:
            self._fail("the answer is not a chat completion")
        self.failures_in_a_row = 0
        self._rate_limit.note_answer()
        return completion, self._http_client.attempts

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _refuse(self, error: openai.APIStatusError) -> NoReturn:
        status = error.status_code
        if status in (408, 409, 429) or status >= 500:
            self._fail(f"status {status}")
        self.failures_in_a_row = 0
        hint = _HINTS.get(status, "").format(env=self.endpoint.key_env)
        said = " ".join(_cut(_without(str(error.message), self._key)).split())
        message = f"{self.endpoint.base_url} refuses the request (status {status}).{hint} It says: {said}"
        # "from None": the client's own error holds the whole exchange, key included, and stays out of tracebacks.
        raise RequestRefusedError(message, status) from None

    def _fail(self, what: str) -> NoReturn:
        with self._lock:
            self.failures_in_a_row += 1
            self.last_failure = f"{what}."
        attempts = max(self._http_client.attempts, 1)
        raise EndpointDownError(
            f"{self.endpoint.base_url} gave no usable answer, after {attempts} attempts: {what}."
        ) from None


class _LimitedHttpClient(openai.DefaultHttpxClient):
    """Sends each attempt within the rate limit and the time-out of its endpoint."""

    def __init__(self, endpoint: Endpoint, rate_limit: RateLimit) -> None:
        super().__init__(
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            limits=_http.Limits(
                max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS, keepalive_expiry=30.0
            ),
        )
        self._seconds = endpoint.timeout
        self._rate_limit = rate_limit
        self._of_thread = threading.local()
        self._deadline = Deadline()
        try:
            self._deadline.apply_to(self)
        except AttributeError as error:
            raise EndpointError(
                f"{_http.__name__} {_http.__version__} cannot be used: no time limit can be set for its answers. Install "
                "the version that constraints.txt of step-envs names."
            ) from error

    @property
    def attempts(self) -> int:
        """Attempts that the calling thread has made since it set this to 0."""
        count: int = self._of_thread.attempts
        return count

    @attempts.setter
    def attempts(self, count: int) -> None:
        self._of_thread.attempts = count

    @override
    def send(self, request: Any, **options: Any) -> Any:
        self._rate_limit.wait()
        self.attempts += 1
        self._deadline.begin(self._seconds)
        response = super().send(request, **options)
        wait = _retry_after(response.headers)
        # A 503 means "too many requests" only where it says how long to wait.
        if response.status_code == 429 or (response.status_code == 503 and wait is not None):
            self._rate_limit.note_refusal(wait)
        return response


def _renamed_parameter(error: openai.APIStatusError) -> str | None:
    """Name the parameter that the server knows only by its new name, if that is why it refused."""
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


def _without(text: str, key: str) -> str:
    return text.replace(key, "[key]") if key else text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."
