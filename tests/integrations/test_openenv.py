"""OpenEnv plays our worlds: the same observations, rewards and info as the environment itself, by OpenEnv's own clients."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from own_evaluation import WORLDS, played

pytestmark = pytest.mark.integrations
openenv = pytest.importorskip("openenv", reason="make test-integrations")

import uvicorn
from openenv.core import GenericEnvClient
from openenv.validation import Level, run_validation
from openenv.validation.types import ProviderCapability

import step_envs
from step_envs.alfworld.env import AlfworldEnv
from step_envs.errors import EngineError, UnknownNameError
from step_envs.integrations.openenv import ExtendedAction, TextEnvClient, create_app
from step_envs.registration import env_class

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "step_worlds_env"
ALFWORLD = "STeP-ALFWorld-v0"


@contextmanager
def served(env_id: str = ALFWORLD, **options: Any) -> Iterator[str]:
    """Serve a world in this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create_app(env_id, **options), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def served_folder(**environment: str) -> Iterator[str]:
    """Serve examples/step_worlds_env as a program of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "server.app", "--port", str(port)]
    process = subprocess.Popen(command, cwd=FOLDER, env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def until(done: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"nothing happened within {seconds} s"
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        return fetch(url)[0] == 200
    except OSError:
        return False


def fetch(url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """GET, or POST if there is a body; returns the status and the JSON."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def client(url: str, **options: Any) -> Any:
    return TextEnvClient(base_url=url, **options).sync()


def as_json(text: str, reward: float | None, terminated: bool, truncated: bool, info: dict[str, Any]) -> str:
    return json.dumps([text, reward, terminated, truncated, info], sort_keys=True)


def local_moments(env: gym.Env[str, str], actions: list[str], **reset: Any) -> list[str]:
    """Play the actions, up to the end of the episode, in an environment of this process."""
    text, info = env.reset(**reset)
    moments = [as_json(text, None, False, False, info)]
    for action in actions:
        text, reward, terminated, truncated, info = env.step(action)
        moments.append(as_json(text, reward, terminated, truncated, info))
        if terminated or truncated:
            break
    return moments


def moment(result: Any) -> str:
    seen = result.observation
    terminated, truncated = seen.metadata["terminated"], seen.truncated
    assert result.done == (terminated or truncated) == seen.done and result.reward == seen.reward
    return as_json(seen.text, result.reward, terminated, truncated, seen.info)


def remote_moments(env: Any, actions: list[str], **reset: Any) -> list[str]:
    """The same over OpenEnv."""
    moments = [moment(env.reset(**reset))]
    for action in actions:
        result = env.step(action)
        moments.append(moment(result))
        if result.done:
            break
    return moments


@pytest.mark.parametrize("world", WORLDS)
def test_the_episodes_are_those_of_the_environment_itself(world: str) -> None:
    own = played(world)
    options = {**env_class(world).eto_options, "admissible_actions": world == ALFWORLD}
    local = gym.make(world, **options)
    compared = whole = 0
    with served(world, **options) as url, client(url) as env:
        for task_id, episode in own.episodes.items():
            actions = [turn.action for turn in episode.turns if turn.action is not None and turn.kind != "instruction"]
            expected = local_moments(local, actions, options={"task_id": task_id})
            assert remote_moments(env, actions, task_id=task_id) == expected
            compared += len(expected)
            state = env.state()
            assert (state.env_id, state.task_id, state.step_count) == (world, task_id, len(expected) - 1)
            # A bare world has no replies without an action. Episodes that had none are those of our own evaluation.
            if len(actions) == episode.steps:
                whole += 1
                assert state.score == episode.score and state.success == episode.success
    local.close()
    assert compared > 5 * len(own.episodes) and whole > 0


def test_thirty_two_sessions_play_at_once() -> None:
    tasks = step_envs.list_tasks(ALFWORLD, split="valid_unseen")[:32]
    local = gym.make(ALFWORLD, split="valid_unseen")
    plans, expected = [], []
    for task_id in tasks:
        local.reset(options={"task_id": task_id})
        plans.append(["look", *local.unwrapped.oracle.plan()])
        expected.append(local_moments(local, plans[-1], options={"task_id": task_id}))
    began = threading.Barrier(32, timeout=60)

    async def play(url: str, number: int) -> list[str]:
        async with TextEnvClient(base_url=url) as env:
            moments = [moment(await env.reset(index=number))]
            await asyncio.to_thread(began.wait)
            for action in plans[number]:
                moments.append(moment(await env.step(action)))
            return moments

    async def play_all(url: str) -> list[list[str]]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(40))
        return await asyncio.gather(*(play(url, number) for number in range(32)))

    with served(split="valid_unseen", max_sessions=32) as url:
        assert asyncio.run(play_all(url)) == expected
        with ExitStack() as open_sessions:
            for _ in range(32):
                open_sessions.enter_context(client(url))
            with (
                pytest.raises(RuntimeError, match=r"capacity.*32/32.*CAPACITY_REACHED"),
                client(url) as one_more,
            ):
                one_more.reset()
    assert {json.loads(moments[-1])[4]["success"] for moments in expected} == {True}


def test_a_killed_client_frees_its_session() -> None:
    code = (
        "import sys, time\n"
        "from openenv.core import GenericEnvClient\n"
        "env = GenericEnvClient(base_url=sys.argv[1]).sync()\n"
        "env.connect(); env.reset(seed=0); print('plays', flush=True); time.sleep(600)\n"
    )
    with served(max_sessions=1) as url:
        process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "plays\n"
        with pytest.raises(RuntimeError, match="CAPACITY_REACHED"), client(url) as env:
            env.reset()
        process.send_signal(signal.SIGKILL)
        process.wait(20)

        def free() -> bool:
            try:
                with client(url) as env:
                    return bool(env.reset(seed=1).observation.text)
            except RuntimeError:
                return False

        until(free, 20)


def test_tasks_are_named_as_the_task_api_lists_them() -> None:
    with served() as url, client(url) as env:
        assert fetch(f"{url}/list_environments") == (200, [ALFWORLD])
        splits = fetch(f"{url}/{ALFWORLD}/splits")[1]
        assert [one["name"] for one in splits] == ["train", "valid_seen", "valid_unseen"]
        assert [one["type"] for one in splits] == ["train", "validation", "validation"]
        for split in ("train", "valid_unseen"):
            ids = step_envs.list_tasks(ALFWORLD, split=split)
            assert fetch(f"{url}/{ALFWORLD}/num_tasks", {"split": split})[1] == {"num_tasks": len(ids)}
            listed = fetch(f"{url}/{ALFWORLD}/tasks", {"split": split})[1]["tasks"]
            assert [one["id"] for one in listed] == list(ids)
            assert fetch(f"{url}/{ALFWORLD}/task", {"split": split, "index": 3})[1] == {"task": listed[3]}
            some = fetch(f"{url}/{ALFWORLD}/task_range", {"split": split, "start": 2, "stop": 5})[1]
            assert some == {"tasks": listed[2:5]}
            # verifiers gives a seed with each index.
            assert env.reset(split=split, index=3, seed=8).observation.info["task_id"] == ids[3]
            local = gym.make(ALFWORLD, split=split)
            assert remote_moments(env, [], split=split, seed=5) == local_moments(local, [], seed=5)
        assert env.reset(seed=5, episode_id="mine").observation.info["split"] == "train"
        assert env.state().episode_id == "mine"
        assert env.reset(seed=5).observation.instruction == env.step("look").observation.info["instruction"]
        assert env.state().episode_id not in (None, "mine")


WRONG = [
    ({"split": "trian"}, "Unknown split 'trian'. Did you mean 'train'?"),
    ({"split": ["train"]}, "Unknown split ['train']. Did you mean 'train'?"),
    ({"index": 3600}, "Split 'train' has the tasks 0 to 3599, and no task 3600."),
    ({"index": -1, "split": "valid_seen"}, "Split 'valid_seen' has the tasks 0 to 143, and no task -1."),
    ({"index": "3"}, "The index of a task is an int, got '3'."),
    ({"index": True}, "The index of a task is an int, got True."),
    (
        {"task_id": "generated/pick_and_place_simple/no"},
        "Unknown task 'generated/pick_and_place_simple/no'. Did you mean",
    ),
    ({"task_id": "x", "index": 1}, "A task is named by task_id=, or by split= and index=: leave one of them out."),
    ({"seed": "one"}, "A seed is an int from 0, got 'one'."),
    ({"seed": -1}, "A seed is an int from 0, got -1."),
    ({"episode_id": "x" * 256}, "An episode_id is a text of at most 255 characters, got"),
    ({"splitt": "train"}, "Unknown argument of reset 'splitt'. Did you mean 'split'?"),
    ({"data_path": "/etc"}, "The option 'data_path' is the server's to set, not a client's: give it to create_app."),
    ({"backend": "original"}, "The option 'backend' is the server's to set, not a client's: give it to create_app."),
    ({"max_steps": None}, "The option 'max_steps' is the server's to set, not a client's: give it to create_app."),
    ({"injected_state": "{}"}, "This server takes no snapshots: start it with create_app(..., extensions=True)."),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=[str(list(one)) for one, _ in WRONG])
def test_a_wrong_reset_is_one_sentence(server: str, arguments: dict[str, Any], sentence: str) -> None:
    with client(server) as env:
        env.reset(seed=1)
        with pytest.raises(RuntimeError) as raised:
            env.reset(**arguments)
        assert str(raised.value).startswith(f"Server error: {sentence}") and "\n" not in str(raised.value)
        with pytest.raises(RuntimeError, match=r"No episode is running: call reset\(\) first"):
            env.step("look")
        assert env.reset(seed=0).observation.text.startswith("-= Welcome")
    if arguments.get("seed") not in ("one", -1) and "episode_id" not in arguments:  # OpenEnv itself refuses these
        status, said = fetch(f"{server}/reset", arguments)
        assert status == 400 and said["detail"].startswith(sentence)


def test_a_wrong_question_about_tasks_is_one_sentence(server: str) -> None:
    base = f"{server}/{ALFWORLD}"
    assert fetch(f"{base}/num_tasks", {"split": "trian"}) == (
        400,
        {"detail": "Unknown split 'trian'. Did you mean 'train'?"},
    )
    assert fetch(f"{base}/task", {"split": "valid_seen", "index": 144}) == (
        400,
        {"detail": "Split 'valid_seen' has the tasks 0 to 143, and no task 144."},
    )
    assert fetch(f"{server}/step", {"action": {"action": "look"}}) == (
        400,
        {"detail": "No episode is running: call reset() first, in the same WebSocket session."},
    )
    assert fetch(f"{server}/other/splits") == (404, {"detail": "unknown environment 'other'"})


def test_a_wrong_server_is_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match=r"^Unknown split 'trian'. Did you mean 'train'\?$"):
        create_app(ALFWORLD, split="trian")
    with pytest.raises(UnknownNameError, match=r"^Unknown option of STeP-ALFWorld-v0 'splitt'. Did you mean 'split'\?"):
        create_app(ALFWORLD, splitt="train")
    with pytest.raises(UnknownNameError, match=r"^Unknown environment 'STeP-ALFWrld-v0'. Did you mean 'STeP-ALFWorld"):
        create_app("STeP-ALFWrld-v0")


def test_any_text_is_an_action_and_the_end_is_the_end(server: str) -> None:
    with GenericEnvClient(base_url=server).sync() as env:
        assert set(env.reset(seed=0).observation) == {"text", "instruction", "admissible_actions", "metadata"}
        for action in ("", "look\x00", "a" * 100_000, "half a smile \ud83d", '{"action": "look"}'):
            assert not env.step({"action": action}).metadata["valid_action"]
        with pytest.raises(RuntimeError, match="VALIDATION_ERROR"):
            env.step({"action": "look", "ask": "plan"})
        assert env.state()["step_count"] == 5
    with served(max_steps=2) as url, client(url) as env:
        env.reset(seed=0)
        assert not env.step("look").done
        last = env.step("look")
        assert last.done and last.observation.truncated and env.state().truncated
        with pytest.raises(RuntimeError, match="over"):
            env.step("look")


def test_extensions_save_go_back_and_ask_the_oracle() -> None:
    local = gym.make(ALFWORLD)
    with served(extensions=True) as url, client(url) as env, client(url) as other:
        local.reset(seed=3)
        env.reset(seed=3)
        plan = env.ask("plan")
        assert plan == local.unwrapped.oracle.plan() and plan[0] == env.ask("next_action")
        assert env.ask("thought", plan[0]) == local.unwrapped.oracle.thought(plan[0])
        assert env.ask("admissible_actions") == list(local.unwrapped.admissible_actions())
        env.step(plan[0])
        local.step(plan[0])
        asked = env.step(ExtendedAction(ask="plan"))
        assert asked.metadata.pop("answer") == plan[1:]
        assert moment(asked) == as_json(asked.observation.text, 0.0, False, False, _info(local))
        saved = env.ask("snapshot")
        assert saved.encode() == local.unwrapped.snapshot() and env.state().step_count == 1
        there = other.reset(injected_state=saved)
        assert moment(there) == as_json(*local.unwrapped.restore(saved.encode())[:1], None, False, False, _info(local))
        for action in plan[1:]:
            result = other.step(action)
        assert result.done and result.observation.success
        for wrong in ("", "[" * 100_000, saved.replace("ALFWorld", "WebShop"), saved[:-1], "x" * 2_000_000, 5):
            with pytest.raises(RuntimeError, match="snapshot"):
                other.reset(injected_state=wrong)
        with pytest.raises(RuntimeError, match="leave the other arguments out"):
            other.reset(injected_state=saved, seed=1)


def _info(env: gym.Env[str, str]) -> dict[str, Any]:
    """The info of the present moment."""
    return dict(env.unwrapped.restore(env.unwrapped.snapshot())[1])


def test_a_fault_of_the_engine_is_an_error_and_harms_no_other_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    act, made = AlfworldEnv._act, []

    def broken(self: AlfworldEnv, action: str) -> Any:
        made.append(self)
        if action == "break":
            raise EngineError("The engine broke.")
        return act(self, action)

    monkeypatch.setattr(AlfworldEnv, "_act", broken)
    with served(max_sessions=1) as url, client(url) as env:
        env.reset(seed=0)
        env.step("look")
        with pytest.raises(RuntimeError, match=r"Server error: The engine broke\."):
            env.step("break")
        with pytest.raises(RuntimeError, match="No episode is running"):
            env.step("look")
        env.reset(seed=0)
        env.step("look")
        assert made[0] is made[1] and made[1] is not made[2]
        env.close()

        def plays_in_the_same() -> bool:
            try:
                with client(url) as another:
                    another.reset(seed=0)
                    another.step("look")
                    return made[-1] is made[2]
            except RuntimeError:
                return False

        until(plays_in_the_same, 20)


def test_a_session_that_was_idle_too_long_is_closed() -> None:
    with served(max_sessions=1, idle_seconds=0.5) as url, client(url) as env:
        env.reset(seed=0)

        def free() -> bool:
            try:
                with client(url) as another:
                    return bool(another.reset(seed=1).observation.text)
            except RuntimeError:
                return False

        until(free, 30)
        with pytest.raises(RuntimeError, match="No episode is running"):
            env.step("look")
        with pytest.raises(RuntimeError, match="This session is closed, perhaps because it was idle too long"):
            env.reset(seed=0)


def test_a_token_keeps_others_out() -> None:
    good, bad = {"Authorization": "Bearer a-long-secret-word"}, {"Authorization": "Bearer another"}
    with served(token="a-long-secret-word") as url:
        assert fetch(f"{url}/health")[0] == 200
        assert fetch(f"{url}/schema", **good)[0] == 200
        for headers in (bad, {}):
            assert fetch(f"{url}/schema", **headers)[0] == fetch(f"{url}/mcp", {}, **headers)[0] == 401
            with pytest.raises(ConnectionError, match="403"), client(url, headers=headers):
                pass
        with client(url, headers=good) as env:
            assert env.reset(seed=0).observation.text


class ProcessProvider:
    """Starts the folder as a program, where OpenEnv would build an image."""

    name = "process"
    capabilities = frozenset({ProviderCapability.IMAGE_BUILD})
    supported_network_modes = frozenset({"no-network"})

    def __init__(self) -> None:
        self._running = ExitStack()

    def build(self, root: Path, execution: Any) -> str:
        assert (root / execution.dockerfile).is_file()
        return "sha256:" + "0" * 64

    def start(self, spec: Any) -> "ProcessProvider":
        self.base_url = self._running.enter_context(served_folder())
        return self

    def inspect(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self._running.close()


def test_the_folder_is_what_openenv_wants() -> None:
    report = run_validation(FOLDER, max_level=Level.RUNTIME, provider=ProcessProvider())
    found = {result.check_id: result.status.value for result in report.results}
    checked = ("startup", "reward_well_formed", "observation_schema", "state_contract")
    assert {found[f"runtime.{name}"] for name in checked} == {"pass"} and found["static.manifest"] == "pass", report
    assert set(found.values()) <= {"pass", "skip"}
    counts = report.manifest.capabilities.declared_task_count
    assert counts == {split: len(step_envs.list_tasks(ALFWORLD, split=split)) for split in counts} and counts
    command = [sys.executable, "-m", "openenv.cli", "validate", str(FOLDER), "--level", "static", "--skip-build"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Verdict: PASS" in done.stdout, done


def test_the_folder_serves_any_world() -> None:
    options = json.dumps({"split": "test", "max_steps": 3})
    environment = {"STEP_ENVS_WORLD": "STeP-WebShop-v0", "STEP_ENVS_OPTIONS": options, "MAX_CONCURRENT_ENVS": "1"}
    with served_folder(**environment) as url:
        command = [sys.executable, "-m", "openenv.cli", "validate", "--url", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Verdict: PASS" in done.stdout, done
        with GenericEnvClient(base_url=url).sync() as env:
            assert env.reset(index=0).metadata["task_id"] == step_envs.list_tasks("STeP-WebShop-v0", split="test")[0]
            done = [env.step({"action": "search[shoes]"}).done for _ in range(3)]
            assert done == [False, False, True]


def test_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "openenv.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(uvicorn, "run", lambda app, **_: None)
        for block in blocks:
            if "create_app(" in block:
                exec(block, names)
    with served(split="valid_unseen", extensions=True) as url:
        for block in blocks:
            if "create_app(" not in block:
                exec(block.replace("http://127.0.0.1:8000", url), names)
    assert names["result"].observation.instruction and names["saved"]
