"""collect and eval name an outcome alike: the same sentence and the same exit code."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer
from typer.testing import CliRunner

from step_envs.agents import Agent, Reply
from step_envs.cli import app
from step_envs.collection.progress import Progress
from step_envs.trajectory import Actor, Trajectory, Turn, Verdict

GIVEN_UP = (
    "The agent has given up every episode before its first step: most often the instructions and max_tokens together do "
    "not fit into the model's context window."
)
LONG = Answer("This model's maximum context length is 9 tokens", status=400)
STRANGE = Answer("a strange thing", status=400)


class Quitter(Agent):
    """Has no room to say anything."""

    name = "quitter"

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        return None


def call(verb: str, tmp_path: Path, agent: str, *more: str) -> Any:
    command = [verb, "--env", "Coin-v0", "--agent", agent, "--out", str(tmp_path / verb), "--episodes", "3", *more]
    return CliRunner().invoke(app, [*command, "--teacher", "none"] if verb == "collect" else command)


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize("verb", ["collect", "eval"])
def test_an_agent_that_never_begins_is_said_and_is_no_success(verb: str, more: tuple[str, ...], tmp_path: Path) -> None:
    done = call(verb, tmp_path, f"{__name__}.Quitter", *more)
    assert done.exit_code == 1, done.output
    assert GIVEN_UP in " ".join(done.stderr.split())


def test_so_is_one_that_begins_inside_an_error(tmp_path: Path) -> None:
    done = call("eval", tmp_path, f"{__name__}.Quitter", "--recovery")
    assert done.exit_code == 1, done.output
    assert " ".join(done.stderr.split()) == GIVEN_UP


@pytest.mark.parametrize(("answer", "said"), [(LONG, "does not fit"), (STRANGE, "a strange thing")])
def test_a_model_that_refuses_everything_ends_both_alike(answer: Answer, said: str, tmp_path: Path) -> None:
    outcomes = []
    for verb in ("collect", "eval"):
        with ChatServer([answer]) as server:
            done = call(verb, tmp_path, f"chat:model=m,base_url={server.url},max_retries=0", "--concurrency", "1")
        assert said in done.output
        outcomes.append(done.exit_code)
    assert outcomes[0] == outcomes[1] != 0


def test_a_good_evaluation_says_nothing_of_it(tmp_path: Path) -> None:
    done = call("eval", tmp_path, "oracle")
    assert done.exit_code == 0
    assert "given up" not in done.output


def trajectory(*turns: Turn, **fields: Any) -> Trajectory:
    values: dict[str, Any] = {
        "env_id": "Coin-v0",
        "task_id": "t",
        "task_type": "near",
        "split": "train",
        "instruction": "i",
        "agent": Actor(name="a"),
        "score": 0.0,
        "success": False,
        "reward": 0.0,
        "steps": 1,
        "terminated": False,
        "truncated": True,
        "stop_reason": "agent_stopped",
        "errors": sum(turn.kind == "error" for turn in turns),
        "unknown_verdicts": 0,
    }
    return Trajectory(**values | fields, turns=turns)


@pytest.mark.parametrize(
    ("turns", "began"),
    [
        ((), False),
        ((Turn(role="assistant", content="x", kind="expert"),), False),
        ((Turn(role="assistant", content="x", kind="error"),), False),
        ((Turn(role="assistant", content="x", kind="agent"),), True),
        (
            (
                Turn(
                    role="assistant",
                    content="x",
                    kind="error",
                    verdict=Verdict(status="error", corrected_action="go left"),
                ),
            ),
            True,
        ),
    ],
)
def test_an_agent_has_begun_with_its_own_first_reply(turns: tuple[Turn, ...], began: bool) -> None:
    progress = Progress(planned=1)
    progress.add(trajectory(*turns))
    assert (progress.of_no_use() is None) == began
