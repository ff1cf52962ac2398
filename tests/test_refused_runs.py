"""Runs whose models refuse or never answer: they end soon, say why on screen, and exit with a code that is not 0."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer, verdict

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.errors import EndpointDownError, EndpointError, RequestRefusedError
from step_envs.store import read_trajectories

HERE = Path(__file__).parent
LONG = Answer("This model's maximum context length is 9 tokens", status=400)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openai._constants, openai._base_client):
        monkeypatch.setattr(module, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY", 0.05)


def config(**changes: Any) -> CollectConfig:
    return CollectConfig(**({"env": "Coin-v0", "episodes": 50, "agent": "oracle", "teacher": None} | changes))


def teacher(server: ChatServer) -> str:
    return f"openai:model=m,base_url={server.url},max_retries=0"


@pytest.mark.parametrize("on_unknown", ["continue", "discard"])
def test_a_teacher_whose_every_request_is_refused_ends_the_run_with_the_words_of_the_server(
    tmp_path: Path, on_unknown: str
) -> None:
    with ChatServer([Answer("a strange thing", status=400)]) as server:
        with pytest.raises(EndpointDownError, match=r"were refused alike: .* It says: a strange thing$"):
            collect(config(teacher=teacher(server), on_unknown=on_unknown), tmp_path)
        assert len(server.requests) < 20


def test_a_used_up_quota_ends_the_run_at_once(tmp_path: Path) -> None:
    body = b'{"error": {"message": "Insufficient Balance", "code": "insufficient_quota"}}'
    with ChatServer([Answer(raw=body, status=429)]) as server:
        with pytest.raises(RequestRefusedError, match=r"It says: Insufficient Balance$"):
            collect(config(teacher=teacher(server)), tmp_path)
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [Answer("I would not know."), LONG], ids=["prose", "too long"])
@pytest.mark.parametrize("on_unknown", ["continue", "discard"])
def test_a_teacher_that_never_gives_a_verdict_ends_the_run(tmp_path: Path, answer: Answer, on_unknown: str) -> None:
    with ChatServer([answer]) as server:
        with pytest.raises(EndpointError, match=r"^The teacher has not given a single verdict"):
            collect(config(teacher=teacher(server), on_unknown=on_unknown), tmp_path)
        assert len(server.requests) < 100


def test_a_filter_that_takes_offence_costs_one_episode(tmp_path: Path) -> None:
    body = b'{"error": {"message": "flagged", "code": "content_filter"}}'
    with ChatServer([Answer(raw=body, status=400), Answer("Thought: so\nAction: look")]) as server:
        figures = collect(config(agent=f"chat:model=m,base_url={server.url}", episodes=3), tmp_path)
    assert (figures.kept, figures.failed) == (2, 1)
    assert figures.last_problem.endswith("It says: flagged")
    assert len(list(read_trajectories(tmp_path))) == 2


def run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "step_envs.cli", "collect", "--out", str(out), "--env", "own_world:Coin-v0"]
    path = os.pathsep.join([str(HERE), *sys.path])
    return subprocess.run(
        [*command, *options],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_the_command_says_that_a_teacher_never_answered_however_short_the_run(tmp_path: Path) -> None:
    with ChatServer([Answer("I would not know.")]) as server:
        done = run(tmp_path, "--teacher", teacher(server), "--episodes", "1", "--agent", "oracle")
    assert done.returncode == 1, done.stderr
    assert "The teacher has not given a single verdict, in 2 steps. No usable answer, even after asking" in done.stderr


@pytest.mark.slow
def test_the_command_says_why_episodes_fail_while_they_do(tmp_path: Path) -> None:
    agent = "chat:model=m,base_url=http://127.0.0.1:9/v1,max_retries=1"
    done = run(tmp_path, "--teacher", "none", "--episodes", "3", "--agent", agent)
    assert done.returncode == 1
    assert "does not answer (ConnectError); each request is sent up to 2 times." in done.stderr
    assert "An episode failed: http://127.0.0.1:9/v1 gave no usable answer" in " ".join(done.stdout.split())


def test_a_good_teacher_is_no_case_for_that(tmp_path: Path) -> None:
    with ChatServer([Answer(verdict())]) as server:
        figures = collect(config(teacher=teacher(server), episodes=6), tmp_path)
    assert figures.of_no_use() is None
    assert figures.judged > 0
