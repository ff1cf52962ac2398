"""Limits who may hold a connection to the server open, and for how long.

Whoever can reach the port can open a thousand connections and send nothing, or half a header, or a byte now and then. If
all connections count alike, nobody else gets in. So a connection is a stranger's until a request on it has shown the token:

- Strangers have a few seconds in all, from their arrival, whatever they send or ask, and a number of places of their own.
  One more, and the oldest of them is closed: whoever comes to send a request sends it at once.
- A client's connection may stay open, but a request that has begun must be whole in time, and so must what it still has to
  send after an answer that came early (a body that is too large). When clients have all their places in use, the connection
  that has been idle longest is closed; a client opens another when it needs one.

uvicorn has no such limits: its ``limit_concurrency`` counts strangers, and its only time limit begins after the first
answer. Hypercorn's time limit begins anew with each byte; granian has one for headers, but not the places, and runs
processes of its own, where sessions do not fit. Both would leave half of this to be written, so it is uvicorn with the
class below. A reverse proxy in front would need the same from its configuration, and not everybody has one.
"""

import asyncio
import itertools
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from step_envs.serve.limits import LARGEST_HEADER, Limits

_UNREAD_ANSWER_SECONDS = 60.0
_CLOSING_SECONDS, _CLOSING_PAUSE = 5.0, 0.01


class Admission:
    """The connections of a server: those of strangers and those of clients.

    Args:
        limits: How many, and how long.
        max_unauthenticated: In place of the number in ``limits``, where the system gives fewer files.
    """

    def __init__(self, limits: Limits, max_unauthenticated: int) -> None:
        self.header_seconds = limits.header_seconds
        self._max_strangers, self._max_clients = max_unauthenticated, limits.max_connections
        # Both in order: strangers by arrival, with its time, clients by their last request.
        self._strangers: dict[GuardedConnection, float] = {}
        self._clients: dict[GuardedConnection, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def arrive(self, connection: "GuardedConnection") -> None:
        """Take in a new connection, in the place of the oldest stranger's if there is none left."""
        if len(self._strangers) >= self._max_strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.drop()
        self._strangers[connection] = connection.loop.time()
        if self._timer is None:
            self._timer = connection.loop.call_later(self.header_seconds, self._close_overdue, connection.loop)

    def admit(self, connection: "GuardedConnection") -> bool:
        """Make a connection a client's; False if all of theirs are at work."""
        if connection not in self._clients and len(self._clients) >= self._max_clients:
            idle = next((one for one in self._clients if one.idle), None)
            if idle is None:
                return False
            del self._clients[idle]
            idle.drop()
        self._strangers.pop(connection, None)
        self._clients.pop(connection, None)
        self._clients[connection] = None
        return True

    def leave(self, connection: "GuardedConnection") -> None:
        """Forget a connection that is closed."""
        self._strangers.pop(connection, None)
        self._clients.pop(connection, None)

    def _close_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the strangers whose time is over, a few at a time: a thousand may have come at once, and clients wait."""
        overdue = loop.time() - self.header_seconds
        some = 1 + int(len(self._strangers) * _CLOSING_PAUSE / _CLOSING_SECONDS)
        for connection, arrival in list(itertools.islice(self._strangers.items(), some)):
            if arrival > overdue:
                break
            del self._strangers[connection]
            connection.drop()
        first = next(iter(self._strangers.values()), None)
        wait = None if first is None else max(first - overdue, _CLOSING_PAUSE)
        self._timer = None if wait is None else loop.call_later(wait, self._close_overdue, loop)


class GuardedConnection(H11Protocol):  # type: ignore[misc]  # uvicorn is optional, and read as Any
    """One connection, closed when the other side takes too long.

    The application finds it as ``connection`` in the state of a request.

    Args:
        admission: The connections it is one of.
        app_state: The state that the application's lifespan made.
        **uvicorn: What uvicorn gives to its protocols.
    """

    def __init__(self, *, admission: Admission, app_state: dict[str, Any], **uvicorn: Any) -> None:
        super().__init__(app_state={**app_state, "connection": self}, **uvicorn)
        self._admission = admission
        self._admitted = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def admit(self) -> bool:
        """Say that a request on this connection has shown the token.

        Returns:
            False if there is no place for another client.
        """
        self._admitted = self._admission.admit(self)
        if self._admitted:
            self._watch()
        return self._admitted

    def drop(self) -> None:
        """Close the connection; what the other side has not read by now is lost."""
        self._forget_timers()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    # What asyncio and uvicorn call.

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Give the other side its seconds."""
        super().connection_made(transport)
        self._admission.arrive(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another one."""
        self._forget_timers()
        self._admission.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse a header that is too large even if it came in one piece; limit the time of one that came in part."""
        if self.transport.is_closing():
            return
        begins = self.idle and self.conn.our_state is h11.IDLE
        if begins and len(data) > LARGEST_HEADER and data.find(b"\r\n\r\n", 0, LARGEST_HEADER) < 0:
            self.send_400_response(f"The header is larger than the {LARGEST_HEADER} bytes that are taken here.")
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Give the other side its seconds for what it still has to send."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Give the other side a minute to read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(_UNREAD_ANSWER_SECONDS, self.drop)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def shutdown(self) -> None:
        """End the connection with the request that is being carried out, and at once if the request is not even whole."""
        if self.transport.is_closing():
            return
        if not self.idle and self.cycle.more_body:
            self.drop()
        else:
            super().shutdown()

    # Within.

    def _watch(self) -> None:
        """Start or stop the time limit of a client's connection; that of a stranger's is kept by ``Admission``."""
        if not self._admitted or self.transport.is_closing():
            return
        if self.idle and self._owes_something():
            if self._deadline is None:
                self._deadline = self.loop.call_later(self._admission.header_seconds, self.drop)
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _owes_something(self) -> bool:
        """Whether a header has begun, or a request was answered before all of it came."""
        begun: bytes = self.conn.trailing_data[0]
        return bool(begun) or self.conn.their_state is h11.SEND_BODY

    def _forget_timers(self) -> None:
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._deadline = self._unread = None
