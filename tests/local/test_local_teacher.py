"""A local checkpoint that judges: its own steps (``self``) or those of others, with one copy of the weights."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

from small_checkpoint import make_checkpoint

from step_envs.agents import make_agent
from step_envs.agents.local.agent import TransformersAgent
from step_envs.agents.local.batch import Batcher
from step_envs.agents.local.generation import GenerationRequest
from step_envs.agents.local.model import LocalModel
from step_envs.agents.local.shared import release_models
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers.making import make_teacher

pytestmark = pytest.mark.train

PLAN = ("go right", "take coin", "go left", "put coin in box")
FAR = {"task_id": "coin/study/hall"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint that can read a teacher's prompt, whose every few letters are a token."""
    return make_checkpoint(tmp_path_factory.mktemp("judge"), max_position_embeddings=1 << 15)


def config(folder: Path, **changes: Any) -> CollectConfig:
    settings: dict[str, Any] = {
        "env": "own_world:Coin-v0",
        "env_options": {"max_steps": 2},
        "episodes": 4,
        "agent": f"local:model={folder},max_tokens=6",
        "teacher": "self",
        "concurrency": 4,
    }
    return CollectConfig(**(settings | changes))


class Script:
    """Answers in the place of the weights: as an agent it is always wrong, as a teacher it knows the plan."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.asked: list[str] = []

    def __call__(self, ask: GenerationRequest) -> list[int]:
        prompt = self.model.text(ask.ids)
        self.asked.append(prompt)
        if "You are the teacher of an agent" not in prompt:
            return self.ids("Thought: up\nAction: fly")
        step = prompt.count("Action: fly") - 1
        said = {"status": "error", "error": "I cannot fly.", "reason": "I have no wings.", "reflection": "I walk."}
        return self.ids(f"Well:\n{json.dumps(said | {'corrected_action': PLAN[step], 'category': 'action'})}")

    def ids(self, text: str) -> list[int]:
        return list(self.model.tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.fixture
def script(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    release_models()
    made = Script(LocalModel.load(str(checkpoint), *cpu()))
    monkeypatch.setattr(Batcher, "submit", lambda self, ask: made(ask))
    return made


def cpu() -> tuple[Any, Any]:
    import torch

    return torch.device("cpu"), torch.float32


def kinds(trajectory: Trajectory) -> list[str]:
    return [turn.kind for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction"]


def test_a_model_that_judges_itself_rightly_leads_itself_to_success(
    checkpoint: Path, script: Script, tmp_path: Path
) -> None:
    options = {"env_options": {}, "tasks": (FAR["task_id"],), "episodes": 1, "max_errors": 9}
    collect(config(checkpoint, **options), tmp_path)
    (one,) = read_trajectories(tmp_path)
    assert one.success and kinds(one) == ["error", "correction"] * 4
    assert [turn.action for turn in one.turns if turn.kind == "correction"] == list(PLAN)
    verdicts = [turn.verdict for turn in one.turns if turn.verdict is not None]
    assert {verdict.category for verdict in verdicts if verdict.status == "error"} == {"action"}
    assert all(verdict.usage is not None and verdict.usage.completion_tokens > 20 for verdict in verdicts)
    assert one.teacher is not None
    assert (one.teacher.name, one.teacher.model, one.agent.name) == ("self", one.agent.model, "local")
    # The teacher's answer is not ended where an agent's reply would be, and may be longer than one.
    assert one.teacher.params["max_tokens"] == 512


def test_one_copy_of_the_weights_plays_and_judges_in_one_batch(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder of its own: an agent of another test may still hold the model of the other one.
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    loaded, rows = [], []
    load = LocalModel.load.__func__  # type: ignore[attr-defined]
    call = LocalModel.__call__

    def counting(cls: Any, *arguments: Any, **options: Any) -> Any:
        loaded.append(arguments)
        return load(cls, *arguments, **options)

    def noting(self: LocalModel, cache: Any, **inputs: Any) -> Any:
        rows.append(inputs["input_ids"].shape[0])
        return call(self, cache, **inputs)

    monkeypatch.setattr(LocalModel, "load", classmethod(counting))
    monkeypatch.setattr(LocalModel, "__call__", noting)
    monkeypatch.setattr("step_envs.agents.local.local_chat.LEAST_TOKENS", 8)
    collect(config(folder), tmp_path / "run")
    assert len(loaded) == 1
    assert max(rows) > 1
    found = list(read_trajectories(tmp_path / "run"))
    # Weights drawn at random write no verdict: all are unknown, and nothing is trained.
    assert len(found) == 4 and all(one.unknown_verdicts == len(kinds(one)) > 0 for one in found)
    assert not any(turn.loss for one in found for turn in one.turns)
    assert not (tmp_path / "run" / "bill.jsonl").exists() and not (tmp_path / "run" / "responses.sqlite").exists()
    assert "paid" not in json.loads((tmp_path / "run" / "summary.json").read_text())


def test_without_verdicts_on_unknown_decides(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step_envs.agents.local.local_chat.LEAST_TOKENS", 8)
    figures = collect(config(checkpoint, on_unknown="discard"), tmp_path)
    assert (figures.kept, figures.failed) == (0, 4)
    reasons = {json.loads(line)["reason"] for line in (tmp_path / "failures.jsonl").read_text().splitlines()}
    assert all(reason.startswith("The teacher gave no usable verdict. No usable answer") for reason in reasons)


def test_a_local_teacher_of_its_own_judges_any_agent(checkpoint: Path, script: Script) -> None:
    teacher = make_teacher(f"local:model={checkpoint}")
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), teacher, max_errors=9)
    env.reset(options=FAR)
    env.step("Thought: up\nAction: fly")
    assert kinds(env.trajectory) == ["error", "correction"]
    assert env.trajectory.teacher is not None and env.trajectory.teacher.name == "local"


def test_a_question_that_does_not_fit_has_no_verdict(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, max_position_embeddings=256)
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), make_teacher(f"local:model={folder}"))
    env.reset(options=FAR)
    env.step("Thought: so\nAction: look")
    (verdict,) = [turn.verdict for turn in env.trajectory.turns if turn.verdict is not None]
    assert verdict.status == "unknown"
    assert re.fullmatch(
        r"The question has \d+ tokens, but \S+ is to read and write at most 256\.", verdict.reason or ""
    )


def test_the_same_question_is_answered_alike_in_any_order(checkpoint: Path) -> None:
    agent = make_agent(f"local:model={checkpoint},temperature=1,seed=3")
    assert isinstance(agent, TransformersAgent)
    questions = [[{"role": "user", "content": text}] for text in ("a box", "a coin", "a hall")]

    def answers(order: list[int], **options: Any) -> dict[int, str]:
        chat = agent.chat
        return {number: chat.ask(questions[number], **options).text for number in order}

    first = answers([0, 1, 2])
    assert first == answers([2, 0, 1])
    assert len(set(first.values())) == 3
    assert answers([0], sample=1) != answers([0])


def test_what_a_local_teacher_does_not_take_is_said(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"top_p must be above 0 and at most 1, got 2\."):
        make_teacher(f"local:model={checkpoint},top_p=2")
    with pytest.raises(ValueError, match="The option 'model' is missing"):
        make_teacher("local")
