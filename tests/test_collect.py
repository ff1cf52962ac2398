"""Collection: nothing lost, nothing twice, whatever is done to it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import own_world
import pytest
from children import wait_for_a_trajectory

from step_envs.collection import Cluster
from step_envs.collection import executors as engine_module
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.endpoint import Budget, EndpointConfig
from step_envs.errors import DependencyNotInstalled, StoreError, UnknownNameError
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


def config(**changes: Any) -> CollectConfig:
    return CollectConfig(**({"env": "Coin-v0", "episodes": 12, "agent": "novice:error_rate=0.4"} | changes))


def tasks(out: Path) -> list[tuple[int | None, str]]:
    return sorted((trajectory.episode, trajectory.task_id) for trajectory in read_trajectories(out))


def wanted(config: CollectConfig) -> list[tuple[int | None, str]]:
    return [(plan.episode, plan.task_id) for plan in config.episodes_to_play()]


def without_time(trajectory: Trajectory) -> dict[str, Any]:
    return trajectory.model_dump(exclude={"usage"})


def test_a_run_is_a_folder_of_four_files(tmp_path: Path) -> None:
    figures = collect(config(), tmp_path / "run")
    assert tasks(tmp_path / "run") == wanted(config())
    assert CollectConfig.read(tmp_path / "run" / "config.json") == config()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == figures.summary()
    assert summary["trajectories"] == 12
    assert summary["corrections"] > 0
    assert set(summary["by_task_type"]) == {"near", "far"}
    assert not (tmp_path / "run" / "failures.jsonl").exists()


def test_concurrency_changes_nothing_but_the_order(tmp_path: Path) -> None:
    for name, concurrency in (("one", 1), ("four", 4)):
        collect(config(), tmp_path / name, concurrency=concurrency)
    one, four = (
        sorted(map(without_time, read_trajectories(tmp_path / name)), key=lambda t: t["episode"])
        for name in ("one", "four")
    )
    assert one == four


def test_more_episodes_than_tasks_come_again_in_another_order() -> None:
    plans = config(episodes=18).episodes_to_play()
    first, second, third = ([plan.task_id for plan in plans[i : i + 6]] for i in (0, 6, 12))
    assert sorted(first) == sorted(second) == sorted(third)
    assert not first == second == third
    assert len({plan.seed for plan in plans}) == 18
    assert config(episodes=7).episodes_to_play() == plans[:7]


def test_the_tasks_can_be_named_whatever_their_split(tmp_path: Path) -> None:
    names = (config().episodes_to_play()[3].task_id, config(split="test").episodes_to_play()[0].task_id)
    named = config(tasks=names, episodes=4)
    assert sorted(plan.task_id for plan in named.episodes_to_play()) == sorted(names * 2)
    collect(named, tmp_path)
    assert {(t.task_id, t.split) for t in read_trajectories(tmp_path)} == {(names[0], "train"), (names[1], "test")}
    with pytest.raises(UnknownNameError, match="Unknown task 'nowhere'"):
        config(tasks=(*names, "nowhere")).episodes_to_play()
    with pytest.raises(ValueError, match="at least 1 item"):
        config(tasks=())


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    collect(config(episodes=2), tmp_path)
    with pytest.raises(StoreError, match="already holds a run: add --resume to go on with it, or name another folder"):
        collect(config(episodes=2), tmp_path)
    with pytest.raises(StoreError, match="was started with seed=0, not 1: resume it with the options"):
        collect(config(episodes=2, seed=1), tmp_path, resume=True)
    before = (tmp_path / "trajectories.jsonl").read_bytes()
    collect(config(episodes=2), tmp_path, resume=True)
    assert (tmp_path / "trajectories.jsonl").read_bytes() == before


def test_a_run_is_made_longer_and_never_shorter(tmp_path: Path) -> None:
    collect(config(episodes=5), tmp_path / "run")
    before = (tmp_path / "run" / "trajectories.jsonl").read_bytes()
    figures = collect(config(episodes=12), tmp_path / "run", resume=True)
    assert (figures.planned, figures.kept) == (12, 12)
    assert (tmp_path / "run" / "trajectories.jsonl").read_bytes().startswith(before)
    assert tasks(tmp_path / "run") == wanted(config(episodes=12))
    assert CollectConfig.read(tmp_path / "run" / "config.json").episodes == 12
    collect(config(episodes=12), tmp_path / "whole")
    long, whole = (
        {one.episode: without_time(one) for one in read_trajectories(tmp_path / name)} for name in ("run", "whole")
    )
    assert long == whole
    with pytest.raises(StoreError) as refused:
        collect(config(episodes=5), tmp_path / "run", resume=True)
    assert str(refused.value) == (
        f"The run in {tmp_path / 'run'} was started with episodes=12, not 5, and can only be made longer: ask for 12 or "
        "more episodes, or name another folder."
    )


def folder_content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


FOREIGN: list[dict[str, bytes]] = [
    {"trajectories.jsonl": b'{"a": 1}\n{"b": 2}'},
    {"trajectories.jsonl": b'{"a": 1}\n{"b": 2'},
    {"trajectories.jsonl": bytes(5000)},
    {"config.json": b'{"learning_rate": 1}', "model.bin": b"x"},
    {"config.json": b"[" * 100_000},
    {"config.json": b"\xff\xfe{\x00}\x00", "trajectories.jsonl": b"{"},
    {"config.json": b"", "trajectories.jsonl": b"half"},
]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_refused_folder_stays_as_it_was(content: dict[str, bytes], resume: bool, tmp_path: Path) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(StoreError):
        collect(config(episodes=1), tmp_path, resume=resume)
    assert folder_content(tmp_path) == content


@pytest.mark.parametrize("end", ["no line break", "half a line", "NUL bytes", "half a line of NUL bytes"])
def test_a_resumed_run_mends_the_end_of_its_file(end: str, tmp_path: Path) -> None:
    collect(config(), tmp_path)
    file = tmp_path / "trajectories.jsonl"
    *kept, last = file.read_bytes().splitlines(keepends=True)
    ends = {
        "no line break": last[:-1],
        "half a line": last[:-2],
        "NUL bytes": bytes(5000),
        "half a line of NUL bytes": last[:100] + bytes(5000) + b"\n",
    }
    file.write_bytes(b"".join(kept) + ends[end])
    collect(config(), tmp_path, resume=True)
    assert tasks(tmp_path) == wanted(config())
    assert file.read_bytes().startswith(b"".join(kept))
    if end == "no line break":
        assert file.read_bytes() == b"".join(kept) + last


def test_how_a_run_is_carried_out_may_differ_on_resume_and_is_kept(tmp_path: Path) -> None:
    collect(config(episodes=2), tmp_path, concurrency=2, episode_seconds=60)
    saved = CollectConfig.read(tmp_path / "config.json")
    assert saved == config(episodes=2, concurrency=2, episode_seconds=60)
    access = EndpointConfig(cache=tmp_path / "other.sqlite", budget=Budget.parse("5"))
    collect(saved, tmp_path, resume=True, concurrency=1, access=access)
    now = CollectConfig.read(tmp_path / "config.json")
    assert now == saved.with_changes(concurrency=1, cache=tmp_path / "other.sqlite", budget="5")


def test_changes_are_checked(tmp_path: Path) -> None:
    for changes, sentence in (
        ({"concurency": 2}, r"^Unknown setting 'concurency'\. Did you mean 'concurrency'\?$"),
        ({"concurrency": 0}, r"^concurrency must be at least 1, got 0\.$"),
        ({"episode_seconds": 0}, r"^episode_seconds must be more than 0, got 0\.0\.$"),
        ({"budget": "all"}, r"^A budget is dollars \(5 or \$5\) or tokens"),
        ({"engine": "rai"}, r"^Unknown engine 'rai'\. Did you mean 'ray'\?$"),
        ({"intervene": "never"}, r"^intervene: Input should be 'after' or 'before', got 'never'\.$"),
    ):
        with pytest.raises(ValueError, match=sentence):
            collect(config(), tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_cluster_is_given_as_an_object_or_field_by_field() -> None:
    cluster = Cluster(address="auto", cpus=0.5, memory=2**28, episodes_per_worker=2)
    changed = config().with_changes(cluster=cluster)
    fields = {"ray_address": "auto", "worker_cpus": 0.5, "worker_memory": 256, "worker_episodes": 2}
    assert changed == config(engine="ray", **fields)
    assert changed.cluster() == cluster


def test_a_start_that_fails_leaves_the_folder_free(tmp_path: Path) -> None:
    for wrong in ({"agent": "nope"}, {"teacher": "nope"}, {"env_options": {"foo": 1}}):
        with pytest.raises((UnknownNameError, ValueError)):
            collect(config(**wrong), tmp_path)
    assert list(tmp_path.iterdir()) == []
    collect(config(episodes=1), tmp_path)


def test_lines_that_do_not_belong_are_named(tmp_path: Path) -> None:
    collect(config(episodes=2), tmp_path)
    lines = (tmp_path / "trajectories.jsonl").read_bytes()
    (tmp_path / "trajectories.jsonl").write_bytes(lines + lines.splitlines(keepends=True)[0])
    with pytest.raises(StoreError, match=r"^Line 3 of .* is there already or belongs to another run"):
        collect(config(episodes=2), tmp_path, resume=True)


def test_wrong_names_are_found_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Unknown split 'tset'"):
        collect(config(split="tset"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_failed_episode_is_written_down_and_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine_module.rollout

    def sometimes(*args: Any, **kwargs: Any) -> Trajectory:
        if kwargs["episode"] == 3:
            raise RuntimeError("the power went out")
        return real(*args, **kwargs)

    monkeypatch.setattr(engine_module, "rollout", sometimes)
    figures = collect(config(), tmp_path)
    assert (figures.kept, figures.failed) == (11, 1)
    (failure,) = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert (failure["episode"], failure["reason"]) == (3, "RuntimeError: the power went out")
    assert "Traceback" in failure["detail"]
    monkeypatch.undo()
    collect(config(), tmp_path, resume=True)
    assert tasks(tmp_path) == wanted(config())


def test_a_set_up_that_never_works_is_an_error_not_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> Trajectory:
        raise RuntimeError("no engine")

    monkeypatch.setattr(engine_module, "rollout", never)
    with pytest.raises(RuntimeError, match="no engine"):
        collect(config(episodes=100), tmp_path)


def test_an_episode_that_takes_too_long_is_given_up_between_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = own_world.carry_out

    def slow(state: dict[str, Any], action: str) -> str | None:
        time.sleep(0.2 if state["coin"] == 2 else 0)
        return carry_out(state, action)

    monkeypatch.setattr(own_world, "carry_out", slow)
    figures = collect(config(episodes=6, agent="oracle"), tmp_path, concurrency=3, episode_seconds=0.3)
    assert 0 < figures.failed < 6
    failures = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert {failure["reason"] for failure in failures} == {"TimeoutError: The episode took longer than 0.3 s."}
    assert {failure["task_id"].split("/")[1] for failure in failures} == {"attic"}
    monkeypatch.undo()
    collect(config(episodes=6, agent="oracle"), tmp_path, resume=True)
    assert tasks(tmp_path) == wanted(config(episodes=6, agent="oracle"))


def test_a_cluster_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from step_envs.collection import ray_executor as ray_engine

    monkeypatch.setattr(ray_engine, "find_spec", lambda name: None)
    with pytest.raises(DependencyNotInstalled, match=r'run `pip install "step-envs\[ray\]"`'):
        collect(config(), tmp_path, engine="ray")


def run_command(out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "step_envs.cli", "collect", "--out", str(out), *options]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_and_resume(out: Path, options: list[str], kills: int, longest: float) -> None:
    rng = random.Random(5)
    for _ in range(kills):
        process = run_command(out, *options, "--resume")
        time.sleep(rng.uniform(0.1, longest))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = run_command(out, *options, "--resume")
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    options = ["--env", "own_world:Coin-v0", "--episodes", "400", "--agent", "novice:error_rate=0.5", "--seed", "3"]
    kill_and_resume(tmp_path / "run", options, kills=6, longest=2.5)
    expected = config(env="own_world:Coin-v0", episodes=400, agent="novice:error_rate=0.5", seed=3)
    assert tasks(tmp_path / "run") == wanted(expected)
    collect(expected, tmp_path / "whole")
    whole = {trajectory.episode: without_time(trajectory) for trajectory in read_trajectories(tmp_path / "whole")}
    assert {t.episode: without_time(t) for t in read_trajectories(tmp_path / "run")} == whole


@pytest.mark.slow
def test_sciworld_killed_eight_times_and_resumed(tmp_path: Path) -> None:
    options = ["--task-type", "lifespan-longest-lived", "--episodes", "20", "--agent", "novice", "--split", "dev"]
    kill_and_resume(tmp_path, options, kills=8, longest=4.5)
    expected = CollectConfig(
        env="STeP-SciWorld-v0",
        env_options={"task_types": ["lifespan-longest-lived"]},
        split="dev",
        episodes=20,
        agent="novice",
    )
    assert tasks(tmp_path) == wanted(expected)


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    options = ["--env", "own_world:Coin-v0", "--episodes", "20000"]
    process = run_command(tmp_path, *options)
    wait_for_a_trajectory(process, tmp_path)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130, printed
    assert "--resume" in printed
    assert (tmp_path / "trajectories.jsonl").read_bytes().endswith(b"\n")
    kept = len(list(read_trajectories(tmp_path)))
    assert 0 < kept < 20000
    assert json.loads((tmp_path / "summary.json").read_text())["trajectories"] == kept
