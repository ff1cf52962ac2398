"""Run every example, and check its output."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import chat_agent
import own_agent
import own_teacher
import own_world
import pytest
import rl_loop
import scripted_agent
from chat_server import Answer, ChatServer

from step_envs.agents import make_agent
from step_envs.testing import check_text_env
from step_envs.wrappers.teachers.making import make_teacher

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        (scripted_agent, "24 of 24 tasks done"),
        (own_agent, "4 trajectories collected"),
        (own_teacher, "correction 1"),
        (own_world, "correction 1"),
    ],
)
def test_example_shows(module: ModuleType, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    module.main()
    assert shown in capsys.readouterr().out


def test_own_world_keeps_the_contract() -> None:
    check_text_env("Coin-v0")


def test_own_teacher_is_recorded_and_leads_to_success() -> None:
    trajectory = own_teacher.taught(seed=12)
    assert trajectory.teacher is not None and trajectory.teacher.name == "rules"
    assert trajectory.success and trajectory.errors == 3
    assert [turn.loss for turn in trajectory.turns if turn.kind == "error"] == [0, 0, 0]
    assert [turn.loss for turn in trajectory.turns if turn.kind == "correction"] == [1, 1, 1]


@pytest.mark.slow
def test_policy_improves_in_unseen_households(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = rl_loop.train(updates=50)
    assert outcome["before"] < 0.1
    assert outcome["after"] > 0.4


def test_a_model_plays(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def answer(request: dict[str, Any]) -> Answer:
        return Answer("Thought: I look.\nAction: look")

    with ChatServer(answer) as server:
        trajectories = chat_agent.play("a-model", server.url, episodes=2)
        asked = len(server.requests)
    assert [trajectory.stop_reason for trajectory in trajectories] == ["max_steps", "max_steps"]
    assert asked == sum(trajectory.steps for trajectory in trajectories) == 80
    assert trajectories[0].agent.model == "a-model"


def test_own_classes_are_named_by_their_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "step_envs.cli", "collect", "--env", "own_world:Coin-v0", "--episodes", "3"]
    command += ["--agent", "own_agent.CuriousAgent:boldness=0.3", "--teacher", "own_teacher.RuleTeacher:often=2"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
    done = subprocess.run(
        [*command, "--out", tmp_path / "coin", "--json"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout)["trajectories"] == 3
    first = json.loads((tmp_path / "coin" / "trajectories.jsonl").read_text().splitlines()[0])
    assert first["agent"] == {"name": "curious", "model": None, "params": {"boldness": 0.3}}
    assert first["teacher"] == {"name": "rules", "model": None, "params": {"often": 2}}


def test_unknown_classes_are_reported() -> None:
    with pytest.raises(
        ValueError, match=r"^The agent 'no_module\.Agent' cannot be found: No module named 'no_module'\. "
    ):
        make_agent("no_module.Agent")
    with pytest.raises(ValueError, match=r"has no attribute 'Nobody'\. Its module must be importable"):
        make_teacher("own_teacher.Nobody")
    with pytest.raises(ValueError, match=r"^The agent 'pathlib\.Path:' is a \w+, not a step_envs\.agents\.Agent\.$"):
        make_agent("pathlib.Path:")
    with pytest.raises(ValueError, match=r"is a Path\w*|is a \w+, not a step_envs\.wrappers\.teachers\.Teacher\.$"):
        make_teacher("pathlib.Path")
