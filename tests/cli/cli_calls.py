"""What the tests of the command share: ways to call it, and trajectories to look at."""

import os
import re
import subprocess
import sys
from typing import Any

from typer.testing import CliRunner, Result

from step_envs.cli import app
from step_envs.trajectory import Actor, Kind, Role, Trajectory, Turn, Verdict

COMMAND = [sys.executable, "-c", "from step_envs.cli import main; main()"]
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31mred [red]markup[/red] [/] \u202edrawkcab\u202c \x00\x9b5A\rover"
DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
STYLES = re.compile("\x1b\\[[0-9;]*m")
VERBS = tuple(command.name for command in app.registered_commands)


def call(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "100"} | environment
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=env, check=False
    )


def turn(role: Role, content: str, kind: Kind, loss: float = 0.0, **more: Any) -> Turn:
    return Turn(role=role, content=content, kind=kind, loss=loss, **more)


def trajectory(task_id: str = "boil/3", text: str = "a room", **changes: Any) -> Trajectory:
    wrong = Verdict(status="error", error="Wrong.", reason=text, reflection="Look.", corrected_action="look")
    turns = (
        turn("user", f"manual {text} " + "word " * 200, "instruction"),
        turn("assistant", "OK", "instruction"),
        turn("user", f"Boil water. {text}", "instruction", score=0.0),
        turn("assistant", f"Action: jump {text}", "error", action="jump", reward=0.0, score=0.0, verdict=wrong),
        turn("user", f"Observation: no. {text}", "observation"),
        turn("assistant", f"Thought: Wrong. {text} Look.\nAction: look", "correction", 1.0, reward=0.5, score=0.5),
        turn("user", f"Observation: {text}", "observation"),
        turn("assistant", "Action: boil", "agent", 0.0, score=0.5, verdict=Verdict(status="unknown", reason=text)),
        turn("user", "Observation: done", "observation"),
        turn("assistant", "Action: wait", "agent", 1.0, reward=0.5, score=1.0, verdict=Verdict(status="ok")),
        turn("user", "Observation: it boils", "observation"),
    )
    fields: dict[str, Any] = {
        "env_id": "STeP-SciWorld-v0",
        "task_id": task_id,
        "task_type": "boil",
        "split": "train",
        "instruction": text,
        "agent": Actor(name="novice"),
        "teacher": Actor(name="oracle"),
        "turns": turns,
        "score": 1.0,
        "success": True,
        "reward": 1.0,
        "steps": 4,
        "terminated": True,
        "truncated": False,
        "stop_reason": "success",
        "errors": 1,
        "unknown_verdicts": 1,
    }
    return Trajectory(**(fields | changes))


def failure(task_id: str, **changes: Any) -> Trajectory:
    lost: dict[str, Any] = {
        "turns": trajectory().turns[:5],
        "unknown_verdicts": 0,
        "success": False,
        "score": 0.25,
        "reward": 0.25,
        "stop_reason": "max_errors",
    }
    return trajectory(task_id, **(lost | changes))
