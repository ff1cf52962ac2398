"""``step-envs collect``."""

import json
from pathlib import Path

import pytest
from cli_calls import call

from step_envs.trajectory import Trajectory


@pytest.mark.slow
def test_collect_plays_the_tasks_of_a_file(tmp_path: Path) -> None:
    names = [f"generated-small/pick_and_place_simple/{seed}" for seed in (7, 2_000_007)]
    file = tmp_path / "tasks.txt"
    file.write_text("\n".join((*names, "")))
    common = ("collect", "--env", "STeP-ALFWorld-v0", "--tasks", file, "--episodes", 2, "--style", "plain")
    made = call(*common, "--agent", "oracle", "--env-option", "household=small", "--out", tmp_path / "run")
    assert made.exit_code == 0, made.output
    played = [Trajectory.from_json(line) for line in (tmp_path / "run" / "trajectories.jsonl").open()]
    assert sorted(t.task_id for t in played) == sorted(names)
    assert all(t.turns[0].kind == "instruction" and t.turns[1].kind == "expert" for t in played)
    file.write_text("\n")
    assert "names no task: write one id a line" in call(*common, "--out", tmp_path / "other").stderr
    file.unlink()
    assert "Cannot read the tasks in" in call(*common, "--out", tmp_path / "other").stderr


def test_collect_and_view_go_together(tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = call(
        "collect", "--out", out, "--task-type", "lifespan-longest-lived", "--episodes", 2, "--concurrency", 1, "--json"
    )
    assert made.exit_code == 0, made.output
    shown = json.loads(call("view", out, "--json").output)
    assert shown["summary"] == json.loads(made.stdout)
    assert len(shown["trajectories"]) == 2


def test_a_dry_run_without_a_model_costs_nothing(tmp_path: Path) -> None:
    common = ("collect", "--out", tmp_path / "run", "--env", "STeP-ALFWorld-v0", "--episodes", 5, "--dry-run")
    said = call(*common)
    assert (said.exit_code, said.stdout) == (
        0,
        "Neither agent nor teacher is a model behind an endpoint: this run costs nothing.\n",
    )
    assert json.loads(call(*common, "--json").stdout) == {"episodes": 5, "cost": 0.0, "requests": 0}
    assert not (tmp_path / "run").exists()
