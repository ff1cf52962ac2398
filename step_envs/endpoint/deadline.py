"""Answers that are whole in time or not at all.

The time-out of an HTTP library begins anew with every byte, so that a server which trickles, headers or body, holds a
request for ever. Here a whole exchange, from connecting to the last byte, ends by a moment.
"""

import threading
import time
from importlib import import_module
from typing import Any


class Deadline:
    """The moment by which the exchange of a thread must be over."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def set(self, seconds: float) -> None:
        """Begin an exchange that may take so long."""
        self._of_thread.moment = time.monotonic() + seconds

    def left(self) -> float:
        """Give the seconds that are left to this thread's exchange; not above 0 where it is late."""
        moment: float = self._of_thread.moment
        return moment - time.monotonic()

    def within(self, timeout: float | None) -> float:
        """Shorten a time-out to what is left; never to 0, which would mean not to wait at all."""
        left = max(self.left(), 0.001)
        return left if timeout is None else min(left, timeout)

    def watch(self, client: Any) -> None:
        """Have all connections of a synchronous HTTP client keep the deadline, those through proxies, too.

        Args:
            client: A client of httpx, or of the library that took its place; nothing was asked yet.
        """
        for transport in (client._transport, *client._mounts.values()):
            if transport is not None:
                # There is no other way to its connections that leaves proxies from the environment in place.
                transport._pool._network_backend = _Backend(transport._pool._network_backend, self)


class _Backend:
    """Opens connections as the library's own backend does, and watches them."""

    def __init__(self, backend: Any, deadline: Deadline) -> None:
        self._backend, self._deadline = backend, deadline

    def connect_tcp(self, *arguments: Any, timeout: float | None = None, **further: Any) -> "_Stream":
        stream = self._backend.connect_tcp(*arguments, timeout=self._deadline.within(timeout), **further)
        return _Stream(stream, self._deadline)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream:
    """A connection that waits no longer than the deadline of the thread that uses it."""

    def __init__(self, stream: Any, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._in_time("ReadTimeout")
        data: bytes = self._stream.read(max_bytes, self._deadline.within(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._in_time("WriteTimeout")
        self._stream.write(buffer, self._deadline.within(timeout))

    def start_tls(self, *arguments: Any, timeout: float | None = None, **further: Any) -> "_Stream":
        stream = self._stream.start_tls(*arguments, timeout=self._deadline.within(timeout), **further)
        return _Stream(stream, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _in_time(self, error: str) -> None:
        if self._deadline.left() <= 0:
            library = import_module(type(self._stream).__module__.partition(".")[0])
            raise getattr(library, error)("The answer was not whole in time.")
