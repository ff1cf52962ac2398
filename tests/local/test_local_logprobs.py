"""Logprobs of a local checkpoint: those of its own distribution, whatever else is in the batch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import own_world  # noqa: F401  (registers Coin-v0)
import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

import torch
import transformers
from small_checkpoint import make_checkpoint

from step_envs.agents import make_agent
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.generation import GenerationRequest
from step_envs.agents.local.shared import shared_batcher
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.store import read_trajectories

pytestmark = pytest.mark.train

MESSAGES = [{"role": "user", "content": "Put coin into the box."}]


def plain_logprobs(folder: Path, prompt: list[int], reply: list[int]) -> list[float]:
    """Read prompt and reply in one pass, alone, and look up each token of the reply."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + reply]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(reply)[:, None])[:, 0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_they_are_those_of_the_model_before_temperature_alone_and_in_a_batch(
    checkpoint: Path, temperature: float
) -> None:
    batcher = shared_batcher(str(checkpoint))
    prompt = batcher.model.prompt(MESSAGES)

    def ask(length: int, noted: list[float] | None) -> tuple[list[int], list[float] | None]:
        request = GenerationRequest(PrefixCache(), prompt[-length:], 12, lambda reply: False, temperature, 0.9)
        request.logprobs = noted
        return batcher.submit(request), noted

    with ThreadPoolExecutor(4) as pool:
        asked = [(len(prompt), []), (9, None), (len(prompt), []), (5, [])]
        answers = list(pool.map(lambda one: ask(*one), asked))
    assert answers[1][1] is None
    for length, (reply, noted) in zip((len(prompt), 9, len(prompt), 5), answers, strict=True):
        if noted is not None:
            # One more where a token ended the reply that is not part of it.
            assert len(noted) in (len(reply), len(reply) + 1)
            expected = plain_logprobs(checkpoint, prompt[-length:], reply)
            assert noted[: len(reply)] == pytest.approx(expected, abs=1e-3)


def test_the_texts_of_tokens_are_the_text(checkpoint: Path) -> None:
    model = shared_batcher(str(checkpoint)).model
    for text in ("Thought: a\nAction: look", "a€𝄞b\n", "é"):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens = model.token_texts(ids, [-1.0] * len(ids))
        assert tokens is not None
        assert "".join(piece for piece, _ in tokens) == text
        assert sum(number for _, number in tokens) == -len(ids)
    # Special tokens leave no trace in the text, so that nobody could say where their logprob belongs.
    start = model.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert model.token_texts([*ids, start, *ids], [-1.0] * 9) is None


def test_a_run_records_them_where_the_text_is_as_it_was_sampled(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", max_position_embeddings=1 << 13)
    settings: dict[str, Any] = {"env": "own_world:Coin-v0", "env_options": {"max_steps": 3}, "teacher": None}
    agent = f"local:model={folder},temperature=1,max_tokens=6"
    collect(CollectConfig(agent=agent, logprobs=True, episodes=3, **settings), tmp_path / "on")
    collect(CollectConfig(agent=agent, episodes=3, **settings), tmp_path / "off")
    on, off = (list(read_trajectories(tmp_path / name)) for name in ("on", "off"))
    having = [turn for one in on for turn in one.turns if turn.logprobs is not None]
    assert having and all("".join(text for text, _ in turn.logprobs or ()) == turn.content for turn in having)
    assert not any(turn.logprobs for one in off for turn in one.turns)
    # To ask for them changes nothing of what is sampled.
    assert [[turn.content for turn in one.turns] for one in on] == [[turn.content for turn in one.turns] for one in off]
    assert make_agent(agent).describe().params.get("logprobs") is None
