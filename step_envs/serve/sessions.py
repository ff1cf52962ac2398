"""The sessions of a server: one environment each, limited in number, and closed when they have been idle too long.

What changes an episode (reset, step, restore) is numbered within its session. A call that comes again with its number and
the same content gets the stored answer, so that a client that lost an answer can ask again without a step happening twice.

Each session has a thread and a queue of its own (see ``call_queue``), and nothing here waits for an engine. A session that
was ended while a call hangs keeps its place until the call returns: otherwise clients could pile up hung engines.
"""

import hashlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from step_envs.core import TextEnv
from step_envs.serve.call_queue import CallQueue
from step_envs.serve.limits import ACTION_COST, EPISODE_TEXT, Limits
from step_envs.serve.protocol import RefusedError, describe_error, dump

_REMEMBERED = 1000
_SWEEP_PATIENCE = 1.0
_CLOSING_PATIENCE = 1.0

_log = logging.getLogger("step_envs.serve")

HttpAnswer = tuple[int, bytes]
"""HTTP status and body."""


class EnvSession:
    """One environment and its last answer, which is sent again if a client repeats its call.

    Args:
        name: What the session is known by; a secret of its client's.
        key: What the client asked for it with.
        room: Most calls that wait while another one is carried out.
    """

    def __init__(self, name: str, key: str | None, room: int) -> None:
        self.name, self.key = name, key
        self.env: TextEnv | None = None
        self.queue = CallQueue("this session", room)
        self.last_used = time.monotonic()
        self._calls = 0
        self._text = 0
        self._last = ("", b"")
        self._answer: HttpAnswer = (500, b"")

    def world(self) -> TextEnv:
        """Return the environment; only for calls of this session's queue."""
        if self.env is None:
            raise RefusedError(404, "SessionGone", "This session is closed: open a new one.")
        return self.env

    def change(self, what: str, call: int | None, content: str, do: Callable[[TextEnv], dict[str, Any]]) -> HttpAnswer:
        """Carry out a numbered call, or return its stored answer; only for calls of this session's queue.

        Args:
            what: ``reset``, ``step`` or ``restore``.
            call: Its number, from 1; None takes the next.
            content: What tells it from another call of the same number.
            do: Does it.

        Raises:
            RefusedError: The number is neither the last one with the same content nor the next.
        """
        world = self.world()
        # A digest, for the content may be long and is kept until the next call.
        this = (what, hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest())
        if call is not None and call == self._calls and self._last == this:
            return self._answer
        if call is not None and call != self._calls + 1:
            raise RefusedError(
                409,
                "OutOfTurn",
                f"Call {call} does not follow call {self._calls}, the last one of this session, "
                f"and does not repeat it: number calls from 1, and repeat the last one only as it was.",
            )
        self._calls += 1
        self._last = this
        # An error is an answer, too: asked again, the same one comes and nothing is tried again.
        self._answer = (500, dump({"error": {"type": "InternalError", "message": "The call did not end."}}))
        try:
            self._spend(what, content)
            self._answer = (200, dump({"call": self._calls, **do(world)}))
        except Exception as error:
            told = describe_error(error)
            if told is None:
                raise
            self._answer = (told[0], dump({"call": self._calls, **told[1]}))
        return self._answer

    def _spend(self, what: str, content: str) -> None:
        """Count the text of an episode: some worlds keep all actions, and an episode here need not have a step limit."""
        self._text = (self._text if what == "step" else 0) + len(content) + ACTION_COST
        if what == "step" and self._text > EPISODE_TEXT:
            raise RefusedError(
                413,
                "TooLarge",
                f"The actions of this episode have more than {EPISODE_TEXT:,} characters together, the most that are kept "
                f"here (each counts {ACTION_COST} more than it has): call reset to begin another episode.",
            )

    def close(self) -> None:
        """Close the environment; only for the last call of this session's queue."""
        env, self.env = self.env, None
        if env is not None:
            try:
                env.close()
            except Exception:
                # It is gone all the same.
                _log.exception("An environment could not be closed.")


class SessionTable:
    """All sessions of a server.

    Args:
        limit: Most sessions at once.
        idle_seconds: Seconds without a request after which a session is closed.
        room: Most calls of a session that wait while another one is carried out.
    """

    def __init__(self, limit: int, idle_seconds: float, room: int = Limits.max_queue) -> None:
        self.limit, self.idle_seconds, self._room = limit, idle_seconds, room
        self._sessions: dict[str, EnvSession] = {}
        self._by_key: dict[str, EnvSession] = {}
        self._closing: dict[EnvSession, Future[None]] = {}
        self._expired: deque[str] = deque(maxlen=_REMEMBERED)
        self._closed = False
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Count the sessions, also those whose last call still runs."""
        with self._lock:
            return len(self._sessions) + len(self._closing)

    def open(self, key: str | None, make: Callable[[], TextEnv]) -> "Future[str]":
        """Open a session; a key that was used before means the session opened with it.

        Returns:
            Its name, once the environment is made; or what making it raised.

        Raises:
            RefusedError: There are as many as there may be.
        """
        with self._lock:
            self._expire()
            session = None if key is None else self._by_key.get(key)
            if session is not None:
                return session.queue.submit(lambda: self._name_of(session))
            if self._closed:
                raise RefusedError(503, "Busy", "The server is shutting down.", retry_after=5)
            if len(self) >= self.limit:
                raise RefusedError(
                    503,
                    "Busy",
                    f"All {self.limit} sessions are taken: close one, wait until one expires "
                    f"({self.idle_seconds:g} s without a request), or start the server with more (--max-sessions).",
                    retry_after=1,
                )
            fresh = EnvSession(secrets.token_urlsafe(16), key, self._room)
            self._sessions[fresh.name] = fresh
            if key is not None:
                self._by_key[key] = fresh
            return fresh.queue.submit(lambda: self._make(fresh, make))

    def use(self, name: str, do: Callable[[EnvSession], HttpAnswer]) -> "Future[HttpAnswer]":
        """Run a function on a session, after all that was asked of it before.

        Raises:
            RefusedError: There is no such session, or no longer, or too many calls wait for it.
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
            return session.queue.submit(lambda: self._use(session, do))

    def end(self, name: str) -> "Future[None]":
        """Close a session after all that was asked of it before; one that is not there is closed already."""
        with self._lock:
            session = self._sessions.get(name)
            if session is not None:
                return self._end(session)
        nothing: Future[None] = Future()
        nothing.set_result(None)
        return nothing

    def sweep(self) -> None:
        """Close the sessions that have been idle too long."""
        with self._lock:
            closing = self._expire()
        wait(closing, _SWEEP_PATIENCE)

    def give_up(self, error: Exception) -> None:
        """Answer all that is asked of any session with an error, and carry out nothing that still waits."""
        with self._lock:
            sessions = [*self._sessions.values(), *self._closing]
        for session in sessions:
            session.queue.give_up(error)

    def close(self) -> None:
        """Open no more sessions and close all; one whose call hangs is left to itself."""
        with self._lock:
            self._closed = True
            for session in list(self._sessions.values()):
                self._end(session)
            closing = list(self._closing.values())
        wait(closing, _CLOSING_PATIENCE)

    def _make(self, session: EnvSession, make: Callable[[], TextEnv]) -> str:
        try:
            session.env = make()
        except BaseException:
            with self._lock:
                self._end(session)
            raise
        session.last_used = time.monotonic()
        return session.name

    @staticmethod
    def _name_of(session: EnvSession) -> str:
        session.world()
        return session.name

    def _use(self, session: EnvSession, do: Callable[[EnvSession], HttpAnswer]) -> HttpAnswer:
        try:
            return do(session)
        finally:
            session.last_used = time.monotonic()

    def _expire(self) -> "list[Future[None]]":
        now = time.monotonic()
        idle = [
            session
            for session in self._sessions.values()
            if not session.queue.busy and now - session.last_used > self.idle_seconds
        ]
        self._expired.extend(session.name for session in idle)
        return [self._end(session) for session in idle]

    def _end(self, session: EnvSession) -> "Future[None]":
        """Take a session from the table and close it in its own thread; the caller holds the lock."""
        self._sessions.pop(session.name, None)
        if session.key is not None and self._by_key.get(session.key) is session:
            self._by_key.pop(session.key)
        if session not in self._closing:
            self._closing[session] = session.queue.submit(lambda: self._close(session), last=True)
        return self._closing[session]

    def _close(self, session: EnvSession) -> None:
        try:
            session.close()
        finally:
            with self._lock:
                self._closing.pop(session, None)
