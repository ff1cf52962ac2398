"""The benchmark of value functions: its figures by hand, what a tiny model reads, and the script at its smallest size."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("torch", "trl", "matplotlib", "psutil"):
    pytest.importorskip(package, reason="needs the extras train and dev")

from made_episodes import make_episode

from step_envs.collection import CollectConfig, collect
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import credit_figures

    return credit_figures


@pytest.fixture
def tiny_agent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import tiny_agent

    return tiny_agent


def episode(values: list[float | None], *, ended: bool = True) -> Trajectory:
    made = make_episode(["Action: look"] * (len(values) - 1), 1.0, values=values)
    return made.model_copy(update={"terminated": ended})


def test_states_are_those_that_run_on_and_that_all_have_valued(figures) -> None:
    exact = [episode([0.81, 0.9, 1.0]), episode([0.9, 0.0, 0.9], ended=False)]
    other = [episode([0.5, None, 1.0]), episode([0.4, 0.3, 0.2], ended=False)]
    states = figures.common_states({"oracle": exact, "novice": other}, 0.9)
    assert [(state.episode, state.distance, state.values["novice"]) for state in states] == [
        (0, 2, 0.5),  # the second state has no value by the novice, the third is the end
        (1, 1, 0.4),
        (1, None, 0.3),  # no way from here
        (1, 1, 0.2),
    ]


def test_agreement_of_values_in_the_same_order(figures) -> None:
    exact = [episode([0.9**far for far in (5, 4, 3, 2, 0)]) for _ in range(4)]
    lower = [episode([0.5 * 0.9**far for far in (5, 4, 3, 2, 0)]) for _ in range(4)]
    states = figures.common_states({"oracle": exact, "novice": lower}, 0.9)
    found = figures.agreement_figures(states, "novice")
    assert found["spearman_value"] == pytest.approx([1, 1, 1])
    assert found["spearman_distance"] == pytest.approx([-1, -1, -1])
    assert found["spearman_within"] == pytest.approx(1)
    assert found["equal"] == 0
    assert found["difference"] == pytest.approx(sum(0.5 * 0.9**far for far in (5, 4, 3, 2)) / 4)
    assert figures.agreement_figures(states, "oracle")["equal"] == 1


def test_values_that_are_all_equal_have_no_rank_correlation(figures) -> None:
    exact, never = [episode([0.81, 0.9, 1.0])] * 2, [episode([0.0, 0.0, 0.0])] * 2
    states = figures.common_states({"oracle": exact, "tiny": never}, 0.9)
    found = figures.agreement_figures(states, "tiny")
    assert found["spearman_value"] is None
    assert found["spearman_distance"] is None
    assert found["spearman_within"] is None
    ways = {"tiny": found | {"states_per_cpu_second": 10.0, "states_per_second": 5.0}}
    row = figures.table({"worlds": {"alfworld": {"title": "ALFWorld", "ways": ways}}}).splitlines()[2]
    assert row.count("none: all values are equal") == 3


def test_an_interval_counts_episodes_and_not_states(figures) -> None:
    """Two kinds of episodes that contradict each other: however many states they have, two episodes show little."""
    up, down = episode([0.5, 0.6, 0.7, 0.8, 1.0]), episode([0.8, 0.7, 0.6, 0.5, 1.0])
    exact = [episode([0.9**4, 0.9**3, 0.9**2, 0.9, 1.0])] * 2
    states = figures.common_states({"oracle": exact, "novice": [up, down]}, 0.9)
    found = figures.agreement_figures(states, "novice")
    assert found["spearman_value"][1:] == pytest.approx([-1, 1])
    assert found["spearman_within"] == pytest.approx(0)


@pytest.mark.parametrize("env_id", ["STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0"])
def test_the_short_form_leads_back_to_the_action_of_the_world(env_id: str, tiny_agent, tmp_path: Path) -> None:
    tasks = {"task_types": ["find-animal"]} if env_id == "STeP-SciWorld-v0" else {}
    config = CollectConfig(env=env_id, env_options=tasks, episodes=4, agent="oracle", teacher=None, style="plain")
    collect(config, tmp_path / "run")
    opened = 0
    for trajectory in read_trajectories(tmp_path / "run"):
        messages = [{"role": turn.role, "content": turn.content} for turn in trajectory.turns]
        form = tiny_agent.short_form_of(env_id, [trajectory])
        short = form.messages(messages)
        assert [one["role"] for one in short] == [one["role"] for one in messages]
        assert sum(len(one["content"]) for one in short) < sum(len(one["content"]) for one in messages)
        for place, turn in enumerate(trajectory.turns):
            if turn.role == "assistant":
                said = short[place]["content"].removeprefix("Action: ")
                assert form.action(said, messages[:place]) == turn.action
                opened += re.fullmatch(r"click\[\d+\]", said) is not None
    assert (opened > 0) == (env_id == "STeP-WebShop-v0")


@pytest.mark.slow
def test_the_script_measures_every_way_and_goes_on_where_it_was(tmp_path: Path) -> None:
    small = ["--states", "12", "--n", "1", "--golden", "12", "--observed", "8"]
    steps = ["--model-steps", "2", "--estimator-steps", "2"]
    world_only = ["--worlds", "alfworld", *small, *steps]

    def call(out: Path, *further: str) -> dict:
        command = [sys.executable, "benchmarks/credit.py", "--out", str(out), *world_only, *further]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads((out / "results.json").read_text())

    first = call(tmp_path)
    world = first["worlds"]["alfworld"]
    assert list(world["ways"]) == ["oracle", "never-errs", "novice", "tiny", "estimator"]
    assert world["replies"] >= 12
    assert world["ways"]["never-errs"]["equal"] == 1.0
    assert world["ways"]["never-errs"]["spearman_value"][0] == pytest.approx(1)
    assert all(one["valued"] == world["ways"]["oracle"]["valued"] for one in world["ways"].values())
    assert world["tiny_model"]["episodes"] == len(
        {one.task_id for one in read_trajectories(tmp_path / "alfworld/played")}
    )
    pictures = [tmp_path / f"alfworld.{ending}" for ending in ("svg", "png")]
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    assert (tmp_path / "table.md").read_text().count("| ALFWorld |") == 5
    made = (tmp_path / "alfworld/tiny/model.safetensors").stat().st_mtime_ns
    assert call(tmp_path) == first
    assert (tmp_path / "alfworld/tiny/model.safetensors").stat().st_mtime_ns == made
    again = call(tmp_path / "again", "--model", f"alfworld={tmp_path / 'alfworld/tiny'}")["worlds"]["alfworld"]
    assert not (tmp_path / "again/alfworld/tiny").exists()
    # Not what the model does: at temperature 1, the last digits of a number can decide a token, and they depend on batches.
    assert again["tiny_model"]["episodes"] == world["tiny_model"]["episodes"]
    for way in ("oracle", "never-errs", "novice"):
        assert again["ways"][way]["spearman_value"] == world["ways"][way]["spearman_value"]
