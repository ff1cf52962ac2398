"""The sessions of a server: one environment each, limited in number, and closed when they have been idle too long.

What changes an episode (reset, step, restore) is numbered within its session. A call that comes again with its number and
the same content gets the stored answer, so that a client that lost an answer can ask again without a step happening twice.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from step_envs.core import TextEnv
from step_envs.serve.protocol import RefusedError, describe_error, dump

_REMEMBERED = 1000
_CLOSING_PATIENCE = 5.0

_log = logging.getLogger("step_envs.serve")

HttpAnswer = tuple[int, bytes]
"""HTTP status and body."""


class EnvSession:
    """One environment and its last answer, which is sent again if a client repeats its call.

    Args:
        name: What the session is known by; a secret of its client's.
        key: What the client asked for it with.
    """

    def __init__(self, name: str, key: str | None) -> None:
        self.name, self.key = name, key
        self.env: TextEnv | None = None
        self.lock = threading.Lock()
        self.waiting = 0
        self.last_used = time.monotonic()
        self._calls = 0
        self._last: tuple[str, Any] | None = None
        self._answer: HttpAnswer = (500, b"")

    def world(self) -> TextEnv:
        """Return the environment; the caller holds the lock."""
        if self.env is None:
            raise RefusedError(404, "SessionGone", "This session is closed: open a new one.")
        return self.env

    def change(self, what: str, call: int | None, content: Any, do: Callable[[TextEnv], dict[str, Any]]) -> HttpAnswer:
        """Carry out a numbered call, or return its stored answer; the caller holds the lock.

        Args:
            what: ``reset``, ``step`` or ``restore``.
            call: Its number, from 1; None takes the next.
            content: What tells it from another call of the same number.
            do: Does it.

        Raises:
            RefusedError: The number is neither the last one with the same content nor the next.
        """
        world = self.world()
        if call is not None and call == self._calls and self._last == (what, content):
            return self._answer
        if call is not None and call != self._calls + 1:
            raise RefusedError(
                409,
                "OutOfTurn",
                f"Call {call} does not follow call {self._calls}, the last one of this session, "
                f"and does not repeat it: number calls from 1, and repeat the last one only as it was.",
            )
        self._calls += 1
        self._last = (what, content)
        # An error is an answer, too: asked again, the same one comes and nothing is tried again.
        self._answer = (500, dump({"error": {"type": "InternalError", "message": "The call did not end."}}))
        try:
            self._answer = (200, dump({"call": self._calls, **do(world)}))
        except Exception as error:
            told = describe_error(error)
            if told is None:
                raise
            self._answer = (told[0], dump({"call": self._calls, **told[1]}))
        return self._answer

    def close(self, patience: float = -1) -> None:
        """Close the environment, after the call under way if it ends within ``patience`` seconds (-1: whenever)."""
        if self.lock.acquire(timeout=patience):
            try:
                env, self.env = self.env, None
                if env is not None:
                    env.close()
            except Exception:
                # It is gone all the same, and whoever closes several must come to the others.
                _log.exception("An environment could not be closed.")
            finally:
                self.lock.release()


class SessionTable:
    """All sessions of a server.

    Args:
        limit: Most sessions at once.
        idle_seconds: Seconds without a request after which a session is closed.
    """

    def __init__(self, limit: int, idle_seconds: float) -> None:
        self.limit, self.idle_seconds = limit, idle_seconds
        self._sessions: dict[str, EnvSession] = {}
        self._by_key: dict[str, EnvSession] = {}
        self._expired: deque[str] = deque(maxlen=_REMEMBERED)
        self._closed = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, key: str | None, make: Callable[[], TextEnv]) -> str:
        """Open a session and return its name; a key that was used before returns the session opened with it.

        Raises:
            RefusedError: There are as many as there may be.
            Exception: What making the environment raised.
        """
        self.sweep()
        with self._lock:
            session = None if key is None else self._by_key.get(key)
            fresh = session is None
            if session is None:
                if self._closed:
                    raise RefusedError(503, "Busy", "The server is shutting down.", retry_after=5)
                if len(self._sessions) >= self.limit:
                    raise RefusedError(
                        503,
                        "Busy",
                        f"All {self.limit} sessions are taken: close one, wait until one expires "
                        f"({self.idle_seconds:g} s without a request), or start the server with more (--max-sessions).",
                        retry_after=1,
                    )
                session = EnvSession(secrets.token_urlsafe(16), key)
                # Held from the beginning, so that nobody finds the session before its environment is made.
                session.lock.acquire()
                self._sessions[session.name] = session
                if key is not None:
                    self._by_key[key] = session
        if fresh:
            try:
                session.env = make()
            except BaseException:
                self._forget(session)
                raise
            finally:
                session.last_used = time.monotonic()
                session.lock.release()
        else:
            with session.lock:
                session.world()
        return session.name

    def use(self, name: str, do: Callable[[EnvSession], HttpAnswer]) -> HttpAnswer:
        """Run a function on a session while no other request uses it.

        Raises:
            RefusedError: There is no such session, or no longer.
        """
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                if name in self._expired:
                    raise RefusedError(
                        410,
                        "SessionGone",
                        f"The session has expired: nothing was asked of it for {self.idle_seconds:g} s. "
                        "Open a new one.",
                    )
                raise RefusedError(404, "SessionGone", "There is no such session; it may be closed. Open a new one.")
            session.waiting += 1
        try:
            with session.lock:
                return do(session)
        finally:
            with self._lock:
                session.waiting -= 1
                session.last_used = time.monotonic()

    def end(self, name: str) -> None:
        """Close a session; one that is not there is closed already."""
        with self._lock:
            session = self._sessions.get(name)
        if session is not None:
            self._forget(session)
            session.close()

    def sweep(self) -> None:
        """Close the sessions that have been idle too long."""
        now = time.monotonic()
        with self._lock:
            idle = [
                session
                for session in self._sessions.values()
                if not session.waiting and not session.lock.locked() and now - session.last_used > self.idle_seconds
            ]
            self._expired.extend(session.name for session in idle)
        for session in idle:
            self._forget(session)
            session.close()

    def close(self) -> None:
        """Close all sessions and open no more."""
        with self._lock:
            self._closed = True
            remaining = list(self._sessions.values())
        for session in remaining:
            self._forget(session)
            session.close(_CLOSING_PATIENCE)

    def _forget(self, session: EnvSession) -> None:
        with self._lock:
            self._sessions.pop(session.name, None)
            if session.key is not None:
                self._by_key.pop(session.key, None)
