"""Connections without the token, and requests that never become whole: they cost nobody else a place."""

import contextlib
import socket
import time
from collections.abc import Iterator

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from raw_http import TOKEN, answer, dial, dialled, head, is_closed, is_open, post

from step_envs.serve import EnvServer
from step_envs.testing import play

pytest.importorskip("uvicorn", reason="the server needs the extra serve")

PLACES = 64


@pytest.fixture(scope="module")
def server() -> Iterator[EnvServer]:
    limits = {"header_seconds": 0.5, "body_seconds": 0.5, "max_unauthenticated": PLACES}
    with EnvServer(["Coin-v0"], token=TOKEN, max_sessions=4, **limits) as server:  # type: ignore[arg-type]
        yield server


def client(server: EnvServer) -> gym.Env[str, str]:
    return gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Coin-v0", retries=0)


BEGINNINGS = {
    "nothing": b"",
    "half a request line": b"POST /v1/ses",
    "half a header": b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthor",
    "headers without an end": b"GET /health HTTP/1.1\r\nHost: x\r\n",
    "half a header with the token": head("GET", "/v1")[:-2],
    "blank lines": b"\r\n\r\n",
    "a request, then half of one": head("GET", "/health", token=None) + b"GET /heal",
    "a request of a client, then half of one": head("GET", "/v1") + b"GET /v1 HTTP/1.1\r\nHost:",
    "a body without the token": head("POST", "/v1/sessions", "Content-Length: 50", token=None) + b"{",
    "a body without an end": head("POST", "/v1/sessions", "Content-Length: 50") + b"{",
    "chunks without an end": head("POST", "/v1/sessions", "Transfer-Encoding: chunked") + b"5\r\n{    \r\n",
    "half a chunk": head("POST", "/v1/sessions", "Transfer-Encoding: chunked") + b"ffff\r\n{",
    "a body that is awaited": head("POST", "/v1/sessions", "Content-Length: 50", "Expect: 100-continue"),
    "a body too large": head("POST", "/v1/sessions", "Content-Length: 99999999") + b"{",
    "an upgrade": head("GET", "/v1", "Connection: Upgrade", "Upgrade: websocket", token=None),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an old protocol": b"GET /health\r\n",
}


def test_what_never_becomes_whole_is_closed(server: EnvServer) -> None:
    with dialled(server.url, len(BEGINNINGS)) as lines:
        for line, sent in zip(lines, BEGINNINGS.values(), strict=True):
            line.sendall(sent)
        still_open = [name for line, name in zip(lines, BEGINNINGS, strict=True) if not is_closed(line)]
        assert still_open == []


def test_a_byte_now_and_then_gains_no_time(server: EnvServer) -> None:
    beginnings = [
        b"GET /health HTTP/1.1\r\nX: ",
        head("POST", "/v1/sessions", "Content-Length: 100000"),
        head("POST", "/v1/sessions", "Content-Length: 100000", token=None),
    ]
    with dialled(server.url, len(beginnings)) as lines:
        for line, beginning in zip(lines, beginnings, strict=True):
            line.sendall(beginning)
        left = list(lines)
        while left:
            for line in left.copy():
                try:
                    line.sendall(b"x")
                except OSError:
                    left.remove(line)
            time.sleep(0.05)


def test_clients_play_while_strangers_hold_more_connections_than_there_are_places(server: EnvServer) -> None:
    home, actions = gym.make("Coin-v0"), ["look", "go right", "take coin", "go left"] * 3
    with dialled(server.url, 3 * PLACES) as strangers:
        for line in strangers[::2]:
            line.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        for seed in range(4):
            away = client(server)
            assert play(away, actions, seed=seed) == play(home, actions, seed=seed)
            away.close()
        with dialled(server.url) as [line]:
            line.sendall(head("GET", "/health", token=None))
            assert answer(line) == (200, {"ok": True})
        # The oldest made room for those that came later.
        assert all(is_closed(line) for line in strangers[: 2 * PLACES])
    assert is_open_again(server)


def is_open_again(server: EnvServer) -> bool:
    with dialled(server.url) as [line]:
        line.sendall(head("GET", "/health", token=None))
        return answer(line)[0] == 200


def test_a_client_stays_connected_between_requests_and_strangers_do_not_replace_it(server: EnvServer) -> None:
    with dialled(server.url) as [line]:
        line.sendall(head("GET", "/v1"))
        assert answer(line)[0] == 200
        with dialled(server.url, 2 * PLACES):
            time.sleep(1.2)  # more than twice the time for headers
            line.sendall(head("GET", "/v1"))
            assert answer(line)[0] == 200


def test_a_stranger_that_asks_and_asks_has_no_more_time_than_others(server: EnvServer) -> None:
    with dialled(server.url) as [line]:
        for _ in range(10_000):
            try:
                line.sendall(head("GET", "/v1", token="wrong-token-0123456789"))
            except OSError:
                break
            if answer(line)[0] == 0:
                break
        else:
            pytest.fail("the connection was never closed")


def test_idle_connections_of_clients_make_room_for_others() -> None:
    with EnvServer(["Coin-v0"], token=TOKEN, max_sessions=1) as server:
        places = server.limits.max_connections
        with dialled(server.url, places + 5) as lines:
            for line in lines:
                line.sendall(head("GET", "/v1"))
                assert answer(line)[0] == 200
            assert all(is_closed(line) for line in lines[:5])
            assert all(is_open(line) for line in lines[5:8])
            # Whoever was used last is closed last.
            lines[5].sendall(head("GET", "/v1"))
            assert answer(lines[5])[0] == 200
            with dialled(server.url) as [another]:
                another.sendall(head("GET", "/v1"))
                assert answer(another)[0] == 200
                assert is_closed(lines[6])
                assert is_open(lines[5])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("POST", "/v1/sessions", "Content-Length: -1"), 400),
        (head("POST", "/v1/sessions", "Content-Length: ten"), 400),
        (head("POST", "/v1/sessions", "Content-Length: " + "9" * 5000), 400),
        (head("POST", "/v1/sessions", "Content-Length: 999999999999"), 413),
        (head("POST", "/v1/sessions", "Content-Length: 5", "Content-Length: 6") + b"{}", 400),
        (post("/v1/sessions", {"env": "Coin-v0"}, "Transfer-Encoding: chunked"), 408),
        (head("GET", "/health", "X: " + "y" * 20_000), 400),
        (head("GET", "/health", *["X: " + "y" * 50] * 10_000), 400),
        (head("GET", "/" + "y" * 100_000), 400),
        (b"GET /health HTTP/1.1\r\n" + b"X" * 100_000, 400),
        (b"\x00" * 100_000, 400),
        (head("GET", "/health", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"), 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
    ],
)
def test_headers_that_are_wrong_or_too_large(sent: bytes, status: int, server: EnvServer) -> None:
    with dialled(server.url) as [line]:
        with contextlib.suppress(ConnectionError):  # it may be answered before all is sent
            line.sendall(sent)
        assert answer(line)[0] in (status, 0)
    assert is_open_again(server)


def test_requests_in_one_piece_are_answered_in_order(server: EnvServer) -> None:
    with dialled(server.url) as [line]:
        line.sendall(post("/v1/sessions", {"env": "X-v0"}) + head("GET", "/v1") + head("GET", "/v2") * 50)
        assert [answer(line)[0] for _ in range(52)] == [400, 200] + [404] * 50


def test_an_answer_that_nobody_reads_does_not_keep_the_server_from_ending() -> None:
    with EnvServer(["Coin-v0"], token=TOKEN) as server, dialled(server.url) as [line]:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(head("GET", "/v1") * 2000)
        dial(server.url).close()
