"""Serves the page that follows runs, to one machine: with Python's own web server, which is enough for a few readers.

A run may hold what nobody else should read, and on a shared machine every user reaches every port. So the address has a
secret part, as that of a notebook has, and everything else is not found.
"""

import gzip
import secrets
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from step_envs.errors import StoreError
from step_envs.viewer.page import following_page
from step_envs.viewer.watch_index import WatchIndex

_SMALL = 2000
"""Bytes up to which an answer is not compressed."""


class WatchServer(ThreadingHTTPServer):
    """Serves a page that shows runs and follows them.

    Args:
        runs: Run folders or trajectory files, which need not be there yet.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Raises:
        ValueError: The same run is named twice, or the address cannot be used.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, runs: Sequence[Path], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.index = WatchIndex(runs)
        self.page = following_page(self.index.names)
        self.secret = secrets.token_urlsafe(12)
        self._host = host
        if ":" in host:
            self.address_family = AF_INET6
        try:
            super().__init__((host, port), _Answers)
        except OSError as error:
            why = error.strerror or str(error)
            raise ValueError(
                f"Cannot listen on {host} port {port}: {why}. Name another one with --port, or none to get a free one."
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.server_address[1]}/{self.secret}/"

    @override
    def server_bind(self) -> None:
        # The stock one looks up the name of the machine, which takes seconds where no name server answers.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self._host, self.server_address[1]

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a reader who closed the page in the middle of an answer is no fault."""


class _Answers(BaseHTTPRequestHandler):
    server: WatchServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        _, secret, name = (*address.path.split("/", 2), "", "")[:3]
        if not secrets.compare_digest(secret.encode(), self.server.secret.encode()):
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"Open the whole address that step-envs has printed.\n")
        elif not name:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self._send_data(name, {key: values[0] for key, values in parse_qs(address.query).items()})

    def _send_data(self, name: str, asked: dict[str, str]) -> None:
        index, answer = self.server.index, None
        try:
            if name == "news":
                answer = index.news(int(asked.get("generation", "0")), max(0, int(asked.get("from", "0"))))
            elif name.startswith("chunk-"):
                answer = index.chunk(int(name.removeprefix("chunk-")))
        except (ValueError, IndexError, StoreError) as error:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", str(error).encode())
            return
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is no such page.\n")
        else:
            self._send(HTTPStatus.OK, "application/json", answer.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        if len(body) > _SMALL and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=2)
            self.send_header("Content-Encoding", "gzip")
        for key, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: a page that asks every other second would fill the terminal."""


def serve_until(server: WatchServer, stopped: Callable[[], bool], *, every: float = 0.2) -> None:
    """Serve until a function says that it is enough.

    Args:
        server: The server; it is closed at the end.
        stopped: Asked every ``every`` seconds.
        every: Seconds.
    """
    server.timeout = every
    try:
        while not stopped():
            server.handle_request()
    finally:
        server.server_close()
