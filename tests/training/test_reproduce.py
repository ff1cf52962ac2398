"""The whole experiment on its smallest preset: what each arm is trained on, and what it says about folders and settings."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

for package in ("torch", "trl", "matplotlib"):
    pytest.importorskip(package, reason="the extra train is not installed")

from step_envs.cli import app
from step_envs.store import read_trajectories
from step_envs.training.experiments.experiment_config import STEP_ARMS
from step_envs.training.experiments.folders import ExperimentFolders
from step_envs.training.experiments.presets import preset, with_changes
from step_envs.training.experiments.runner import run
from step_envs.training.experiments.step_plan import plan_steps
from step_envs.training.experiments.training_data import load_data

pytestmark = pytest.mark.train

WITHOUT_PRETRAINING = {"arms": ["step"], "seeds": [0]}


def call(*arguments: object):
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """All arms with two seeds."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done: list[str] = []
    run(preset("smoke"), out, notice=lambda step, what, figures: done.append(step.name) if what == "done" else None)
    assert sorted(done) == sorted(step.name for step in plan_steps(preset("smoke")))
    return out


def test_the_report_holds_every_arm_and_seed(whole):
    figures = json.loads((whole / "report" / "report.json").read_text())
    assert set(figures["arms"]) == set(STEP_ARMS)
    assert all(set(arm["seeds"]) == {"0", "1"} for arm in figures["arms"].values())
    assert all(one["episodes"] == 6 for arm in figures["arms"].values() for one in arm["seeds"].values())
    # The comparisons that were named before come first, as a family of their own.
    compared = [(one["first"], one["main"]) for one in figures["comparisons"]]
    assert compared[:2] == [("same-tasks", True), ("no-mask", True)]
    assert {first for first, main in compared if not main} == {"d1", "golden", "sequential"}
    assert figures["original"]["parameters"] > 20_000
    text = (whole / "report" / "report.md").read_text()
    assert all(arm["title"] in text for arm in figures["arms"].values())
    for name in ("success", "differences", "errors", "loss"):
        assert (whole / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG") and f"({name}.png)" in text
    assert json.loads((whole / "report" / "config.json").read_text()) == preset("smoke").model_dump(mode="json")


def test_every_arm_is_trained_on_what_it_is_called_after(whole):
    chosen = preset("smoke")
    found = load_data(chosen, ExperimentFolders(chosen, whole, 0))
    tasks = json.loads((whole / "seed-0" / "tasks.json").read_text())
    d1 = {trajectory.task_id for trajectory in found.d1()}
    d_r = {trajectory.task_id for trajectory in found.reflected.kept}
    assert d1 == set(tasks["u1"]) and d_r and d_r <= set(tasks["u2"])
    assert {trajectory.task_id for trajectory in found.golden_of_reflected_tasks()} == d_r
    assert all(trajectory.teacher and trajectory.agent.name == "local" for trajectory in found.reflected.kept)

    def rows(arm: str) -> dict:
        return json.loads((whole / "seed-0" / "arms" / arm / "model-rows.json").read_text())

    assert rows("d1")["trajectories"] == len(d1)
    assert rows("golden")["trajectories"] == chosen.tasks
    assert rows("same-tasks")["trajectories"] == rows("step")["trajectories"] == len(d1) + len(d_r)
    assert rows("sequential")["trajectories"] == len(d_r)
    # The mask is the only difference between these two.
    assert rows("step")["trajectories"] == rows("no-mask")["trajectories"]
    assert rows("step")["trained_tokens"] < rows("no-mask")["trained_tokens"]


def test_every_seed_is_a_replication(whole):
    """Two seeds share nothing: neither tasks nor weights, nor what the base agent did."""
    first, second = (whole / "seed-0", whole / "seed-1")
    tasks = [json.loads((folder / "tasks.json").read_text()) for folder in (first, second)]
    for name in ("u1", "u2", "held_out"):
        assert len(tasks[0][name]) == len(tasks[1][name]) and not set(tasks[0][name]) & set(tasks[1][name])
    for model in ("original", "pretrained", "base"):
        weights = [(folder / model / "model.safetensors").read_bytes() for folder in (first, second)]
        assert weights[0] != weights[1], model
    assert not (whole / "shared").exists()


def test_all_arms_take_the_same_steps_from_the_original_model(whole):
    chosen = preset("smoke")
    for arm in STEP_ARMS:
        record = json.loads((whole / "seed-1" / "arms" / arm / "model" / "finetune.json").read_text())
        before = chosen.base.max_steps if arm == "sequential" else 0
        assert record["figures"]["steps"] + before == chosen.training.max_steps
        assert record["model"] == str(whole / "seed-1" / ("base" if arm == "sequential" else "pretrained"))
        assert record["config"]["seed"] == 1


def test_every_arm_plays_the_held_out_tasks_and_is_not_taught(whole):
    tasks = json.loads((whole / "seed-0" / "tasks.json").read_text())
    for arm in STEP_ARMS:
        played = list(read_trajectories(whole / "seed-0" / "arms" / arm / "evaluation"))
        assert sorted(trajectory.task_id for trajectory in played) == sorted(tasks["held_out"])
        assert all(trajectory.teacher is None and trajectory.split == "valid_unseen" for trajectory in played)


def test_the_results_stay_and_the_checkpoints_of_the_trainer_do_not(whole):
    assert not list(whole.rglob("checkpoint-*"))
    for model in (*whole.glob("seed-*/pretrained"), *whole.glob("seed-*/base"), *whole.glob("seed-*/arms/*/model")):
        assert (model / "model.safetensors").exists() and (model / "finetune.json").exists()


def test_what_is_done_is_not_done_again(whole, monkeypatch):
    before = {file: file.read_bytes() for file in (whole / "report").iterdir()}
    kept: list[str] = []
    run(preset("smoke"), whole, resume=True, notice=lambda step, what, figures: kept.append(what))
    assert set(kept) == {"kept"}
    assert {file: file.read_bytes() for file in (whole / "report").iterdir()} == before


def test_a_folder_that_holds_something_is_not_overwritten(whole, tmp_path):
    result = call("--preset", "smoke", "--out", whole)
    assert result.exit_code == 2 and "already holds an experiment: add --resume to go on with it" in result.stderr
    result = call("--preset", "smoke", "--out", whole, "--resume", "--set", "held_out=12")
    assert result.exit_code == 2 and "was begun with held_out=6, not 12" in result.stderr
    (tmp_path / "diary.txt").write_text("x")
    result = call("--preset", "smoke", "--out", tmp_path)
    assert result.exit_code == 2 and "is not empty and holds no config.json" in result.stderr
    result = call("--preset", "smoke", "--out", tmp_path / "a,b")
    assert result.exit_code == 2 and "has a comma in its name" in result.stderr


def test_the_configuration_can_be_looked_at_first(tmp_path):
    result = call("--show", "--preset", "gpu", "--set", "seeds=[4]", "--out", tmp_path / "none")
    shown = json.loads(result.stdout)
    assert shown["seeds"] == [4] and shown["name"] == "gpu" and not (tmp_path / "none").exists()
    result = call("--show", "--set", "seedz=3", "--out", tmp_path)
    assert result.exit_code == 2 and "Did you mean 'seed', 'seeds'" in result.stderr


def test_the_report_can_be_made_again_from_its_records(whole, tmp_path):
    """The records of single seeds are enough, wherever they were run; and nothing that does not belong is merged."""
    report = whole / "report"
    for seed in (0, 1):
        folder = tmp_path / f"machine-{seed}"
        folder.mkdir()
        config = json.loads((report / "config.json").read_text()) | {"seeds": [seed]}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / f"seed-{seed}.json").write_bytes((report / f"seed-{seed}.json").read_bytes())
    machines = [tmp_path / "machine-1", tmp_path / "machine-0"]
    merged = call(*(word for one in machines for word in ("--merge", one)), "--out", tmp_path / "merged")
    assert merged.exit_code == 0, merged.stderr
    for file in report.iterdir():
        assert (tmp_path / "merged" / file.name).read_bytes() == file.read_bytes(), file.name
    twice = call("--merge", machines[0], "--merge", machines[0], "--out", tmp_path / "twice")
    assert twice.exit_code == 2 and "Seed 1 is in" in twice.stderr and "name it once" in twice.stderr
    config = json.loads((machines[1] / "config.json").read_text()) | {"max_steps": 25}
    (machines[1] / "config.json").write_text(json.dumps(config))
    other = call("--merge", machines[0], "--merge", machines[1], "--out", tmp_path / "other")
    assert other.exit_code == 2 and "is of another experiment: max_steps differ" in other.stderr
    none = call("--merge", tmp_path, "--out", tmp_path / "none")
    assert none.exit_code == 2 and "holds no report of an experiment" in none.stderr


@pytest.mark.slow
def test_an_experiment_grows_by_seeds_and_arms(whole, tmp_path):
    out = tmp_path / "run"
    small = with_changes(preset("smoke"), {"arms": ["step"], "seeds": [1]})
    run(small, out)
    done: list[str] = []
    grown = with_changes(preset("smoke"), {"arms": ["d1", "step"], "seeds": [0, 1]})
    run(grown, out, resume=True, notice=lambda step, what, figures: done.append(f"{what} {step.name}"))
    assert "kept train:step@seed-1" in done and "done train:d1@seed-1" in done and "done train:step@seed-0" in done
    for seed in (0, 1):
        record, before = (json.loads((folder / "report" / f"seed-{seed}.json").read_text()) for folder in (out, whole))
        assert record["arms"]["step"] == before["arms"]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("env", ["STeP-WebShop-v0", "STeP-SciWorld-v0"])
def test_the_same_experiment_in_the_other_worlds(env, tmp_path):
    changes = {"arms": ["same-tasks", "step", "dagger"], "seeds": [3], "pretraining.samples": 12}
    report = json.loads(
        (run(with_changes(preset("smoke", env=env), changes), tmp_path / "run") / "report.json").read_text()
    )
    assert report["env"] == env and set(report["arms"]) == {"same-tasks", "step", "dagger"}
    assert report["collected"]["3"]["golden"] > 6
    played = list(read_trajectories(tmp_path / "run" / "seed-3" / "arms" / "step" / "evaluation"))
    assert {one.split for one in played} == {"test"} and {one.env_id for one in played} == {env}


@pytest.mark.slow
def test_an_experiment_begins_with_a_model_on_disk(whole, tmp_path):
    chosen = preset("smoke", model=str(whole / "seed-0" / "pretrained"))
    chosen = with_changes(chosen, WITHOUT_PRETRAINING | {"style": "plain", "max_tokens": 16})
    report = json.loads((run(chosen, tmp_path / "run") / "report.json").read_text())
    assert report["original"] == {
        "model": str(whole / "seed-0" / "pretrained"),
        "parameters": report["original"]["parameters"],
    }
    assert not list((tmp_path / "run").glob("*/pretrained"))
