"""What an experiment will need: a sum over its steps from measured speeds, said before it starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.cli.reproduce import estimate_sentence
from step_envs.training.experiments.estimate import ExperimentEstimate, Speeds, step_seconds, summarize
from step_envs.training.experiments.presets import PRESETS, preset, with_changes
from step_envs.training.experiments.step_plan import plan_steps

# A model of 135 million parameters on one core, as measured.
SPEEDS = Speeds(
    parameters=135_000_000,
    train=0.02,
    read=0.005,
    write=0.01,
    episode=0.02,
    replies=10,
    tokens=1500,
    written=500,
    size=9000,
)


def estimate(chosen: Any, **changes: Any) -> ExperimentEstimate:
    return summarize(chosen, SPEEDS, **({"free": 10**12, "processors": 2} | changes))


def test_a_pretrained_model_in_the_preset_cpu_takes_days_and_the_sentence_says_so() -> None:
    two_seeds = with_changes(preset("cpu", model="folder"), {"seeds": [0, 1]})
    found = estimate(two_seeds, free=4 * 10**9)
    assert found.processor_seconds > 200 * 3600
    assert found.seconds == found.processor_seconds / 2
    # 14 models (a base agent and six arms with each seed), and two trainings at once with two checkpoints each.
    assert 14 * 4 * 135e6 < found.disk - 4 * 12 * 135e6 < 14 * 4 * 135e6 + 2e9
    assert estimate_sentence(found) == (
        f"A model of 135 million parameters: about {found.seconds / 86400:.0f} days here "
        f"({found.processor_seconds / 86400:.0f} days of processor time) and {found.disk / 1e9:.0f} GB of disk, "
        "estimated from a few timed steps. Only 4.0 GB are free: name another folder with --out, or make room. "
        "Shorter: fewer arms or seeds, or fewer steps, e.g. --set seeds=[0] --set training.max_steps=300."
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_step_that_does_something_takes_time(name: str) -> None:
    for step in plan_steps(preset(name)):
        nothing = step.kind in ("tasks", "original")
        assert (step_seconds(preset(name), step, SPEEDS) == 0) == nothing, step.name


def test_all_arms_take_the_same_time_to_train() -> None:
    chosen = preset("cpu")
    seconds = {step.name: step_seconds(chosen, step, SPEEDS) for step in plan_steps(chosen)}
    assert seconds["base@seed-0"] + seconds["train:sequential@seed-0"] == pytest.approx(seconds["train:step@seed-0"])
    assert seconds["train:d1@seed-0"] == seconds["train:step@seed-0"] == seconds["train:golden@seed-1"]


def test_more_seeds_steps_and_tasks_need_more() -> None:
    chosen = preset("cpu")
    before = estimate(chosen)
    for changes in ({"seeds": list(range(9))}, {"training.max_steps": 4000}, {"tasks": 14_000}, {"held_out": 504}):
        more = estimate(with_changes(chosen, changes))
        assert more.processor_seconds > before.processor_seconds
        assert more.disk >= before.disk
    assert estimate(chosen, processors=1).seconds == 2 * before.seconds


def test_a_short_experiment_is_said_in_short() -> None:
    found = ExperimentEstimate(parameters=40_000, processor_seconds=40, seconds=40, disk=3_000_000, free=10**9)
    assert estimate_sentence(found) == (
        "A model of 40 thousand parameters: about 40 seconds here (40 seconds of processor time) and 3.0 MB of disk, "
        "estimated from a few timed steps."
    )


@pytest.mark.train
@pytest.mark.slow
def test_a_dry_run_times_a_few_steps_and_writes_nothing(tmp_path: Path) -> None:
    for package in ("torch", "trl"):
        pytest.importorskip(package, reason="the extra train is not installed")
    command = ["reproduce", "--preset", "smoke", "--dry-run", "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert 20_000 < found["parameters"] < 100_000
    assert 0 < found["seconds"] < 3600
    assert list(tmp_path.iterdir()) == []
    result = CliRunner().invoke(app, [*command, "--model", str(tmp_path / "missing")])
    assert result.exit_code == 2
    assert "missing" in result.stderr
