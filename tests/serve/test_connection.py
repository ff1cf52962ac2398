"""The client's line: faults between it and the server neither lose nor double a step, and nothing waits for ever."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

from step_envs.errors import RemoteError
from step_envs.serve import EnvServer
from step_envs.serve.connection import Connection
from step_envs.testing import play

pytest.importorskip("uvicorn", reason="the server needs the extra serve")

TOKEN = "marker-token-0123456789"
ACTIONS = ["look", "go right", "take coin", "go left", "go left", "put coin in box", "look", "go right"] * 2


@contextmanager
def listener(talk: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """Accept connections one by one; ``talk`` gets each, and its number."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.1)
        over = threading.Event()

        def run() -> None:
            number = 0
            while not over.is_set():
                with suppress(TimeoutError):
                    visitor, _ = door.accept()
                    with visitor, suppress(OSError):
                        visitor.settimeout(5)
                        talk(visitor, number)
                    number += 1

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        over.set()
        thread.join()


def request_of(visitor: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += visitor.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while missing > 0:
        more = visitor.recv(65536)
        data, missing = data + more, missing - len(more)
    return data


@pytest.mark.parametrize("keep", [0, 20, 150])
def test_answers_that_are_lost_on_the_way_neither_lose_nor_double_a_step(keep: int) -> None:
    with EnvServer(["Coin-v0"], token=TOKEN) as server:
        address = urlsplit(server.url)

        def relay(visitor: socket.socket, number: int) -> None:
            # The request arrives and is carried out; of every other answer only the first bytes come back.
            request = request_of(visitor).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            with socket.create_connection((address.hostname, address.port)) as onward:
                onward.sendall(request)
                answer = b"".join(iter(lambda: onward.recv(65536), b""))
            visitor.sendall(answer if number % 2 else answer[:keep])

        with listener(relay) as url:
            away = gym.make("STeP-Remote-v0", url=url, token=TOKEN, env="Coin-v0")
            home = gym.make("Coin-v0")
            for seed in (1, 2):
                assert play(away, ACTIONS, seed=seed) == play(home, ACTIONS, seed=seed)
            assert away.unwrapped.snapshot() == home.unwrapped.snapshot()  # type: ignore[attr-defined]
            away.close()


@pytest.mark.timeout(300)
def test_a_server_that_trickles_its_headers_is_given_up() -> None:
    """Each byte comes well within the timeout and the headers never end, so that only a limit on the whole answer helps."""

    def trickle(visitor: socket.socket, number: int) -> None:
        request_of(visitor)
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\n", itertools.cycle(b"X: y\r\n")):
            visitor.sendall(bytes([byte]))
            time.sleep(0.05)

    refused = pytest.raises(RemoteError, match=r"cannot be reached \(no whole answer in time\), after 1 attempts")
    with listener(trickle) as url, refused:
        Connection(url, TOKEN, timeout=0.5, retries=0).call("GET", "/v1")


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html/>", b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}"],
)
def test_another_server_is_found_out(answer: bytes) -> None:
    def talk(visitor: socket.socket, number: int) -> None:
        request_of(visitor)
        visitor.sendall(answer)

    with listener(talk) as url, pytest.raises(RemoteError, match="does not answer like a server of step-envs"):
        Connection(url, TOKEN, retries=0).call("GET", "/v1")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"url": "127.0.0.1:8765"}, "url must look like http://127.0.0.1:8765."),
        ({"url": "http://me:secret@host"}, "url must hold no user name"),
        ({"token": "two\nlines"}, "The token holds a character that no token has"),
        ({"token": ""}, "No token: set STEP_ENVS_SERVE_TOKEN"),
        ({"timeout": 0}, "timeout must be more than 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEP_ENVS_SERVE_TOKEN", raising=False)
    with pytest.raises(ValueError, match=sentence):
        Connection(**{"url": "http://127.0.0.1:1", "token": TOKEN} | arguments)
