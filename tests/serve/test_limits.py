"""What a client may ask for: bodies, options, episodes and sessions of bounded size, and nothing on the host's disk."""

import json
import logging
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import TOKEN, answer, dialled, head, post

from step_envs.serve import EnvServer
from step_envs.serve.limits import EPISODE_TEXT
from step_envs.serve.worlds import Worlds

pytest.importorskip("uvicorn", reason="the server needs the extra serve")


@pytest.fixture(scope="module")
def server() -> Iterator[EnvServer]:
    with EnvServer(["Coin-v0", "STeP-WebShop-v0", "STeP-ALFWorld-v0"], token=TOKEN) as server:
        yield server


def ask(server: EnvServer, path: str, body: Any) -> tuple[int, Any]:
    with dialled(server.url) as [line]:
        line.sendall(post(path, body))
        return answer(line)


def opened(server: EnvServer, env: str = "Coin-v0", **options: Any) -> str:
    status, told = ask(server, "/v1/sessions", {"env": env, "options": options})
    assert status == 201, told
    return f"/v1/sessions/{told['session']}"


def refusal(server: EnvServer, path: str, body: Any) -> tuple[int, str]:
    status, told = ask(server, path, body)
    return status, told["error"]["message"]


SNAPSHOT = {"schema": "step-snapshot/1", "env_id": "Coin-v0", "task_id": "coin/attic/hall", "steps": 0, "world": {}}
STATE = {"observation": "", "score": 0.0, "success": False, "done": False, "valid_action": True}


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("step", {"action": "a" * 200_000}, 413, "The body is larger than the 131072 bytes that are taken here."),
        ("reset", b"[" * 1_000_000, 413, "The body is larger than the 131072 bytes that are taken here."),
        ("restore", {"snapshot": "a" * 2**21}, 413, "The body is larger than the 1048576 bytes that are taken here."),
        (
            "restore",
            b'{"snapshot": "", "more": [' + b"[]," * 100_000 + b"0]}",
            413,
            "The JSON text has more than the 32,768 values that are taken here.",
        ),
        (
            "restore",
            {"snapshot": json.dumps(SNAPSHOT | {"state": STATE | {"details": {"x": [[]] * 40_000}}})},
            413,
            "The JSON text has more than the 32,768 values that are taken here.",
        ),
        (
            "restore",
            {"snapshot": json.dumps(SNAPSHOT)[:-1] + ', "state": ' + '{"x": [' * 400 + "]}" * 400 + "}"},
            400,
            "Lists and objects are nested more deeply than the 32 levels that are taken here.",
        ),
        (
            "oracle",
            {"question": "plan", "snapshot": "[" * 40 + "]" * 40},
            400,
            "Lists and objects are nested more deeply than the 32 levels that are taken here.",
        ),
        (
            "reset",
            b'{"options": ' + b'{"a": ' * 40 + b"1" + b"}" * 41,
            400,
            "Lists and objects are nested more deeply than the 32 levels that are taken here.",
        ),
        (
            "oracle",
            {"question": "plan", "after": ["look"] * 1001},
            400,
            "The body is not right: List should have at most 1000 items after validation, not 1001 (at after).",
        ),
        ("step", b'{"action": ' + b"9" * 5000 + b"}", 400, "The body is not JSON."),
    ],
)
def test_bodies_that_are_too_much(path: str, body: Any, status: int, sentence: str, server: EnvServer) -> None:
    session = opened(server)
    assert ask(server, f"{session}/reset", {"seed": 0})[0] == 200
    assert refusal(server, f"{session}/{path}", body) == (status, sentence)
    assert ask(server, f"{session}/reset", {"seed": 0})[0] == 200


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["", "/x/reset", "/x/step", "/x/restore", "/x/oracle"]),
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["env", "options", "action", "call"]), inner),
    ),
)
def test_any_body_has_an_answer_in_one_sentence(path: str, body: Any, server: EnvServer) -> None:
    status, told = ask(server, f"/v1/sessions{path}", body)
    assert (status, list(told)) in ((400, ["error"]), (404, ["error"]))
    assert told["error"]["message"].endswith((".", "?"))


def test_the_most_that_is_taken_is_told(server: EnvServer) -> None:
    with dialled(server.url) as [line]:
        line.sendall(head("GET", "/v1"))
        told = answer(line)[1]
    assert (told["max_body"], told["max_snapshot"], told["max_queue"]) == (131_072, 1_048_576, 16)


# Options.


@pytest.mark.parametrize(
    ("env", "option"),
    [
        ("STeP-WebShop-v0", {"catalogue_seed": 7}),
        ("STeP-WebShop-v0", {"size": 100_000}),
        ("STeP-WebShop-v0", {"data_path": "/etc"}),
        ("STeP-WebShop-v0", {"backend": "http"}),
        ("STeP-ALFWorld-v0", {"backend": "textworld"}),
        ("STeP-ALFWorld-v0", {"render_mode": "human"}),
        ("Coin-v0", {"render_mode": "ansi"}),
    ],
)
@pytest.mark.parametrize("path", ["sessions", "worlds", "tasks"])
def test_what_costs_the_host_is_the_hosts_to_set(path: str, env: str, option: Any, server: EnvServer) -> None:
    [name] = option
    assert refusal(server, f"/v1/{path}", {"env": env, "options": option}) == (
        400,
        f"The option {name!r} is the server's to set, not a client's: leave it out, or start the server with "
        f"--env-option {name}=VALUE.",
    )


@pytest.mark.parametrize("name", ["num_prev_obs", "num_prev_actions"])
def test_how_much_is_shown_again_has_an_end(name: str, server: EnvServer) -> None:
    opened(server, "STeP-WebShop-v0", **{name: 20})
    assert refusal(server, "/v1/sessions", {"env": "STeP-WebShop-v0", "options": {name: 10**12}}) == (
        400,
        f"The option {name!r} is at most 20 for a client: take a smaller number, or start the server with "
        f"--env-option {name}=NUMBER.",
    )


def test_the_host_may_set_what_a_client_may_not() -> None:
    worlds = Worlds(["STeP-WebShop-v0"], {"catalogue_seed": 3, "size": 50, "num_prev_obs": 1000})
    env = worlds.make("STeP-WebShop-v0", {"split": "test"})
    home = gym.make("STeP-WebShop-v0", split="test", catalogue_seed=3, size=50).unwrapped
    assert env.provenance() == home.provenance()  # type: ignore[attr-defined]


def test_clients_write_nothing_to_the_disk_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))

    def files() -> dict[Path, int]:
        return {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}

    with EnvServer(["STeP-WebShop-v0", "STeP-ALFWorld-v0"], token=TOKEN) as server:
        for env in server.worlds.ids:
            opened(server, env)
        before = files()
        for seed in range(40):
            for option in ({"catalogue_seed": seed}, {"size": 1000 + seed}, {"render_mode": "human"}):
                for env in server.worlds.ids:
                    ask(server, "/v1/sessions", {"env": env, "options": option})
        for env in server.worlds.ids:
            session = opened(server, env)
            for seed in range(5):
                assert ask(server, f"{session}/reset", {"seed": seed})[0] == 200
                assert ask(server, f"{session}/step", {"action": "look"})[0] == 200
                assert ask(server, f"{session}/oracle", {"question": "plan"})[0] == 200
        assert files() == before
        for sent in (b"\x00\r\n\r\n", head("GET", "/v1", "Connection: upgrade", "Upgrade: websocket")):
            with dialled(server.url) as [line]:
                line.sendall(sent)
                answer(line)
    assert capfd.readouterr() == ("", "")


def test_a_fault_is_logged_a_few_times_and_then_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, server: EnvServer
) -> None:
    session = opened(server)
    ask(server, f"{session}/reset", {})
    monkeypatch.setattr(own_world, "carry_out", lambda state, action: 1 / 0)
    with caplog.at_level(logging.ERROR, "step_envs.serve"), dialled(server.url) as [line]:
        for _ in range(120):
            line.sendall(post(f"{session}/step", {"action": "a" * 4000}))
            assert answer(line)[0] == 500
    assert len(caplog.records) == 7
    assert [record.getMessage() for record in caplog.records[5:]] == [
        f"{count} requests failed with ZeroDivisionError at test_limits.py, line {caplog.records[5].args[3]}."  # type: ignore[index]
        for count in (10, 100)
    ]


# Episodes.


def test_the_text_of_an_episode_has_an_end_and_the_next_one_begins_anew(server: EnvServer) -> None:
    session, action = opened(server, max_steps=None), "🧪" * 4096
    ask(server, f"{session}/reset", {"call": 1, "seed": 0})
    with dialled(server.url) as [line]:
        for call in range(2, 400):
            line.sendall(post(f"{session}/step", {"call": call, "action": action}))
            status, told = answer(line)
            if status != 200:
                break
        # The refusal is an answer like others: it repeats, and the next call follows it.
        line.sendall(post(f"{session}/step", {"call": call, "action": action}))
        assert answer(line) == (status, told)
    assert (status, call - 1) == (413, EPISODE_TEXT // (4096 + 64) + 1)
    assert told["error"]["message"] == (
        "The actions of this episode have more than 1,048,576 characters together, the most that are kept here "
        "(each counts 64 more than it has): call reset to begin another episode."
    )
    assert ask(server, f"{session}/reset", {"call": call + 1, "seed": 0})[0] == 200
    assert ask(server, f"{session}/step", {"call": call + 2, "action": action})[0] == 200


def test_the_shop_keeps_only_what_it_shows_again() -> None:
    env = gym.make("STeP-WebShop-v0", observation_mode="html", num_prev_obs=2, num_prev_actions=1, max_steps=None)
    env.reset(seed=0)
    texts = [env.step(f"search[mug {number}]")[0] for number in range(10)]
    tracemalloc.start()
    try:
        for number in range(100):
            env.step(f"search[mug {number % 10}]")
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # An observation shows three pages, of which two are kept for the next one; all together they would be a hundred.
    assert grown < 25 * len(texts[-1]) / 3
