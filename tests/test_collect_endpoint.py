"""Collection against endpoints: nothing lost, counted twice or paid twice, whatever happens to either side."""

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import own_world  # noqa: F401  (registers Coin-v0)
import psutil
import pytest
from chat_server import Answer, ChatServer, verdict
from children import wait_for_a_trajectory

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.estimates import estimate
from step_envs.endpoint import Budget, EndpointConfig, Price
from step_envs.errors import BudgetSpentError, EndpointDownError, RequestRefusedError, StoreError
from step_envs.store import read_trajectories

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
KEY = "sk-marker-0123456789abcdef"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openai._constants, openai._base_client):
        monkeypatch.setattr(module, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY", 0.05)


def config(url: str, options: str = "", **changes: Any) -> CollectConfig:
    teacher = f"openai:model=m,base_url={url}{options}"
    return CollectConfig(**({"env": "Coin-v0", "episodes": 12, "agent": "novice", "teacher": teacher} | changes))


def episodes(out: Path) -> list[int | None]:
    return [trajectory.episode for trajectory in read_trajectories(out)]


def asked_twice(server: ChatServer) -> int:
    counts = Counter(json.dumps(request["messages"]) for request in server.requests)
    return sum(counts.values()) - len(counts)


def good(request: dict[str, Any]) -> Answer:
    return Answer(verdict())


def test_a_run_with_a_model_as_teacher(tmp_path: Path) -> None:
    with ChatServer(good) as server:
        prices = {"m": Price(input=1, output=2)}
        figures = collect(config(server.url), tmp_path, concurrency=4, access=EndpointConfig(prices=prices))
    assert sorted(map(int, filter(lambda e: e is not None, episodes(tmp_path)))) == list(range(12))  # type: ignore[arg-type]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["paid"]["requests"] == len(server.requests) == figures.usage.requests
    assert summary["paid"]["cost"] == pytest.approx(figures.usage.cost)
    assert sorted(path.name for path in tmp_path.iterdir() if "sqlite-" not in path.name) == [
        "bill.jsonl",
        "config.json",
        "responses.sqlite",
        "summary.json",
        "trajectories.jsonl",
    ]
    assert asked_twice(server) == 0


FAULTS = [
    Answer("busy", status=429, headers={"retry-after": "0.01"}),
    Answer("oops", status=500),
    Answer("dropped in the middle", drop=True),
    Answer(choices=False),
    Answer(None, refusal="no"),
    Answer('{"status": "o', finish="length"),
    Answer("not JSON at all"),
    Answer(f"In prose: {verdict()}"),
    Answer('{"status": 5}'),
    Answer(verdict("error", error="bad", corrected_action="fly away")),
    Answer(verdict("ok", confidence=1)),
    Answer(raw=b"<html>"),
]


def test_among_all_faults_no_episode_is_lost_or_counted_twice(tmp_path: Path) -> None:
    rng = random.Random(0)

    def script(request: dict[str, Any]) -> Answer:
        return rng.choice(FAULTS) if rng.random() < 0.4 else Answer(verdict())

    with ChatServer(script) as server:
        figures = collect(config(server.url, episodes=60), tmp_path, concurrency=16)
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(60)))
    assert figures.failed == 0
    assert figures.unknown > 0
    assert figures.errors == 0
    judged = sum(turn.verdict is not None for t in read_trajectories(tmp_path) for turn in t.turns)
    # At most: an attempt that fails is sent again; an answer that is of no use is asked for once more, by parse and action.
    assert len(server.requests) < 2 * judged
    assert figures.paid is not None
    assert figures.paid.requests <= len(server.requests)


def test_agent_and_teacher_both_models(tmp_path: Path) -> None:
    def script(request: dict[str, Any]) -> Answer:
        return Answer(verdict()) if request["messages"][0]["role"] == "system" else Answer("Thought: so\nAction: look")

    with ChatServer(script) as server:
        agent = f"chat:model=m,base_url={server.url},temperature=1"
        collect(config(server.url, agent=agent, teacher="self", episodes=3), tmp_path / "self")
        collect(config(server.url, agent=agent, episodes=3), tmp_path / "both")
    for name in ("self", "both"):
        trajectories = list(read_trajectories(tmp_path / name))
        assert len({t.agent.params["seed"] for t in trajectories}) == 3
        assert {t.usage.requests for t in trajectories} == {40}
    with pytest.raises(ValueError, match="The teacher 'self' needs an agent that is a model"):
        collect(config("http://x", teacher="self"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


# Stops, and what comes after.


def test_a_spent_budget_stops_cleanly_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with ChatServer(good) as server:
        with pytest.raises(BudgetSpentError, match="The budget of 20,000 tokens does not cover another request"):
            collect(
                config(server.url), tmp_path, concurrency=4, access=EndpointConfig(budget=Budget.parse("20000tokens"))
            )
        first = len(server.requests)
        paid = json.loads((tmp_path / "summary.json").read_text())["paid"]
        assert paid["prompt_tokens"] + paid["completion_tokens"] <= 20_000
        with pytest.raises(BudgetSpentError):
            collect(
                config(server.url), tmp_path, resume=True, access=EndpointConfig(budget=Budget.parse("20000tokens"))
            )
        collect(config(server.url), tmp_path, resume=True, concurrency=4)
    assert 0 < first < len(server.requests)
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(12)))
    assert asked_twice(server) == 0


def test_a_refused_key_stops_at_once(tmp_path: Path) -> None:
    with ChatServer([Answer("who are you", status=401)]) as server:
        with pytest.raises(RequestRefusedError, match="Is the key in OPENAI_API_KEY right"):
            collect(config(server.url, episodes=500), tmp_path, concurrency=4)
        assert len(server.requests) <= 8
    assert episodes(tmp_path) == []


@pytest.mark.slow
def test_an_endpoint_that_dies_stops_the_run(tmp_path: Path) -> None:
    served = 0

    def script(request: dict[str, Any]) -> Answer:
        nonlocal served
        served += 1
        return Answer(verdict()) if served < 60 else Answer("gone", status=503)

    with ChatServer(script) as server:
        with pytest.raises(EndpointDownError, match=r"has failed \d+ requests in a row, each sent up to 2 times"):
            collect(config(server.url, ",max_retries=1", episodes=200), tmp_path)
        kept = episodes(tmp_path)
        assert 0 < len(kept) < 20
        # What the dead endpoint could not judge is not kept.
        assert sum(t.unknown_verdicts for t in read_trajectories(tmp_path)) <= 4
        served = -(10**9)
        collect(config(server.url, ",max_retries=1", episodes=200), tmp_path, resume=True, concurrency=8)
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(200)))


@pytest.mark.slow
def test_256_in_flight(tmp_path: Path) -> None:
    # Nobody is answered before all 256 have asked. In this world no two tasks are alike: what is alike is asked once.
    world = {"env": "STeP-ALFWorld-v0", "env_options": {"max_steps": 1}, "episodes": 300}
    with ChatServer(lambda request: Answer(verdict(), together=256)) as server:
        figures = collect(config(server.url, seed=2, **world), tmp_path, concurrency=256)
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(300)))
    assert figures.unknown == 0


def test_a_dry_run_says_what_a_run_costs_and_is_not_paid_twice(tmp_path: Path) -> None:
    access = EndpointConfig(prices={"m": Price(input=3, output=15)})
    with ChatServer(good) as server:
        plan = config(server.url, episodes=100, agent="novice:error_rate=0.1")
        first = estimate(plan, tmp_path, access=access, concurrency=5)
        sampled = len(server.requests)
        again = estimate(plan, tmp_path, access=access, concurrency=5)
        assert len(server.requests) == sampled
        figures = collect(plan, tmp_path, concurrency=8, access=access)
    assert (first.episodes, first.sampled) == (100, 10)
    assert first.paid is not None
    assert first.cost is not None
    # Sampled episodes with the same steps were paid for once.
    assert 0 < first.paid <= first.cost / 10
    assert (again.cost, again.paid) == (pytest.approx(first.cost), pytest.approx(0.0))
    assert figures.paid is not None
    assert figures.paid.cost is not None
    assert first.paid < figures.paid.cost <= first.cost * 1.5
    assert asked_twice(server) == 0
    with pytest.raises(ValueError, match="Neither agent nor teacher is a model"):
        estimate(config("", teacher="oracle"), tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"trajectories.jsonl": "{}\n"}, "holds trajectories without a config.json: name another folder"),
        ({"config.json": "{}"}, "config.json"),
        ({"diary.txt": "dear diary"}, None),
    ],
)
def test_a_dry_run_writes_nothing_into_a_folder_that_holds_something_else(
    tmp_path: Path, files: dict[str, str], sentence: str | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = content(tmp_path)
    with ChatServer(good) as server:
        if sentence is not None:
            with pytest.raises(StoreError, match=sentence):
                estimate(config(server.url), tmp_path)
            assert not server.requests
        else:
            assert not estimate(config(server.url), tmp_path).kept
    assert content(tmp_path) == before


@pytest.mark.slow
def test_a_dry_run_at_a_dead_endpoint_is_no_estimate(tmp_path: Path) -> None:
    with ChatServer([Answer("gone", status=503)]) as server:
        with pytest.raises(EndpointDownError, match=r"has failed 5 requests in a row"):
            estimate(config(server.url, ",max_retries=1", episodes=100), tmp_path)
        assert len(server.requests) == 10
        assert list(tmp_path.iterdir()) == []
        process = start(tmp_path / "run", server.url, "--episodes", "100", "--dry-run")
        printed, complained = process.communicate(timeout=300)
    assert (process.returncode, printed) == (3, "")
    assert "requests in a row" in complained
    assert not (tmp_path / "run").exists()


# Kills.


def command(out: Path, url: str, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "step_envs.cli", "collect", "--out", str(out), "--env", "own_world:Coin-v0"),
        *("--teacher", f"openai:model=m,base_url={url},max_retries=1,api_key_env=MARKER", "--json", *options),
    ]


def start(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        env=ENVIRONMENT | {"MARKER": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_the_collector_is_killed_at_random_moments(tmp_path: Path) -> None:
    rng, kills, concurrency = random.Random(7), 6, 8
    options = ["--episodes", "150", "--concurrency", str(concurrency), "--resume", "--agent", "novice:error_rate=0.5"]
    with ChatServer(lambda request: Answer(verdict(), delay=0.02)) as server:
        for _ in range(kills):
            process = start(tmp_path, server.url, *options)
            time.sleep(rng.uniform(1.0, 4.0))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = start(tmp_path, server.url, *options)
        printed, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(150)))
    assert (tmp_path / "trajectories.jsonl").read_bytes().count(b"\n") == 150
    # Paid twice is at most what was in flight at a kill.
    assert asked_twice(server) <= kills * concurrency
    assert json.loads(printed)["paid"]["requests"] >= len(server.requests) - asked_twice(server) - kills * concurrency
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()
    assert all(f"Bearer {KEY}" in head for head in server.headers)


@pytest.mark.slow
def test_the_endpoint_is_killed_in_mid_run(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def serve() -> psutil.Popen:
        process = psutil.Popen([sys.executable, str(HERE / "chat_server.py"), str(port), "0.02"])
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    options = ["--episodes", "120", "--concurrency", "8", "--resume"]
    url = f"http://127.0.0.1:{port}/v1"
    server = serve()
    process = start(tmp_path, url, *options)
    wait_for_a_trajectory(process, tmp_path)
    server.kill()
    server.wait()
    _, complained = process.communicate(timeout=300)
    assert process.returncode == 3, complained
    assert f"{url} has failed" in complained
    assert "--resume" in complained
    assert KEY not in complained
    kept = len(episodes(tmp_path))
    assert 0 < kept < 120
    server = serve()
    try:
        process = start(tmp_path, url, *options)
        _, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
    finally:
        server.kill()
        server.wait()
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(120)))


def test_a_second_ctrl_c_does_not_wait_for_an_endpoint_that_hangs(tmp_path: Path) -> None:
    answering = False
    with ChatServer(lambda request: Answer(verdict(), delay=0.0 if answering else 100.0)) as server:
        process = start(tmp_path, server.url, "--episodes", "6", "--concurrency", "2")
        while not server.requests:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        while not (line := process.stderr.readline()).startswith("Stopping: "):
            assert line, process.communicate()
        assert line == (
            "Stopping: waiting for 2 episodes in play to end; press Ctrl-C again to leave them. Nothing that is written is "
            "lost.\n"
        )
        process.send_signal(signal.SIGINT)
        _, complained = process.communicate(timeout=60)  # the answers would come after a hundred seconds
        assert process.returncode == 130, complained
        assert "Stopping: leaving 2 episodes. Nothing that is written is lost; --resume plays them again." in complained
        assert complained.endswith(f"Stopped. Add --resume to the same command to go on with {tmp_path}.\n")
        answering = True
        process = start(tmp_path, server.url, "--episodes", "6", "--resume")
        _, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(6)))


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_whole_lines(tmp_path: Path) -> None:
    with ChatServer(good) as server:
        plan = ["--episodes", "80", "--concurrency", "4", "--resume"]
        for limit in (60_000, 200_000):
            process = start(
                tmp_path,
                server.url,
                *plan,
                preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            )
            _, complained = process.communicate(timeout=300)
            assert process.returncode == 2, complained
            assert "Cannot write" in complained
            kept = episodes(tmp_path)
            assert len(kept) == len(set(kept)) < 80
        process = start(tmp_path, server.url, *plan)
        _, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
    assert sorted(map(str, episodes(tmp_path))) == sorted(map(str, range(80)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_small_disk_fills_up_and_the_run_goes_on_when_it_has_grown(small_disk: Path) -> None:
    run = small_disk / "run"
    with ChatServer(good) as server:
        plan = ["--episodes", "80", "--concurrency", "4", "--resume"]
        for size in ("512k", "800k", "900k"):
            subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
            process = start(run, server.url, *plan)
            _, complained = process.communicate(timeout=300)
            assert process.returncode == 2, complained
            assert "Cannot " in complained
            assert "No space left on device" in complained or "full" in complained
            assert "Traceback" not in complained
            kept = episodes(run)
            assert len(kept) == len(set(kept)) < 80
            for line in (run / "bill.jsonl").read_bytes().splitlines():
                json.loads(line)
        paid = asked_twice(server)
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        process = start(run, server.url, *plan)
        _, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
        assert asked_twice(server) <= paid + 4
    assert sorted(map(str, episodes(run))) == sorted(map(str, range(80)))
    # Each time it was full, what was in flight was paid and could not be kept; nothing else.
    assert paid <= 3 * 4


# The command.


@pytest.mark.slow
def test_the_command_dry_run_prices_and_budget(tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"m": {"input": 1, "output": 2}}')
    common = ["--prices", str(prices), "--episodes", "30", "--concurrency", "4"]
    with ChatServer(good) as server:
        process = start(tmp_path / "run", server.url, *common, "--dry-run")
        printed, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
        found = json.loads(printed)
        assert found["episodes"] == 30
        assert found["cost"] > 0
        process = start(tmp_path / "run", server.url, *common, "--budget", "$0.001")
        printed, complained = process.communicate(timeout=300)
        assert process.returncode == 3, complained
        assert "The budget of $0.001 does not cover another request" in complained
        process = start(tmp_path / "run", server.url, *common, "--resume", "--budget", "50")
        printed, complained = process.communicate(timeout=300)
        assert process.returncode == 0, complained
    assert json.loads(printed)["paid"]["cost"] > 0
    assert json.loads(printed)["trajectories"] == 30
    assert asked_twice(server) == 0


def test_a_cache_can_be_shared_by_runs(tmp_path: Path) -> None:
    access = EndpointConfig(cache=tmp_path / "shared.sqlite")
    with ChatServer(good) as server:
        collect(config(server.url), tmp_path / "one", access=access)
        paid = len(server.requests)
        figures = collect(config(server.url), tmp_path / "two", access=access)
    assert len(server.requests) == paid
    assert figures.usage.cached > 0
    assert figures.paid is not None
    assert figures.paid.requests == 0
    one, two = (
        [t.model_dump(include={"episode", "score", "errors"}) for t in read_trajectories(tmp_path / name)]
        for name in ("one", "two")
    )
    assert one == two


def test_an_impossible_rate_limit_is_said_before_anything_is_asked() -> None:
    with pytest.raises(ValueError, match=r"^requests_per_minute must be more than 0, got 0\.$"):
        EndpointConfig(requests_per_minute=0)


def test_a_run_from_the_cache_shortens_conversations_as_the_first_did(tmp_path: Path) -> None:
    """How long tokens are is learnt from the server, episode by episode, whether or not it is asked again."""
    access = EndpointConfig(cache=tmp_path / "shared.sqlite")
    with ChatServer(lambda request: Answer("Thought: so\nAction: look")) as server:
        agent = f"chat:model=m,base_url={server.url},context_tokens=900,temperature=1"
        changes = {"env": "STeP-ALFWorld-v0", "env_options": {"max_steps": 25}, "episodes": 4, "teacher": None}
        collect(config("", agent=agent, **changes), tmp_path / "one", access=access)
        paid = len(server.requests)
        collect(config("", agent=agent, **changes), tmp_path / "two", concurrency=2, access=access)
        assert len(server.requests) == paid
    one, two = (
        {t.episode: [turn.shortened for turn in t.turns] for t in read_trajectories(tmp_path / name)}
        for name in ("one", "two")
    )
    assert one == two
    assert all(len(shortened) > 50 for shortened in one.values())


def test_a_cache_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("only words " * 20)
    with pytest.raises(StoreError, match="Cannot open the response cache"):
        collect(config("http://127.0.0.1:9/v1"), tmp_path / "run", access=EndpointConfig(cache=tmp_path / "words"))
