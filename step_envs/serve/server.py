"""The server: where it listens, its token, and how it shuts down.

It ends within ten seconds of a signal whatever is going on. Requests that are not whole are dropped at once. Those under
way have ``_GRACE_SECONDS``; after that each is answered that the server is shutting down, and its thread, a daemon, is left
to itself. Then all environments are closed, as far as they can be in ``sessions._CLOSING_PATIENCE``. A second signal
changes nothing.
"""

import asyncio
import ipaddress
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from types import FrameType, TracebackType
from typing import Any, Self, TypedDict, Unpack

from step_envs.errors import missing_package
from step_envs.serve.limits import LARGEST_HEADER, Limits
from step_envs.serve.protocol import TOKEN_VARIABLE
from step_envs.serve.worlds import Worlds

SHORTEST_TOKEN = 16

_START_SECONDS = 30.0
_GRACE_SECONDS = 2
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 8
_FILES_OF_A_SESSION = 8
_OTHER_FILES = 128
_ENDING = (signal.SIGINT, signal.SIGTERM)


class FurtherLimits(TypedDict, total=False):
    """Arguments of ``EnvServer`` that it hands on to ``Limits``; see there for their meaning."""

    max_snapshot: int
    max_queue: int
    header_seconds: float
    body_seconds: float
    max_unauthenticated: int


class EnvServer:
    """Serves environments over HTTP, in this thread (``run``) or beside it (as a context manager).

    Args:
        env_ids: Ids to offer; None means the three of this package.
        options: What the environments are made with; clients cannot change it.
        host: Address to listen at. Anything but loopback lets others in, who need the token and can read it on the way,
            for the server itself does not encrypt.
        port: Port; 0 takes a free one.
        token: What clients must present; None takes ``STEP_ENVS_SERVE_TOKEN``, else makes one up.
        max_sessions: Most episodes at once.
        idle_seconds: Seconds without a request after which a session is closed.
        max_body: Most bytes of a request's body; see ``limits.Limits`` for this and the other limits.
        **limits: ``max_snapshot``, ``max_queue``, ``header_seconds``, ``body_seconds`` and ``max_unauthenticated``.

    Attributes:
        limits: All limits.
        url: Where the server is.
        token: The token.
        made_token: Whether the token was made up here.

    Raises:
        ValueError: An argument has an impossible value, or the address is taken.
        gymnasium.error.DependencyNotInstalled: The extra ``serve`` is missing.

    Example:
        >>> with EnvServer(["STeP-SciWorld-v0"]) as server:  # doctest: +SKIP
        ...     env = gym.make("STeP-Remote-v0", url=server.url, token=server.token, env="STeP-SciWorld-v0")
    """

    def __init__(
        self,
        env_ids: Sequence[str] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        max_sessions: int = 64,
        idle_seconds: float = 600.0,
        max_body: int = Limits.max_body,
        **limits: Unpack[FurtherLimits],
    ) -> None:
        for package in ("starlette", "uvicorn"):
            if find_spec(package) is None:
                raise missing_package(package, "Serving environments", "serve")
        self.limits = Limits(max_sessions, float(idle_seconds), max_body, **limits)
        given = token or os.environ.get(TOKEN_VARIABLE)
        self.made_token = not given
        self.token = given or secrets.token_urlsafe(32)
        if len(self.token) < SHORTEST_TOKEN or not (self.token.isascii() and self.token.isprintable()):
            raise ValueError(f"The token must be at least {SHORTEST_TOKEN} printable ASCII characters.")
        if " " in self.token:
            raise ValueError("The token must hold no space.")
        self.worlds = Worlds(env_ids, options)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ValueError(f"Cannot listen at {host}, port {port}: {error.strerror or error}.") from error
        # Accepted connections inherit it; asyncio only sets it where a socket names its protocol, and without it every
        # answer waits 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = host
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        self._server = self._make()
        self._thread: threading.Thread | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return self._host == "localhost"

    def run(self, ready: Callable[[], object] | None = None) -> None:
        """Serve until SIGINT or SIGTERM; then answer the requests under way and close all sessions.

        Args:
            ready: Called once a signal ends the server in good order, before it answers the first request.
        """
        main = threading.current_thread() is threading.main_thread()
        # uvicorn hears these signals only while it serves, and raises them again for whoever was there before it. One
        # that arrives before that must end it, too.
        before = {number: signal.signal(number, self._end) for number in _ENDING} if main else {}
        try:
            if ready is not None:
                ready()
            self._server.run(sockets=[self._socket])
        finally:
            self._app.close()
            for number, handler in before.items():
                signal.signal(number, handler)
            self._socket.close()

    def stop(self) -> None:
        """Make ``run`` return within ten seconds; may be called from any thread and from a signal handler, also before."""
        self._server.should_exit = True

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    def __enter__(self) -> Self:
        """Start serving in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="env-server", daemon=True)
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_SECONDS / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.01)
        if not self._server.started:
            raise RuntimeError("The server did not start.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving and close all sessions."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> Any:
        import uvicorn

        from step_envs.serve.admission import Admission, GuardedConnection
        from step_envs.serve.app import App
        from step_envs.serve.sessions import SessionTable

        limits = self.limits
        sessions = SessionTable(limits.max_sessions, limits.idle_seconds, limits.max_queue)
        self._app = app = App(self.worlds, sessions, self.token, limits)
        files = _OTHER_FILES + limits.max_connections + _FILES_OF_A_SESSION * limits.max_sessions
        strangers = min(limits.max_unauthenticated, max(16, _allow_files(files + limits.max_unauthenticated) - files))
        connection: Any = partial(GuardedConnection, admission=Admission(limits, strangers))

        class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is optional, and read as Any
            """Ends as this module says, and not as uvicorn does."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                # uvicorn would take the second one for impatience, skip half of what is to be done, and raise both again.
                self.should_exit = True

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                for one in sockets or ():
                    one.listen(_BACKLOG)

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                asyncio.get_running_loop().call_later(_GRACE_SECONDS, app.give_up)
                await super().shutdown(sockets)

        return Server(
            uvicorn.Config(
                app.asgi(),
                http=connection,
                loop="asyncio",
                ws="none",
                lifespan="on",
                # No line a request: addresses hold the names of sessions. And no warnings: anybody can cause them, so that
                # they could fill the disk of the host.
                access_log=False,
                log_level="error",
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                # asyncio accepts so many connections before it looks after anybody else; how many may wait to be accepted
                # is set in startup().
                backlog=_ACCEPTED_AT_ONCE,
                timeout_graceful_shutdown=_GRACE_SECONDS + 1,
                h11_max_incomplete_event_size=LARGEST_HEADER,
            )
        )


def _allow_files(wanted: int) -> int:
    """Let this process open as many files as are wanted, if the system permits; return how many it may open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    except (ValueError, OSError):  # macOS has a second, lower limit
        return soft
    return more
