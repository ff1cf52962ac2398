"""A served environment is the environment: the contract, the bytes, the oracle, whole collections."""

import copy
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

import step_envs
from step_envs.agents import NoviceAgent, rollout
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.errors import RemoteError, SnapshotError, UnknownNameError
from step_envs.serve import EnvServer
from step_envs.testing import check_text_env, play, script
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

pytest.importorskip("uvicorn", reason="the server needs the extra serve")

TOKEN = "marker-token-0123456789"
WORLDS: dict[str, dict[str, Any]] = {
    "Coin-v0": {},
    "STeP-ALFWorld-v0": {"source": "generated"},
    "STeP-WebShop-v0": {},
    "STeP-SciWorld-v0": {"task_types": ["lifespan-longest-lived"], "max_ticks": 12},
}


@pytest.fixture(scope="module")
def server() -> Iterator[EnvServer]:
    # Held, for else Java starts anew whenever the last environment was closed.
    held = gym.make("STeP-SciWorld-v0")
    with EnvServer(list(WORLDS), token=TOKEN) as server:
        yield server
    held.close()


def remote(server: EnvServer, env: str = "Coin-v0", **options: Any) -> gym.Env[str, str]:
    return gym.make("STeP-Remote-v0", url=server.url, token=TOKEN, env=env, **options)


LONG = pytest.mark.slow
"""For worlds that take seconds in a test: ``make test`` leaves them to ``make test-slow``."""


@pytest.mark.parametrize(
    "env", ["Coin-v0", pytest.param("STeP-ALFWorld-v0", marks=LONG), pytest.param("STeP-WebShop-v0", marks=LONG)]
)
def test_the_conformance_kit(env: str, server: EnvServer) -> None:
    check_text_env("STeP-Remote-v0", url=server.url, token=TOKEN, env=env, **WORLDS[env])


@pytest.mark.slow
def test_the_conformance_kit_on_scienceworld(server: EnvServer) -> None:
    options: dict[str, Any] = {"env": "STeP-SciWorld-v0", "task_types": ["lifespan-longest-lived"]}
    # Resets are what costs here; that the bytes are the same, the tests below show.
    check_text_env("STeP-Remote-v0", url=server.url, token=TOKEN, num_envs=2, steps=3, oracle_tasks=0, **options)


@pytest.mark.parametrize("env", [pytest.param(env, marks=LONG) if env == "STeP-SciWorld-v0" else env for env in WORLDS])
@pytest.mark.parametrize("admissible", [False, True])
def test_the_same_bytes_as_at_home(env: str, admissible: bool, server: EnvServer) -> None:
    options = WORLDS[env] | {"admissible_actions": admissible}
    home, away = gym.make(env, **options), remote(server, env, **options)
    try:
        home.reset(seed=5)
        actions = script(home.unwrapped, 6)  # type: ignore[arg-type]
        for seed in (5, 6):
            here, there = play(home, actions, seed=seed), play(away, actions, seed=seed)
            assert json.dumps(here) == json.dumps(there)
            assert here == there
        assert home.unwrapped.snapshot() == away.unwrapped.snapshot()  # type: ignore[attr-defined]
        assert home.unwrapped.provenance() == away.unwrapped.provenance()  # type: ignore[attr-defined]
        assert home.unwrapped.env_id == away.unwrapped.env_id == env  # type: ignore[attr-defined]
    finally:
        home.close()
        away.close()


@pytest.mark.parametrize("env", [pytest.param(env, marks=LONG) if env == "STeP-SciWorld-v0" else env for env in WORLDS])
def test_the_same_trajectory_as_at_home(env: str, server: EnvServer) -> None:
    def watched(world: gym.Env[str, str]) -> Any:
        chat = TeacherMonitorWrapper(ReActWrapper(world), OracleTeacher(), max_errors=3)
        try:
            return rollout(chat, NoviceAgent(error_rate=0.4), seed=9, episode=0)
        finally:
            chat.close()

    here, there = watched(gym.make(env, **WORLDS[env])), watched(remote(server, env, **WORLDS[env]))
    assert TOKEN not in there.to_json()
    assert there.protocol["env"] == {"url": server.url, "env": env, **WORLDS[env]}
    leave_out = {"usage": True, "protocol": {"env"}, "turns": {"__all__": {"verdict": {"usage"}}}}
    assert there.model_dump(exclude=leave_out) == here.model_dump(exclude=leave_out)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("env", "move", "verb"),
    [
        ("STeP-ALFWorld-v0", "go to desk 1", "go"),
        ("STeP-WebShop-v0", "click[back to search]", "click"),
        ("STeP-SciWorld-v0", "teleport to kitchen", "teleport"),
    ],
)
def test_moves_and_verbs_are_known_as_at_home(env: str, move: str, verb: str, server: EnvServer) -> None:
    away = remote(server, env).unwrapped
    assert away.is_move(move)  # type: ignore[attr-defined]
    assert not away.is_move("look around")  # type: ignore[attr-defined]
    assert away.verb_of(move) == verb  # type: ignore[attr-defined]
    away.close()


def test_snapshots_travel_between_home_and_away(server: EnvServer) -> None:
    home, away = gym.make("Coin-v0").unwrapped, remote(server).unwrapped
    home.reset(seed=1)
    home.step("look")
    saved = home.snapshot()  # type: ignore[attr-defined]
    assert away.restore(saved)[1]["steps"] == 1  # type: ignore[attr-defined]
    assert away.snapshot() == saved  # type: ignore[attr-defined]
    assert away.step("go right") == home.step("go right")
    assert home.restore(away.snapshot()) == away.restore(home.snapshot())  # type: ignore[attr-defined]
    garbled = json.loads(saved)
    garbled["world"] = {"room": 0}
    with pytest.raises(SnapshotError, match="the fields are room and coin"):
        away.restore(json.dumps(garbled).encode())  # type: ignore[attr-defined]
    away.close()


def test_tasks_are_listed_and_wrong_names_named_as_at_home(server: EnvServer) -> None:
    line = {"url": server.url, "token": TOKEN, "env": "Coin-v0"}
    for split in (None, "test"):
        assert step_envs.list_tasks("STeP-Remote-v0", split, **line) == step_envs.list_tasks("Coin-v0", split)
    for options, sentence in [
        ({"split": "tset"}, "Unknown split 'tset'. Did you mean 'test'?"),
        ({"task_types": ["nera"]}, "Unknown task type 'nera'. Did you mean 'near'?"),
        ({"env": "Coin-v1"}, "Unknown environment of this server 'Coin-v1'. Did you mean 'Coin-v0'?"),
        ({"env": "STeP-SciWorld-v0", "simplificatio": ""}, "Did you mean 'simplification' or"),
        ({"env": "STeP-SciWorld-v0", "simplification": "nope"}, "Unknown simplification 'nope'."),
    ]:
        with pytest.raises(UnknownNameError) as error:
            gym.make("STeP-Remote-v0", **line | options)
        assert sentence in str(error.value)
    with pytest.raises(
        UnknownNameError, match=r"Unknown option of Coin-v0 'colour'\. Known: admissible_actions, brief, max_steps"
    ):
        gym.make("STeP-Remote-v0", **line, colour="red")
    with pytest.raises(ValueError, match=r"^STeP-Remote-v0 needs url and env: where the server is and what to play"):
        step_envs.list_tasks("STeP-Remote-v0")


@pytest.mark.parametrize(
    ("env", "option"),
    [
        ("STeP-SciWorld-v0", {"java": "/bin/sh"}),
        ("STeP-ALFWorld-v0", {"data_path": "/etc"}),
        ("STeP-WebShop-v0", {"site_url": "http://10.0.0.1"}),
    ],
)
def test_what_is_the_servers_to_set_is_refused(env: str, option: dict[str, Any], server: EnvServer) -> None:
    with pytest.raises(RemoteError, match="is the server's to set"):
        remote(server, env, **option)


def test_eight_sessions_at_once_do_not_mix(server: EnvServer) -> None:
    def one(seed: int) -> tuple[list[Any], list[Any]]:
        away, home = remote(server), gym.make("Coin-v0")
        actions = ["look", "go right", "take coin", "go left", "take coin", "put coin in box"] * 3
        try:
            return play(away, actions, seed=seed), play(home, actions, seed=seed)
        finally:
            away.close()

    with ThreadPoolExecutor(8) as pool:
        for away, home in pool.map(one, range(24)):
            assert away == home


def test_a_collection_through_a_server(server: EnvServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_ENVS_SERVE_TOKEN", TOKEN)
    plan: dict[str, Any] = {"episodes": 8, "agent": "novice:error_rate=0.4", "seed": 2}
    options = {"url": server.url, "env": "Coin-v0"}
    away = collect(CollectConfig(env="STeP-Remote-v0", env_options=options, **plan), tmp_path / "away", concurrency=3)
    home = collect(CollectConfig(env="Coin-v0", **plan), tmp_path / "home")
    figures = [progress.summary() for progress in (away, home)]
    for summary in figures:
        del summary["usage"]
    assert figures[0] == figures[1]
    assert not any(TOKEN.encode() in file.read_bytes() for file in (tmp_path / "away").iterdir())
    secret = CollectConfig(env="STeP-Remote-v0", env_options=options | {"token": TOKEN}, **plan)
    with pytest.raises(ValueError, match="'token' of STeP-Remote-v0 does not belong into a run"):
        collect(secret, tmp_path / "never")


def test_copies_are_refused(server: EnvServer) -> None:
    away = remote(server).unwrapped
    for copier in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match=r"^A RemoteEnv cannot be copied or pickled: make another environment"):
            copier(away)
    away.close()
