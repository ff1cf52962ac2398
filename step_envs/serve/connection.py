"""The client's connection to a server: kept open, with whole-answer deadlines, and retries that never repeat a step.

On the standard library alone. A request may be sent again after any fault of the line, because the server tells a repeated
call by its number (see ``step_envs.serve.sessions``).
"""

import http.client
import io
import json
import os
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from step_envs.errors import RemoteError
from step_envs.serve.protocol import TOKEN_VARIABLE, dump, raise_again

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_AGAIN = (429, 502, 503, 504)
_LARGEST_ANSWER = 256 * 2**20


class Connection:
    """Asks one server, one request at a time.

    Args:
        url: Address of the server, e.g. ``http://127.0.0.1:8765``.
        token: What the server was started with; None takes the environment variable ``STEP_ENVS_SERVE_TOKEN``.
        timeout: Seconds in which an answer must be whole.
        retries: How often a request is sent again after a fault of the line or when the server is full.

    Raises:
        ValueError: An argument has an impossible value, or there is no token.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 120.0, retries: int = 4) -> None:
        parts = urlsplit(str(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must look like http://127.0.0.1:8765.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url must hold no user name, password, query or fragment: the token goes into token=.")
        if not timeout > 0 or retries < 0:
            raise ValueError(f"timeout must be more than 0 and retries not negative, got {timeout!r}, {retries!r}.")
        token = token or os.environ.get(TOKEN_VARIABLE)
        if not token:
            raise ValueError(f"No token: set {TOKEN_VARIABLE} (or token=) to the one that the server was started with.")
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("The token holds a character that no token has: copy it again.")
        self.url = str(url).rstrip("/")
        self._parts = parts
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._timeout, self._retries = float(timeout), retries
        self._open: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            RemoteError: The server cannot be reached, refuses, or answers something else.
            Exception: What the environment raised there; see ``step_envs.serve.protocol``.
        """
        data = None if body is None else dump(body)
        wait = _FIRST_WAIT
        with self._lock:
            for left in range(self._retries, -1, -1):
                try:
                    status, headers, content = self._exchange(method, path, data)
                except (OSError, http.client.HTTPException) as error:
                    self._hang_up()
                    if not left:
                        kind = "no whole answer in time" if isinstance(error, TimeoutError) else type(error).__name__
                        raise RemoteError(
                            f"The server at {self.url} cannot be reached ({kind}), after {self._retries + 1} attempts."
                        ) from None
                    time.sleep(wait)
                else:
                    if status not in _AGAIN or not left:
                        return self._read(status, content)
                    time.sleep(min(_seconds(headers.get("retry-after"), wait), _LONGEST_WAIT))
                wait = min(wait * 2, _LONGEST_WAIT)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        with self._lock:
            self._hang_up()

    def _exchange(self, method: str, path: str, data: bytes | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        whole_by = time.monotonic() + self._timeout
        if self._open is None:
            cls = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._open = cls(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
            self._open.connect()
            self._open.sock = _InTime(self._open.sock)
        timed: Any = self._open.sock
        timed.whole_by = whole_by
        self._open.request(method, self._parts.path.rstrip("/") + path, data, self._headers)
        with self._open.getresponse() as response:
            content = response.read(_LARGEST_ANSWER + 1)
            if len(content) > _LARGEST_ANSWER:
                raise http.client.HTTPException("too long")
            closing = response.will_close
        if closing:
            self._hang_up()
        return response.status, response.headers, content

    def _read(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        raise_again(body, status, f"The server at {self.url}")
        answer: dict[str, Any] = body
        return answer

    def _hang_up(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _seconds(text: str | None, otherwise: float) -> float:
    return float(text) if text is not None and text.isdigit() else otherwise


class _InTime:
    """A socket with a deadline for the whole exchange, because the time-out of a socket begins anew with every byte."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.whole_by = 0.0

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(self._left())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: Any) -> int:
        self._sock.settimeout(self._left())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._sock.close()

    def _left(self) -> float:
        left = self.whole_by - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Reader(io.RawIOBase):
    def __init__(self, sock: _InTime) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sock.receive_into(buffer)
