"""A client on bare sockets, for requests that no library sends."""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

TOKEN = "marker-token-0123456789"


def dial(url: str) -> socket.socket:
    """Open a connection."""
    address = urlsplit(url)
    line = socket.create_connection((address.hostname, address.port), timeout=120)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


@contextlib.contextmanager
def dialled(url: str, number: int = 1) -> Iterator[list[socket.socket]]:
    """Open some connections, and close them at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(dial(url)) for _ in range(number)]


def head(method: str, path: str, *headers: str, token: str | None = TOKEN) -> bytes:
    """Write the headers of a request."""
    bearer = [] if token is None else [f"Authorization: Bearer {token}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *bearer, *headers, "", ""]).encode()


def post(path: str, body: Any, *headers: str) -> bytes:
    """Write a whole request."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head("POST", path, f"Content-Length: {len(content)}", *headers) + content


def answer(line: socket.socket) -> tuple[int, Any]:
    """Read one answer.

    Returns:
        Status and body, read as JSON where it is; ``(0, None)`` if the connection ended instead.
    """
    data = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in data and (more := line.recv(1)):
            data += more
    if b"\r\n\r\n" not in data:
        return 0, None
    lengths = [one for one in data.lower().split(b"\r\n") if one.startswith(b"content-length:")]
    left, body = int(lengths[0].partition(b":")[2]) if lengths else sys.maxsize, b""
    with contextlib.suppress(ConnectionError):
        while len(body) < left and (more := line.recv(min(left - len(body), 65536))):
            body += more
    with contextlib.suppress(ValueError):
        return int(data.split()[1]), json.loads(body)
    return int(data.split()[1]), body


def is_closed(line: socket.socket, within: float = 15.0) -> bool:
    """Wait for the other side to close the connection; what it still sends is dropped."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        line.settimeout(max(until - time.monotonic(), 0.001))
        try:
            if not line.recv(65536):
                return True
        except TimeoutError:
            return False
        except ConnectionError:
            return True
    return False


def is_open(line: socket.socket) -> bool:
    """Return True if the other side has not closed the connection by now."""
    return not is_closed(line, 0.05)
