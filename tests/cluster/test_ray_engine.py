"""Collection on a local Ray cluster: what threads collect, whatever happens to the workers."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from chat_server import Answer, ChatServer, verdict
from children import wait_for_a_trajectory
from coin_runs import HERE, KEY, PATHS, descendants, kill_one_at, without_time

from step_envs.collection import worker_executor
from step_envs.collection.cluster import Cluster
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.progress import Progress
from step_envs.collection.ray_exchange import ModelRequestServer
from step_envs.endpoint import Answer as GatewayAnswer
from step_envs.endpoint import Budget, Endpoint, EndpointConfig, Gateway
from step_envs.errors import BudgetSpentError, ClusterError, EngineError
from step_envs.trajectory import Trajectory, Usage

ray = pytest.importorskip("ray", reason="needs the extra ray: make test-ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

SMALL = Cluster(cpus=0.5, memory=2**28, episodes_per_worker=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATHS)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.syspath_prepend(str(HERE))
        small = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        ray.init(address="local", log_to_driver=False, logging_level="error", **small)
        yield
        ray.shutdown()


def config(**changes: Any) -> CollectConfig:
    return CollectConfig(**({"env": "own_world:Coin-v0", "episodes": 60, "agent": "novice:error_rate=0.4"} | changes))


def workers(of: int | None = None) -> list[psutil.Process]:
    return descendants(lambda command: "EpisodeWorker" in command.partition(" ")[0], of)


def test_killed_workers_change_nothing(cluster: None, tmp_path: Path) -> None:
    collect(config(), tmp_path / "threads", concurrency=2)
    kills = {3, 17, 31}
    figures = collect(config(), tmp_path / "ray", concurrency=4, cluster=SMALL, on_progress=kill_one_at(kills, workers))
    assert not kills
    assert (figures.kept, figures.failed) == (60, 0)
    assert without_time(tmp_path / "ray") == without_time(tmp_path / "threads")
    assert not (tmp_path / "ray" / "failures.jsonl").exists()


def test_one_budget_one_bill_and_nothing_paid_twice(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set after the workers' parents were started: none of them has it.
    monkeypatch.setenv("MARKER", KEY)
    budget = Budget.parse("40000tokens")
    with ChatServer(lambda request: Answer(verdict(), delay=0.02)) as server:
        teacher = f"openai:model=m,base_url={server.url},api_key_env=MARKER"
        plan = config(teacher=teacher, episodes=40, agent="novice")
        with pytest.raises(BudgetSpentError, match="The budget of 40,000 tokens does not cover another request"):
            collect(plan, tmp_path, concurrency=4, cluster=SMALL, access=EndpointConfig(budget=budget))
        paid = json.loads((tmp_path / "summary.json").read_text())["paid"]
        assert 20_000 < paid["prompt_tokens"] + paid["completion_tokens"] <= 40_000
        first = len(without_time(tmp_path))
        kills = {first + 3, first + 9}
        figures = collect(
            plan, tmp_path, resume=True, concurrency=4, cluster=SMALL, on_progress=kill_one_at(kills, workers)
        )
    assert 0 < first < 40
    assert (figures.kept, figures.failed, kills) == (40, 0, set())
    assert sorted(map(str, without_time(tmp_path))) == sorted(map(str, range(40)))
    asked = Counter(json.dumps(request["messages"]) for request in server.requests)
    assert max(asked.values()) == 1
    assert all(KEY in head for head in server.headers)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())
    assert figures.paid is not None
    assert figures.paid.requests == len(server.requests)


def test_open_questions_never_take_the_room_of_the_answers(cluster: None) -> None:
    """Questions of workers that died stay open, so that there can be more than episodes in flight."""

    class Busy(Gateway):
        def ask(self, endpoint: Endpoint, request: dict[str, Any], *, sample: int = 0) -> GatewayAnswer:
            time.sleep(0.05)
            return GatewayAnswer(str(sample), "stop", Usage())

    exchange = ModelRequestServer(Busy(), 1)
    asked = [exchange.mailbox.ask.remote((Endpoint(), {}, i)) for i in range(40)]
    answered, _ = ray.wait(asked, num_returns=40, timeout=60)
    assert [answer.text for answer in ray.get(answered)] == [str(i) for i in range(40)]
    exchange.close()


ONE = {"concurrency": 2, "cluster": SMALL}


def test_a_run_that_loses_its_only_worker_late_waits_for_another(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [0.0]
    monkeypatch.setattr(worker_executor, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + later[0]))

    def watch(progress: Progress, trajectory: Trajectory | None) -> None:
        if progress.kept == 3:
            later[0] = 10_000.0
        if progress.kept == 6:
            workers()[0].kill()

    figures = collect(config(episodes=20), tmp_path, on_progress=watch, **ONE)
    assert (figures.kept, figures.failed) == (20, 0)


def test_a_worker_that_ray_ends_for_want_of_memory_is_one_that_died(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, calls = ray.get, itertools.count()

    def short_of_memory(reference: Any) -> Any:
        # The first call greets the worker.
        if next(calls) == 4:
            raise ray.exceptions.OutOfMemoryError("the machine is low on memory")
        return get(reference)

    monkeypatch.setattr(ray, "get", short_of_memory)
    figures = collect(config(episodes=20), tmp_path, **ONE)
    assert (figures.kept, figures.failed) == (20, 0)
    assert next(calls) > 21


def test_an_episode_that_hangs_is_given_up_with_its_worker(cluster: None, tmp_path: Path) -> None:
    plan = config(env="bad_world:BadCoin-v0", env_options={"hangs": "coin/hall/hall"}, episodes=18)
    figures = collect(plan, tmp_path, concurrency=4, cluster=SMALL, episode_seconds=1.5)
    hung = [p.episode for p in plan.episodes_to_play() if p.task_id == "coin/hall/hall"]
    failures = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert sorted(failure["episode"] for failure in failures) == hung
    assert {failure["reason"] for failure in failures} == {"TimeoutError: The episode took longer than 1.5 s."}
    assert (figures.kept, figures.failed) == (18 - len(hung), len(hung))


def test_an_episode_that_its_workers_die_of_fails_and_the_others_do_not(cluster: None, tmp_path: Path) -> None:
    plan = config(env="bad_world:BadCoin-v0", env_options={"kills": "coin/hall/hall"}, episodes=6)
    figures = collect(plan, tmp_path, concurrency=2, cluster=SMALL.model_copy(update={"episodes_per_worker": 1}))
    (failure,) = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert failure["task_id"] == "coin/hall/hall"
    assert failure["reason"].startswith("ClusterError: 3 workers died under it: ")
    assert (figures.kept, figures.failed) == (5, 1)


def test_errors_travel_with_their_traceback(cluster: None, tmp_path: Path) -> None:
    plan = config(env="bad_world:BadCoin-v0", env_options={"fails": True}, episodes=8)
    with pytest.raises(EngineError, match="the coin is stuck") as error:
        collect(plan, tmp_path, concurrency=4, cluster=SMALL)
    assert any("in _act" in note for note in error.value.__notes__)


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match=r"^The Ray cluster at 127\.0\.0\.1:1 cannot be used: "):
        collect(config(), tmp_path, cluster=Cluster(address="127.0.0.1:1"))


# The command, with a cluster of its own.


def start(out: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "step_envs.cli", "collect", "--out", str(out), "--engine", "ray", "--resume"]
    small = ["--worker-cpus", "0.5", "--worker-memory", "256", "--worker-episodes", "2", "--concurrency", "4"]
    return subprocess.Popen(
        [*command, *small, "--env", "own_world:Coin-v0", "--json", *options],
        env=os.environ | {"PYTHONPATH": PATHS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_command_killed_interrupted_and_resumed(tmp_path: Path) -> None:
    options = ["--episodes", "3000", "--agent", "novice"]
    process = start(tmp_path, *options)
    wait_for_a_trajectory(process, tmp_path)
    playing = workers(process.pid)
    process.kill()
    process.communicate()
    # Ray's own helpers take up to a minute to see that they are alone.
    _, alive = psutil.wait_procs(playing, timeout=30)
    assert playing
    assert not alive

    before = len(without_time(tmp_path))
    process = start(tmp_path, *options)
    while len(without_time(tmp_path)) <= before and process.poll() is None:
        time.sleep(0.2)
    # As a terminal does it: to everybody.
    os.killpg(process.pid, signal.SIGINT)
    _, complained = process.communicate(timeout=300)
    assert process.returncode == 130, complained
    assert "Add --resume" in complained
    assert not (tmp_path / "failures.jsonl").exists()
    kept = without_time(tmp_path)
    assert before < len(kept) < 3000
    plan = config(episodes=3000, agent="novice")
    collect(plan, tmp_path, resume=True, concurrency=4)
    tasks = {episode: trajectory["task_id"] for episode, trajectory in without_time(tmp_path).items()}
    assert tasks == {planned.episode: planned.task_id for planned in plan.episodes_to_play()}
