"""The server: where it listens, its token, its limits, and how it shuts down."""

import ipaddress
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from types import FrameType, TracebackType
from typing import Any, Self

from step_envs.errors import missing_package
from step_envs.serve.protocol import TOKEN_VARIABLE
from step_envs.serve.worlds import Worlds

LARGEST_BODY = 16 * 2**20
"""Bytes; the longest action that ``TextSpace`` holds fits into it however JSON writes it."""
SHORTEST_TOKEN = 16

_START_SECONDS = 30.0
_STOP_SECONDS = 10
_ENDING = (signal.SIGINT, signal.SIGTERM)


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
        max_body: Most bytes of a request's body.

    Attributes:
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
        max_body: int = LARGEST_BODY,
    ) -> None:
        for package in ("starlette", "uvicorn"):
            if find_spec(package) is None:
                raise missing_package(package, "Serving environments", "serve")
        if max_sessions < 1 or not idle_seconds > 0 or max_body < 1:
            raise ValueError(
                "max_sessions, idle_seconds and max_body must be more than 0, "
                f"got {max_sessions}, {idle_seconds}, {max_body}."
            )
        given = token or os.environ.get(TOKEN_VARIABLE)
        self.made_token = not given
        self.token = given or secrets.token_urlsafe(32)
        if len(self.token) < SHORTEST_TOKEN or not (self.token.isascii() and self.token.isprintable()):
            raise ValueError(f"The token must be at least {SHORTEST_TOKEN} printable ASCII characters.")
        if " " in self.token:
            raise ValueError("The token must hold no space.")
        self.worlds = Worlds(env_ids, options)
        self._limits = (max_sessions, float(idle_seconds), max_body)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=1024)
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
            for number, handler in before.items():
                signal.signal(number, handler)
            self._socket.close()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._server.should_exit = True

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
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> Any:
        import uvicorn

        from step_envs.serve.app import App
        from step_envs.serve.sessions import SessionTable

        max_sessions, idle_seconds, max_body = self._limits
        app = App(self.worlds, SessionTable(max_sessions, idle_seconds), self.token, max_body)
        config = uvicorn.Config(
            app.asgi(),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="on",
            # No line a request: addresses hold the names of sessions.
            access_log=False,
            log_level="warning",
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_STOP_SECONDS,
            limit_concurrency=4 * max_sessions + 64,
        )
        return uvicorn.Server(config)
