"""The server: who is let in, how much, how many, for how long, and what it says."""

import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gymnasium as gym
import own_world
import pytest

from step_envs.errors import DependencyNotInstalled, RemoteError, UnknownNameError
from step_envs.serve import EnvServer
from step_envs.serve import server as server_module
from step_envs.serve.sessions import SessionTable
from step_envs.spaces import MAX_TEXT_LENGTH

pytest.importorskip("uvicorn", reason="the server needs the extra serve")

TOKEN = "marker-token-0123456789"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
    "STEP_ENVS_SERVE_TOKEN": TOKEN,
}


@pytest.fixture(scope="module")
def server() -> Iterator[EnvServer]:
    with EnvServer(["Coin-v0"], token=TOKEN) as server:
        yield server


def ask(server: EnvServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Ask as any other language would."""
    line = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    line.request(method, path, content, {"Authorization": f"Bearer {TOKEN}"} | headers)
    answer = line.getresponse()
    told = json.loads(answer.read())
    line.close()
    return answer.status, told, answer.headers


def session(server: EnvServer, **wanted: Any) -> str:
    status, told, _ = ask(server, "POST", "/v1/sessions", {"env": "Coin-v0"} | wanted)
    assert status == 201, told
    return f"/v1/sessions/{told['session']}"


def test_an_episode_in_plain_http(server: EnvServer) -> None:
    path = session(server)
    home = gym.make("Coin-v0")
    _, told, _ = ask(server, "POST", f"{path}/reset", {"seed": 4})
    observation, info = home.reset(seed=4)
    assert told == {
        "call": 1,
        "observation": observation,
        "terminated": False,
        "truncated": False,
        "info": info,
    }
    _, told, _ = ask(server, "POST", f"{path}/step", {"action": "look"})
    observation, reward, _, _, info = home.step("look")
    assert (told["call"], told["observation"], told["reward"], told["info"]) == (2, observation, reward, info)
    assert ask(server, "GET", f"{path}/admissible")[1]["admissible_actions"] == list(
        home.unwrapped.admissible_actions()  # type: ignore[attr-defined]
    )
    question = {"question": "plan", "after": ["go right"]}
    plan = home.unwrapped.oracle.plan(after=["go right"])  # type: ignore[attr-defined]
    assert ask(server, "POST", f"{path}/oracle", question)[1] == {"answer": plan}
    assert ask(server, "DELETE", path)[:2] == (200, {"closed": True})
    status, told, _ = ask(server, "POST", f"{path}/step", {"action": "look"})
    assert (status, told["error"]["type"]) == (404, "SessionGone")


def test_a_limit_and_the_order_of_calls_hold_for_everybody(server: EnvServer) -> None:
    path = session(server, options={"max_steps": 1})
    status, told, _ = ask(server, "POST", f"{path}/step", {"action": "look"})
    assert (status, told["error"]["type"]) == (409, "ResetNeeded")
    ask(server, "POST", f"{path}/reset", {})
    assert ask(server, "POST", f"{path}/step", {"action": "look"})[1]["truncated"] is True
    status, told, _ = ask(server, "POST", f"{path}/step", {"action": "look"})
    assert (status, told["error"]["type"]) == (409, "ResetNeeded")


def test_a_repeated_call_is_answered_and_not_carried_out(server: EnvServer) -> None:
    path = session(server)
    ask(server, "POST", f"{path}/reset", {"call": 1, "options": {"task_id": "coin/study/hall"}})
    first = ask(server, "POST", f"{path}/step", {"call": 2, "action": "go right"})
    for _ in range(3):
        assert ask(server, "POST", f"{path}/step", {"call": 2, "action": "go right"})[:2] == first[:2]
    assert ask(server, "POST", f"{path}/step", {"call": 3, "action": "take coin"})[1]["info"]["steps"] == 2
    for body in ({"call": 3, "action": "look"}, {"call": 2, "action": "go right"}, {"call": 5, "action": "look"}):
        status, told, _ = ask(server, "POST", f"{path}/step", body)
        assert (status, told["error"]["type"]) == (409, "OutOfTurn")
        assert "does not follow call 3" in told["error"]["message"]
    status, wrong, _ = ask(server, "POST", f"{path}/reset", {"call": 4, "options": {"task_id": "x"}})
    assert (status, wrong["call"], wrong["error"]["type"]) == (400, 4, "UnknownNameError")
    assert ask(server, "POST", f"{path}/reset", {"call": 4, "options": {"task_id": "x"}})[1] == wrong


def test_one_call_sent_by_many_at_once_happens_once(server: EnvServer) -> None:
    path = session(server)
    ask(server, "POST", f"{path}/reset", {"call": 1, "seed": 0})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server, "POST", f"{path}/step", {"call": 2, "action": "look"}), range(8)))
    assert all(answer[:2] == answers[0][:2] for answer in answers)
    assert ask(server, "POST", f"{path}/step", {"call": 3, "action": "look"})[1]["info"]["steps"] == 2


def test_a_session_asked_for_twice_with_one_key_is_one(server: EnvServer) -> None:
    assert session(server, key="k1") == session(server, key="k1") != session(server, key="k2")


def test_the_scheme_of_the_token_may_be_written_in_any_case(server: EnvServer) -> None:
    assert ask(server, "GET", "/v1", Authorization=f"bearer {TOKEN}")[0] == 200


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong-token-0123456789", f"bearer{TOKEN}", "Bearer \xff"])
def test_without_the_token_nothing_is_told(given: str, server: EnvServer) -> None:
    for method, path in (("GET", "/v1"), ("POST", "/v1/sessions"), ("DELETE", "/v1/sessions/x")):
        status, told, _ = ask(server, method, path, Authorization=given)
        assert (status, told["error"]["type"]) == (401, "Unauthorized")
        assert TOKEN not in json.dumps(told)
    assert ask(server, "GET", "/health", Authorization=given)[:2] == (200, {"ok": True})


def test_a_client_with_a_wrong_token_is_told_so_and_no_token_is_quoted(server: EnvServer) -> None:
    with pytest.raises(RemoteError, match="says: The token is missing or wrong") as error:
        gym.make("STeP-Remote-v0", url=server.url, token="another-marker-token", env="Coin-v0")
    assert "marker" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is not JSON."),
        (b"{", "The body is not JSON."),
        (b"\xff", "The body is not JSON."),
        (b"[" * 100_000, "The body is not JSON."),
        (b"[]", "The body is not right: Input should be"),
        ({"env": "Coin-v0", "colour": 1}, "The body is not right: Extra inputs are not permitted (at colour)."),
        ({"env": 3}, "The body is not right: Input should be a valid string (at env)."),
        ({"env": "X-v0"}, "Unknown environment of this server 'X-v0'."),
    ],
)
def test_a_wrong_body_is_one_sentence(body: Any, sentence: str, server: EnvServer) -> None:
    status, told, _ = ask(server, "POST", "/v1/sessions", body)
    assert (status, list(told)) == (400, ["error"])
    assert told["error"]["message"].startswith(sentence)


def test_addresses_that_are_not_there(server: EnvServer) -> None:
    assert ask(server, "GET", "/v2")[:2] == (
        404,
        {"error": {"type": "NotFound", "message": "There is no such address here."}},
    )
    assert ask(server, "PUT", "/v1/sessions")[0] == 405


def test_the_longest_action_passes_and_a_larger_body_does_not(server: EnvServer) -> None:
    away = gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Coin-v0")
    home = gym.make("Coin-v0")
    away.reset(seed=1), home.reset(seed=1)
    for action in ("a" * MAX_TEXT_LENGTH, "🧪" * MAX_TEXT_LENGTH):
        assert away.step(action) == home.step(action)
    away.close()
    # The client does not send so long an action; a program of one's own may.
    status, told, _ = ask(server, "POST", f"{session(server)}/step", {"action": "🧪" * 2 * MAX_TEXT_LENGTH})
    assert status == 413
    assert told["error"]["message"] == "The body is larger than the 131072 bytes that are taken here."
    assert session(server)


def test_more_sessions_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with EnvServer(["Coin-v0"], token=TOKEN, max_sessions=2) as server:
        paths = [session(server), session(server)]
        status, told, headers = ask(server, "POST", "/v1/sessions", {"env": "Coin-v0"})
        assert (status, told["error"]["type"], headers["retry-after"]) == (503, "Busy", "1")
        with pytest.raises(RemoteError, match="All 2 sessions are taken: close one, wait until one expires"):
            gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Coin-v0", retries=0)
        ask(server, "DELETE", paths[0])
        gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Coin-v0", retries=0).close()
        assert ask(server, "GET", "/v1")[1]["sessions"] == 1


def test_an_idle_session_expires_and_the_next_reset_begins_in_a_new_one() -> None:
    with EnvServer(["Coin-v0"], token=TOKEN, idle_seconds=0.4) as server:
        path = session(server)
        away = gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env="Coin-v0")
        away.reset(seed=1)
        for _ in range(4):
            time.sleep(0.2)
            away.step("look")
        time.sleep(0.8)
        assert ask(server, "GET", "/v1")[1]["sessions"] == 0
        status, told, _ = ask(server, "GET", f"{path}/admissible")
        assert (status, told["error"]["type"]) == (410, "SessionGone")
        with pytest.raises(RemoteError, match=r"The session has expired: nothing was asked of it for 0\.4 s"):
            away.step("look")
        with pytest.raises(RemoteError, match=r"is lost: call reset\(\) to begin in a new one"):
            away.step("look")
        assert away.reset(seed=1) == gym.make("Coin-v0").reset(seed=1)
        away.close()


def test_a_world_that_cannot_be_closed_keeps_no_other_from_being_closed(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    class World:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            if self.name == "bad":
                raise RuntimeError("stuck")
            closed.append(self.name)

    for end in (SessionTable.sweep, SessionTable.close):
        sessions = SessionTable(3, 60.0)
        for name in ("bad", "good"):
            sessions.open(None, lambda name=name: World(name)).result()  # type: ignore[misc, return-value]
        sessions.idle_seconds = 0.001
        time.sleep(0.01)
        end(sessions)
        assert len(sessions) == 0
    assert closed == ["good", "good"]
    assert "An environment could not be closed." in caplog.text


def test_wrong_arguments_are_named() -> None:
    for arguments, error, sentence in [
        ({"token": "short"}, ValueError, "The token must be at least 16 printable ASCII characters"),
        ({"token": "with a space 0123456789"}, ValueError, "must hold no space"),
        ({"max_sessions": 0}, ValueError, "must be more than 0"),
        ({"env_ids": ["Coin-v7"]}, UnknownNameError, "Unknown environment 'Coin-v7'"),
        ({"env_ids": ["STeP-SciWorld-v0"], "options": {"jva": "x"}}, UnknownNameError, "Did you mean 'java'"),
        ({"host": "203.0.113.1"}, ValueError, "Cannot listen at 203.0.113.1, port 0"),
    ]:
        with pytest.raises(error, match=sentence):
            EnvServer(**{"token": TOKEN} | arguments)  # type: ignore[arg-type]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "find_spec", lambda name: None)
    with pytest.raises(DependencyNotInstalled, match=r'run `pip install "step-envs\[serve\]"`'):
        EnvServer()


def test_a_fault_of_the_world_is_logged_and_told_without_detail(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with EnvServer(["Coin-v0"], token=TOKEN) as server:
        path = session(server)
        ask(server, "POST", f"{path}/reset", {"call": 1})
        monkeypatch.setattr(own_world, "carry_out", lambda state, action: 1 / 0)
        with caplog.at_level(logging.ERROR, "step_envs.serve"):
            for _ in range(2):
                status, told, _ = ask(server, "POST", f"{path}/step", {"call": 2, "action": "look"})
                assert (status, told["error"]["type"]) == (500, "InternalError")
        assert "ZeroDivisionError" in caplog.text
        assert TOKEN not in caplog.text


# The command.


def start(*options: str) -> tuple["subprocess.Popen[str]", dict[str, Any]]:
    command = [sys.executable, "-m", "step_envs.cli", "serve", "--env", "own_world:Coin-v0", "--json", *options]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    process, told = start("--port", "0")
    assert (told["token"], told["environments"]) == (TOKEN, ["Coin-v0"])
    away = gym.make("STeP-Remote-v0", url=told["url"], token=TOKEN, env="Coin-v0")
    assert away.reset(seed=2) == gym.make("Coin-v0").reset(seed=2)
    process.send_signal(number)
    _, complained = process.communicate(timeout=300)
    assert (process.returncode, complained) == (0, "")


@pytest.mark.slow
def test_a_killed_server_and_its_successor() -> None:
    process, told = start("--port", "0")
    away = gym.make("STeP-Remote-v0", url=told["url"], token=TOKEN, env="Coin-v0", retries=1)
    away.reset(seed=2)
    process.kill()
    process.communicate()
    with pytest.raises(
        RemoteError, match=r"^The server at http://127\.0\.0\.1:\d+ cannot be reached \(.*\), after 2 a"
    ):
        away.step("look")
    process, _ = start("--port", str(urlsplit(told["url"]).port))
    try:
        with pytest.raises(RemoteError, match=r"is lost: call reset\(\) to begin in a new one"):
            away.step("look")
        assert away.reset(seed=2) == gym.make("Coin-v0").reset(seed=2)
        away.close()
    finally:
        process.kill()
        process.communicate()


def test_the_command_warns_of_other_machines_and_shows_a_token_it_made_up() -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "STEP_ENVS_SERVE_TOKEN"}
    command = [sys.executable, "-m", "step_envs.cli", "serve", "--port", "0", "--host", "0.0.0.0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "at http://0.0.0.0:" in process.stdout.readline()
    made = process.stdout.readline()
    assert made.startswith("Token, made up for this run: export STEP_ENVS_SERVE_TOKEN=")
    assert len(made.partition("=")[2].strip()) >= 43
    process.terminate()
    _, complained = process.communicate(timeout=300)
    assert process.returncode == 0
    assert complained.startswith("0.0.0.0 can be reached from other machines, and nothing is encrypted")


def test_a_signal_that_comes_before_the_first_request_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_ENVS_SERVE_TOKEN", TOKEN)
    for number in (signal.SIGTERM, signal.SIGINT):
        before, server = signal.getsignal(number), EnvServer(["STeP-ALFWorld-v0"])
        server.run(ready=lambda number=number: signal.raise_signal(number))  # returns
        assert signal.getsignal(number) is before


def test_an_address_that_is_taken_is_one_sentence(server: EnvServer) -> None:
    port = str(urlsplit(server.url).port)
    command = [sys.executable, "-m", "step_envs.cli", "serve", "--port", port]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Cannot listen at 127.0.0.1, port {port}: Address already in use")
