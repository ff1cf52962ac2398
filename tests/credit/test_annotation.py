"""``annotate`` writes values beside everything else of a run, goes on where it was stopped, and says what it found."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from step_envs.credit import AnnotateConfig, AnnotationFigures, annotate
from step_envs.errors import DataError, StoreError
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.trajectory import Trajectory

Run = Callable[..., Path]
ENV = "STeP-ALFWorld-v0"


def without_values(trajectory: Trajectory) -> Trajectory:
    turns = tuple(turn.model_copy(update={"value": None}) for turn in trajectory.turns)
    return trajectory.model_copy(update={"turns": turns, "valued_by": None})


def written(out: Path) -> list[Trajectory]:
    return list(read_trajectories(out))


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_everything_but_the_values_stays_as_it_was(runs: Run, tmp_path: Path, engine: str) -> None:
    sources = (runs(ENV, "after", 12), runs(ENV, "before"))
    figures = annotate(AnnotateConfig(runs=sources, concurrency=2, engine=engine), tmp_path / "out")
    found = written(tmp_path / "out")
    assert [without_values(one) for one in found] == [one for run in sources for one in read_trajectories(run)]
    assert {one.valued_by.name for one in found if one.valued_by} == {"oracle"}
    assert figures.trajectories == len(found) == 16
    assert figures.values == sum(turn.value is not None for one in found for turn in one.turns)
    # What was stopped before it ran took no step.
    errors = sum(one.errors for one in found if one.protocol["intervene"] == "after")
    assert figures.fell["error"] == figures.compared["error"] == errors
    assert figures.fell["correction"] == 0 < figures.compared["correction"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == figures.summary()


def test_threads_and_processes_give_the_same(runs: Run, tmp_path: Path) -> None:
    value = "rollouts:agent=novice:error_rate=0.4,n=2"
    for engine in ("threads", "processes"):
        config = AnnotateConfig(runs=(runs(ENV),), value=value, engine=engine, concurrency=2)
        annotate(config, tmp_path / engine)
    assert written(tmp_path / "threads") == written(tmp_path / "processes")


def test_an_annotation_that_was_stopped_goes_on(runs: Run, tmp_path: Path) -> None:
    config = AnnotateConfig(runs=(runs(ENV, "after", 12),), concurrency=2)
    annotate(config, tmp_path / "whole")

    class StoppedError(Exception):
        pass

    def stop(figures: AnnotationFigures) -> None:
        if figures.trajectories == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        annotate(config, tmp_path / "part", on_progress=stop)
    assert len(written(tmp_path / "part")) == 5
    annotate(config, tmp_path / "part", resume=True, concurrency=1)
    assert written(tmp_path / "part") == written(tmp_path / "whole")


def test_a_killed_annotation_goes_on_and_leaves_no_process(runs: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import sys, pathlib\n"
        "from step_envs.credit import annotate, AnnotateConfig\n"
        "if __name__ == '__main__':\n"
        "    value = 'rollouts:agent=novice:error_rate=0.4,n=4'\n"
        "    config = AnnotateConfig(runs=(pathlib.Path(sys.argv[1]),), value=value, concurrency=2, engine='processes')\n"
        "    annotate(config, sys.argv[2])\n"
    )
    (tmp_path / "program.py").write_text(program)
    run = runs(ENV, "after", 12)
    child = subprocess.Popen([sys.executable, tmp_path / "program.py", run, out], start_new_session=True)
    store = out / "trajectories.jsonl"
    _wait_for_lines(child, store)
    workers = psutil.Process(child.pid).children(recursive=True)
    assert workers
    child.kill()
    child.wait()
    assert not psutil.wait_procs(workers, 60)[1], "a worker outlives its parent"
    assert 0 < len(written(out)) < 12
    config = AnnotateConfig(runs=(run,), value="rollouts:agent=novice:error_rate=0.4,n=4")
    figures = annotate(config, out, resume=True)
    assert figures.trajectories == len(written(out)) == 12
    assert [one.episode for one in written(out)] == [one.episode for one in read_trajectories(run)]


def _wait_for_lines(child: "subprocess.Popen[bytes]", store: Path) -> None:
    """Wait for two lines: one that is being written when Ctrl-C comes is taken back."""
    while not store.exists() or store.read_bytes().count(b"\n") < 2:
        assert child.poll() is None
        time.sleep(0.02)


def test_folders_that_hold_something_else_are_refused(runs: Run, tmp_path: Path) -> None:
    out, run = tmp_path / "out", runs(ENV)
    annotate(AnnotateConfig(runs=(run,)), out)
    before = (out / "trajectories.jsonl").read_bytes()
    with pytest.raises(StoreError) as caught:
        annotate(AnnotateConfig(runs=(run,)), out)
    assert str(caught.value) == f"{out} already holds a run: add --resume to go on with it, or name another folder."
    with pytest.raises(StoreError) as caught:
        annotate(AnnotateConfig(runs=(run,), value="oracle:discount=0.9"), out, resume=True)
    assert str(caught.value) == (
        f"{out} was annotated with value='oracle', not 'oracle:discount=0.9': go on with the same options, or name another "
        "folder."
    )
    with pytest.raises(ValueError, match="is named twice"):
        annotate(AnnotateConfig(runs=(run, run)), tmp_path / "twice")
    with pytest.raises(StoreError, match="already holds a run"):
        annotate(AnnotateConfig(runs=(run,)), run)
    assert (out / "trajectories.jsonl").read_bytes() == before
    assert not (tmp_path / "twice").exists()


def test_a_source_that_has_changed_is_noticed(runs: Run, tmp_path: Path) -> None:
    first, *others = read_trajectories(runs(ENV))
    source = tmp_path / "source.jsonl"
    with TrajectoryStore(source) as store:
        store.append(first)
    annotate(AnnotateConfig(runs=(source,)), tmp_path / "out")
    source.unlink()
    with TrajectoryStore(source) as store:
        store.append(others[0])
    with pytest.raises(StoreError, match=r"Line 1 of .* they have changed\. Name another folder\.$"):
        annotate(AnnotateConfig(runs=(source,)), tmp_path / "out", resume=True)


def test_a_world_that_answers_differently_stops_it_and_what_was_written_stays(runs: Run, tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    with TrajectoryStore(source) as store:
        for number, trajectory in enumerate(read_trajectories(runs(ENV))):
            turns = list(trajectory.turns)
            place = next(place for place, turn in enumerate(turns) if turn.kind == "observation")
            if number == 2:
                turns[place] = turns[place].model_copy(update={"content": "Observation: A dragon."})
            store.append(trajectory.model_copy(update={"turns": tuple(turns)}))
    with pytest.raises(DataError, match="A dragon"):
        annotate(AnnotateConfig(runs=(source,), engine="threads"), tmp_path / "out")
    assert len(written(tmp_path / "out")) == 2


def test_values_are_read_back_from_disk_and_must_be_shares(runs: Run) -> None:
    trajectory = next(read_trajectories(runs(ENV)))
    turn = trajectory.turns[0].model_dump()
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="value"):
            Trajectory.model_validate(trajectory.model_dump() | {"turns": [turn | {"value": value}]})


def test_settings_that_do_not_fit(runs: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="values are computed on this machine, in threads or processes, got 'ray'"):
        annotate(AnnotateConfig(runs=(runs(ENV),)), tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_whole_lines(runs: Run, tmp_path: Path) -> None:
    run, out = runs(ENV, "after", 12), tmp_path / "out"
    command = [sys.executable, "-m", "step_envs.cli", "annotate", run, "--out", out]
    command += ["--value", "rollouts:agent=novice:error_rate=0.4,n=4"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    _wait_for_lines(child, out / "trajectories.jsonl")
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(120) == 130
    assert 0 < len(written(out)) < 12
