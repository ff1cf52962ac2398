"""Time limits for whole answers of a blocking HTTP client.

The time-out of an HTTP client begins anew with every byte that arrives, so that a server which sends a byte now and then,
of the headers or of the body, holds the caller for ever. Here an exchange, from connecting to the last byte, ends at a
moment that is set when it begins: every wait of its connection is cut to the time that is left.

The client's connections can only be reached through private attributes. The public ways were measured and left: an
asyncio client on a background thread, with ``asyncio.timeout`` around each request, takes twice the processor time for
each call with 64 of them in flight, and a transport of our own would have to repeat the client's handling of proxies.
"""

import time
from importlib import import_module
from typing import Any


class Deadline:
    """The moment at which the running exchange of a client must be over."""

    def __init__(self) -> None:
        self._moment = 0.0

    def begin(self, seconds: float) -> None:
        """Begin an exchange that may take so many seconds."""
        self._moment = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left to the exchange; not above 0 where its time is over."""
        return self._moment - time.monotonic()

    def shorten(self, timeout: float | None) -> float:
        """Shorten a time-out to what is left; never to 0, which would mean not to wait at all."""
        left = max(self.remaining(), 0.001)
        return left if timeout is None else min(left, timeout)

    def apply_to(self, client: Any) -> None:
        """Make all connections of a client keep the deadline, those through proxies included.

        Args:
            client: A blocking client of httpx, or of the library that took its place; it has sent nothing yet.

        Raises:
            AttributeError: The client is of a version whose connections are not where they were.
        """
        for transport in (client._transport, *client._mounts.values()):
            if transport is not None:
                pool = transport._pool
                pool._network_backend = _LimitedBackend(pool._network_backend, self)


class _LimitedBackend:
    """Opens connections as the client's own backend does, and limits their waits."""

    def __init__(self, backend: Any, deadline: Deadline) -> None:
        self._backend, self._deadline = backend, deadline

    def connect_tcp(self, *arguments: Any, timeout: float | None = None, **further: Any) -> "_LimitedStream":
        stream = self._backend.connect_tcp(*arguments, timeout=self._deadline.shorten(timeout), **further)
        return _LimitedStream(stream, self._deadline)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _LimitedStream:
    """A connection that waits no longer than the deadline of its client."""

    def __init__(self, stream: Any, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._require_time("ReadTimeout")
        data: bytes = self._stream.read(max_bytes, self._deadline.shorten(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._require_time("WriteTimeout")
        self._stream.write(buffer, self._deadline.shorten(timeout))

    def start_tls(self, *arguments: Any, timeout: float | None = None, **further: Any) -> "_LimitedStream":
        stream = self._stream.start_tls(*arguments, timeout=self._deadline.shorten(timeout), **further)
        return _LimitedStream(stream, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _require_time(self, error: str) -> None:
        if self._deadline.remaining() <= 0:
            # The error of the library that the connection belongs to: the client takes it as a reason to try again.
            library = import_module(type(self._stream).__module__.partition(".")[0])
            raise getattr(library, error)("The answer was not whole in time.")
