"""The whole experiment on its smallest preset: what each arm is trained on, and what it says about folders and settings."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

for package in ("torch", "trl", "matplotlib"):
    pytest.importorskip(package, reason="the extra train is not installed")

from step_envs.cli import app
from step_envs.store import read_trajectories
from step_envs.training.experiments.presets import ARMS, preset, with_changes
from step_envs.training.experiments.runner import run
from step_envs.training.experiments.stages import load_data, plan_steps

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
    assert set(figures["arms"]) == set(ARMS)
    assert all(set(arm["seeds"]) == {"0", "1"} for arm in figures["arms"].values())
    assert all(one["episodes"] == 6 for arm in figures["arms"].values() for one in arm["seeds"].values())
    assert [one["first"] for one in figures["comparisons"]] == [arm for arm in ARMS if arm != "step"]
    assert figures["original"]["parameters"] > 20_000
    text = (whole / "report" / "report.md").read_text()
    assert all(arm["title"] in text for arm in figures["arms"].values())
    for name in ("success", "differences", "loss"):
        assert (whole / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG") and f"({name}.png)" in text
    assert json.loads((whole / "report" / "config.json").read_text()) == preset("smoke").model_dump(mode="json")


def test_every_arm_is_trained_on_what_it_is_called_after(whole):
    chosen = preset("smoke")
    found = load_data(chosen, whole)
    tasks = json.loads((whole / "tasks.json").read_text())
    d1 = {trajectory.task_id for trajectory in found.d1()}
    d_r = {trajectory.task_id for trajectory in found.reflected.kept}
    assert d1 == set(tasks["u1"]) and d_r and d_r <= set(tasks["u2"])
    assert {trajectory.task_id for trajectory in found.golden_of_reflected_tasks()} == d_r
    assert all(trajectory.teacher and trajectory.agent.name == "local" for trajectory in found.reflected.kept)

    def rows(arm: str) -> dict:
        return json.loads((whole / "arms" / arm / "seed-0" / "model-rows.json").read_text())

    assert rows("d1")["trajectories"] == len(d1)
    assert rows("golden")["trajectories"] == chosen.tasks
    assert rows("same-tasks")["trajectories"] == rows("step")["trajectories"] == len(d1) + len(d_r)
    assert rows("sequential")["trajectories"] == len(d_r)
    # The mask is the only difference between these two.
    assert rows("step")["trajectories"] == rows("no-mask")["trajectories"]
    assert rows("step")["trained_tokens"] < rows("no-mask")["trained_tokens"]


def test_all_arms_take_the_same_steps_from_the_original_model(whole):
    chosen = preset("smoke")
    for arm in ARMS:
        record = json.loads((whole / "arms" / arm / "seed-1" / "model" / "finetune.json").read_text())
        before = chosen.base.max_steps if arm == "sequential" else 0
        assert record["figures"]["steps"] + before == chosen.training.max_steps
        assert record["model"] == str(whole / ("base" if arm == "sequential" else "pretrained"))
        assert record["config"]["seed"] == 1


def test_every_arm_plays_the_held_out_tasks_and_is_not_taught(whole):
    tasks = json.loads((whole / "tasks.json").read_text())
    for arm in ARMS:
        played = list(read_trajectories(whole / "arms" / arm / "seed-0" / "evaluation"))
        assert sorted(trajectory.task_id for trajectory in played) == sorted(tasks["held_out"])
        assert all(trajectory.teacher is None and trajectory.split == "valid_unseen" for trajectory in played)


def test_the_results_stay_and_the_checkpoints_of_the_trainer_do_not(whole):
    assert not list(whole.rglob("checkpoint-*"))
    for model in (whole / "pretrained", whole / "base", *(whole / "arms").glob("*/seed-*/model")):
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
    result = call("--preset", "smoke", "--out", whole, "--resume", "--set", "seeds=[0]")
    assert result.exit_code == 2 and "was begun with seeds=(0, 1), not (0,)" in result.stderr
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


@pytest.mark.slow
def test_an_experiment_begins_with_a_model_on_disk(whole, tmp_path):
    chosen = preset("smoke", model=str(whole / "pretrained"))
    chosen = with_changes(chosen, WITHOUT_PRETRAINING | {"style": "plain", "max_tokens": 16})
    report = json.loads((run(chosen, tmp_path / "run") / "report.json").read_text())
    assert report["original"] == {"model": str(whole / "pretrained"), "parameters": report["original"]["parameters"]}
    assert not (tmp_path / "run" / "pretrained").exists()
