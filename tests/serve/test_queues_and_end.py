"""A call that hangs: it keeps its own session waiting and nobody else, and does not keep the server from ending."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import stuck_world
from children import suspend
from raw_http import TOKEN, answer, dial, dialled, head, is_closed, post

from step_envs.serve import EnvServer
from step_envs.serve import server as server_module
from step_envs.serve import sessions as sessions_module

pytest.importorskip("uvicorn", reason="the server needs the extra serve")

ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
    "STEP_ENVS_SERVE_TOKEN": TOKEN,
}
SECONDS_TO_END = 10


@pytest.fixture
def server() -> Iterator[EnvServer]:
    stuck_world.RELEASE.clear()
    with EnvServer(["Stuck-v0"], token=TOKEN, max_sessions=4) as server:
        yield server
        stuck_world.RELEASE.set()


def begun(url: str) -> str:
    """Open a session and begin an episode."""
    with dialled(url) as [line]:
        line.sendall(post("/v1/sessions", {"env": "Stuck-v0"}))
        _, told = answer(line)
        path = f"/v1/sessions/{told['session']}"
        line.sendall(post(f"{path}/reset", {"call": 1, "seed": 0}))
        assert answer(line)[0] == 200
    return path


def hang(url: str, path: str) -> socket.socket:
    """Begin a call that does not return."""
    line = dial(url)
    line.sendall(post(f"{path}/step", {"call": 2, "action": "hang"}))
    return line


def test_requests_to_a_slow_session_wait_in_its_own_short_queue(server: EnvServer) -> None:
    slow = begun(server.url)
    first = hang(server.url, slow)
    assert stuck_world.STUCK.acquire(timeout=20)
    with first, dialled(server.url, 90) as lines:
        for line in lines:
            line.sendall(post(f"{slow}/step", {"call": 3, "action": "look"}))
        # The queue has 16 places; who is refused is told at once.
        answered: list[socket.socket] = []
        while len(answered) < 90 - 16:
            answered, _, _ = select.select(lines, [], [], 20)
        waiting = [line for line in lines if line not in answered]
        refused = [answer(line) for line in answered]
        assert {status for status, _ in refused} == {429}
        assert refused[0][1]["error"] == {
            "type": "Busy",
            "message": "16 requests wait for this session already, the most there may be: "
            "send one at a time and wait for its answer.",
        }
        # Meanwhile others open sessions and play.
        away = gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Stuck-v0", retries=0)
        away.reset(seed=1)
        for _ in range(15):
            away.step("look")
        away.close()
        stuck_world.RELEASE.set()
        # All of them sent the same numbered call: it was carried out once.
        answers = [answer(line) for line in waiting]
        assert answers == answers[:1] * 16
        assert (answers[0][0], answers[0][1]["info"]["steps"]) == (200, 2)
        assert answer(first)[1]["info"]["steps"] == 1


def test_a_refusal_says_when_to_come_back_and_the_client_does(server: EnvServer) -> None:
    away = gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Stuck-v0")
    away.reset(seed=0)
    path = f"/v1/sessions/{away.unwrapped._session}"  # type: ignore[attr-defined]
    with hang_without_number(server.url, path), dialled(server.url, 16) as lines:
        for line in lines:
            line.sendall(head("GET", f"{path}/admissible"))
        with dialled(server.url) as [line]:
            while True:
                line.sendall(head("GET", f"{path}/admissible"))
                data = line.recv(4096)
                if data.startswith(b"HTTP/1.1 429"):
                    break
            assert b"retry-after: 1" in data
        threading.Timer(0.3, stuck_world.RELEASE.set).start()
        assert away.unwrapped.admissible_actions()  # type: ignore[attr-defined]
    away.close()


def hang_without_number(url: str, path: str) -> socket.socket:
    line = dial(url)
    line.sendall(post(f"{path}/step", {"action": "hang"}))
    assert stuck_world.STUCK.acquire(timeout=20)
    return line


def test_a_session_that_hangs_can_be_ended_and_keeps_its_place_until_the_call_returns(server: EnvServer) -> None:
    paths = [begun(server.url) for _ in range(4)]
    lines = [hang(server.url, path) for path in paths]
    for _ in lines:
        assert stuck_world.STUCK.acquire(timeout=20)
    with dialled(server.url) as [line]:
        line.sendall(head("DELETE", paths[0]))
        assert answer(line) == (200, {"closed": True})
        line.sendall(head("GET", f"{paths[0]}/admissible"))
        assert answer(line)[0] == 404
        line.sendall(post("/v1/sessions", {"env": "Stuck-v0"}))
        assert answer(line)[0] == 503
        line.sendall(head("GET", "/health"))
        assert answer(line)[0] == 200
        stuck_world.RELEASE.set()
        assert all(answer(one)[0] == 200 for one in lines)
        until = time.monotonic() + 20
        while True:
            line.sendall(post("/v1/sessions", {"env": "Stuck-v0"}))
            if answer(line)[0] == 201 or time.monotonic() > until:
                break
            time.sleep(0.02)
        assert time.monotonic() < until
    for one in lines:
        one.close()


def test_a_server_in_this_process_ends_with_a_call_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_GRACE_SECONDS", 0.3)
    monkeypatch.setattr(sessions_module, "_CLOSING_PATIENCE", 0.3)
    stuck_world.RELEASE.clear()
    with EnvServer(["Stuck-v0"], token=TOKEN) as server:
        path = begun(server.url)
        lines = [hang(server.url, path) for _ in range(3)]
        assert stuck_world.STUCK.acquire(timeout=20)
    for line in lines:
        assert answer(line) == (503, {"error": {"type": "Busy", "message": "The server is shutting down."}})
        assert is_closed(line)
        line.close()
    stuck_world.RELEASE.set()


# The command.


def start(env: str = "stuck_world:Stuck-v0") -> tuple["subprocess.Popen[str]", dict[str, Any]]:
    command = [sys.executable, "-m", "step_envs.cli", "serve", "--env", env, "--json", "--port", "0"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGTERM], pytest.param([signal.SIGINT, signal.SIGINT, signal.SIGTERM], marks=pytest.mark.slow)],
)
def test_the_command_ends_whatever_is_going_on(numbers: list[signal.Signals]) -> None:
    process, told = start()
    url = told["url"]
    paths = [begun(url) for _ in range(3)]
    calls = [hang(url, path) for path in paths for _ in range(10)]
    idle = [dial(url) for _ in range(50)]
    for line, sent in zip(
        idle,
        [b"GET /health HT", head("POST", "/v1/sessions", "Content-Length: 50") + b"{", head("GET", "/v1")] * 10,
        strict=False,
    ):
        line.sendall(sent)
    time.sleep(0.3)  # so that the calls are under way
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2 * (len(numbers) > 1))
    try:
        _, complained = process.communicate(timeout=SECONDS_TO_END)
    finally:
        process.kill()
    assert (process.returncode, complained) == (0, "")
    assert {answer(line)[0] for line in calls} == {503}
    for line in calls + idle:
        line.close()


@pytest.mark.slow
def test_the_command_ends_while_the_engine_of_scienceworld_does_not_answer() -> None:
    process, told = start("STeP-SciWorld-v0")
    with dialled(told["url"]) as [line]:
        line.sendall(post("/v1/sessions", {"env": "STeP-SciWorld-v0"}))
        path = f"/v1/sessions/{answer(line)[1]['session']}"
        line.sendall(post(f"{path}/reset", {"seed": 0}))
        assert answer(line)[0] == 200
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
        java = int(listed.stdout.split()[0])
        suspend(java)
        try:
            line.sendall(post(f"{path}/step", {"action": "look around"}))
            time.sleep(0.5)
            process.terminate()
            _, complained = process.communicate(timeout=SECONDS_TO_END)
            assert (process.returncode, complained) == (0, "")
            assert answer(line)[0] == 503
        finally:
            process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(java, signal.SIGKILL)
