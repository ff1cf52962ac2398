"""Collection in worker processes of this machine: what threads collect, whatever happens to the workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from chat_server import Answer, ChatServer, verdict
from children import wait_for_a_trajectory
from coin_runs import HERE, KEY, PATHS, descendants, kill_one_at, without_time

from step_envs.collection import collector
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.progress import Progress
from step_envs.endpoint import Budget, EndpointConfig
from step_envs.errors import BudgetSpentError, EngineError
from step_envs.trajectory import Trajectory


@pytest.fixture(autouse=True)
def _find_the_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))  # worker processes begin with the path of this one


def config(**changes: Any) -> CollectConfig:
    settings = {"env": "own_world:Coin-v0", "episodes": 60, "agent": "novice:error_rate=0.4"}
    return CollectConfig(**(settings | {"engine": "processes", "concurrency": 4} | changes))


def workers(of: int | None = None) -> list[psutil.Process]:
    return descendants(lambda command: "spawn_main" in command, of)


def reasons(out: Path) -> dict[str, str]:
    lines = (out / "failures.jsonl").read_text().splitlines()
    return {record["task_id"]: record["reason"] for record in map(json.loads, lines)}


def test_killed_workers_change_nothing_and_none_stays(tmp_path: Path) -> None:
    collect(config(engine="threads"), tmp_path / "threads")
    kills = {3, 17, 31}
    figures = collect(config(), tmp_path / "processes", on_progress=kill_one_at(kills, workers))
    assert not kills
    assert (figures.kept, figures.failed) == (60, 0)
    assert without_time(tmp_path / "processes") == without_time(tmp_path / "threads")
    assert not (tmp_path / "processes" / "failures.jsonl").exists()
    assert not workers()
    summary = (tmp_path / "processes" / "summary.json").read_text()
    started: list[int] = []
    # Where nothing is left to play, no process is started for it.
    collect(config(), tmp_path / "processes", resume=True, on_start=lambda progress: started.append(len(workers())))
    assert started == [0]
    assert (tmp_path / "processes" / "summary.json").read_text() == summary


@pytest.mark.slow
def test_one_budget_one_bill_and_nothing_paid_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKER", KEY)
    budget = Budget.parse("40000tokens")
    with ChatServer(lambda request: Answer(verdict(), delay=0.02)) as server:
        teacher = f"openai:model=m,base_url={server.url},api_key_env=MARKER"
        plan = config(teacher=teacher, episodes=40, agent="novice")
        with pytest.raises(BudgetSpentError, match="The budget of 40,000 tokens does not cover another request"):
            collect(plan, tmp_path, access=EndpointConfig(budget=budget))
        paid = json.loads((tmp_path / "summary.json").read_text())["paid"]
        assert 20_000 < paid["prompt_tokens"] + paid["completion_tokens"] <= 40_000
        first = len(without_time(tmp_path))
        kills = {first + 3, first + 9}
        figures = collect(plan, tmp_path, resume=True, on_progress=kill_one_at(kills, workers))
    assert 0 < first < 40
    assert (figures.kept, figures.failed, kills) == (40, 0, set())
    assert sorted(map(str, without_time(tmp_path))) == sorted(map(str, range(40)))
    asked = Counter(json.dumps(request["messages"]) for request in server.requests)
    assert max(asked.values()) == 1
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())
    assert figures.paid is not None
    assert figures.paid.requests == len(server.requests)


@pytest.mark.slow
def test_an_episode_that_hangs_is_given_up_with_its_worker(tmp_path: Path) -> None:
    plan = config(env="bad_world:BadCoin-v0", env_options={"hangs": "coin/hall/hall"}, episodes=18)
    figures = collect(plan, tmp_path, episode_seconds=1.5)
    hung = [p.task_id for p in plan.episodes_to_play() if p.task_id == "coin/hall/hall"]
    assert reasons(tmp_path) == {"coin/hall/hall": "TimeoutError: The episode took longer than 1.5 s."}
    assert (figures.kept, figures.failed) == (18 - len(hung), len(hung))


def test_an_episode_that_its_workers_die_of_fails_and_the_others_do_not(tmp_path: Path) -> None:
    plan = config(env="bad_world:BadCoin-v0", env_options={"kills": "coin/hall/hall"}, episodes=6, concurrency=1)
    figures = collect(plan, tmp_path)
    assert reasons(tmp_path) == {"coin/hall/hall": "ClusterError: 3 workers died under it: its process ended."}
    assert (figures.kept, figures.failed) == (5, 1)


def test_errors_travel_with_their_traceback(tmp_path: Path) -> None:
    plan = config(env="bad_world:BadCoin-v0", env_options={"fails": True}, episodes=8)
    with pytest.raises(EngineError, match="the coin is stuck") as error:
        collect(plan, tmp_path)
    assert any("in _act" in note for note in error.value.__notes__)


def test_a_worker_that_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from step_envs.collection import CollectConfig, collect\n"
        f"collect(CollectConfig(env='STeP-ALFWorld-v0', episodes=2, engine='processes'), {str(tmp_path / 'run')!r})\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "step_envs.errors.ClusterError: No worker can be started: its process ended before it was ready, and has printed "
        'why. In a script, collect in processes only under `if __name__ == "__main__":`, because each of them imports the '
        "script."
    )


@pytest.mark.slow
def test_the_engine_chosen_by_itself_takes_processes_for_long_runs_of_plain_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "processors", lambda: 2)
    seen: list[int] = []

    def count(progress: Progress, trajectory: Trajectory | None) -> None:
        seen.append(len(workers()))

    def most_workers(**changes: Any) -> int:
        seen.clear()
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        collect(config(**{"engine": "auto", "concurrency": 2, "episodes": 120} | changes), out, on_progress=count)
        return max(seen)

    assert most_workers() > 0
    assert most_workers(episodes=20) == 0
    assert most_workers(concurrency=1) == 0
    assert most_workers(agent="step_envs.agents.error_injection.inject_error:agent=oracle") == 0


def test_which_players_are_plain_python() -> None:
    assert config().is_plain_python()
    assert config(teacher=None).is_plain_python()
    assert not config(env="STeP-SciWorld-v0").is_plain_python()  # its engine is in a process of its own
    assert not config(agent="chat:model=m").is_plain_python()
    assert not config(teacher="openai:model=m").is_plain_python()


def start(out: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "step_envs.cli", "collect", "--out", str(out), "--engine", "processes", "--resume"]
    return subprocess.Popen(
        [*command, "--env", "own_world:Coin-v0", "--json", "--concurrency", "4", *options],
        env=os.environ | {"PYTHONPATH": PATHS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_temporary_folder_with_a_long_path_is_none_for_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "step_envs.cli",
        "collect",
        "--out",
        str(tmp_path / "run"),
        "--engine",
        "processes",
    ]
    with ChatServer(lambda request: Answer(verdict())) as server:
        teacher = f"openai:model=m,base_url={server.url}"
        done = subprocess.run(
            [*command, "--env", "own_world:Coin-v0", "--episodes", "4", "--teacher", teacher],
            env=os.environ | {"PYTHONPATH": PATHS, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(without_time(tmp_path / "run")) == 4


@pytest.mark.slow
def test_the_command_killed_interrupted_and_resumed(tmp_path: Path) -> None:
    options = ["--episodes", "20000", "--agent", "novice"]
    process = start(tmp_path, *options)
    wait_for_a_trajectory(process, tmp_path)
    playing = workers(process.pid)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(playing, timeout=30)
    assert playing
    assert not alive

    before = len(without_time(tmp_path))
    process = start(tmp_path, *options)
    while len(without_time(tmp_path)) <= before and process.poll() is None:
        time.sleep(0.1)
    # As a terminal does it: to everybody.
    os.killpg(process.pid, signal.SIGINT)
    _, complained = process.communicate(timeout=300)
    assert process.returncode == 130, complained
    assert "Add --resume" in complained
    assert not (tmp_path / "failures.jsonl").exists()
    kept = without_time(tmp_path)
    assert before < len(kept) < 20000


def test_a_second_ctrl_c_drops_the_episodes_in_flight(tmp_path: Path) -> None:
    def press(progress: Progress, trajectory: Trajectory | None) -> None:
        if progress.interrupts < 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        collect(config(episodes=20000), tmp_path, on_progress=press)
    assert 0 < len(without_time(tmp_path)) < 100
    assert not (tmp_path / "failures.jsonl").exists()
    assert not workers()
