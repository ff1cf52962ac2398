"""The model made from nothing: a tokenizer that can write anything, and text to learn copying from."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="the extra train is not installed")

from step_envs.agents.local.chat_template import ChatTemplate
from step_envs.agents.local.continuation import find_continuation
from step_envs.training.experiments.worlds import experiment_world
from step_envs.training.tiny_model import ASSISTANT, END, SPECIAL, TinyModelSize, learn_tokenizer, make_tiny_model
from step_envs.training.tiny_model_text import copying_texts, language_rows
from step_envs.training.tokens import IGNORED, encoder_for
from step_envs.trajectory import Actor, Trajectory, Turn

pytestmark = pytest.mark.train

WORLD = experiment_world("STeP-ALFWorld-v0")
TEXTS = [
    "You arrive at fridge 1. The fridge 1 is closed.",
    "Thought: Goal: hot apple in fridge; no apple yet, try fridge 1.\nAction: go to fridge 1",
    "On the countertop 2, you see a apple 1, a knife 3, and a saltshaker 1.",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS, WORLD.names(()), 1024)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60))
def test_any_text_comes_back(tokenizer, text):
    assert not any(special in text for special in SPECIAL)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text.encode("utf-8", "replace").decode()


def test_names_and_numbers_are_tokens_by_themselves(tokenizer):
    words = tokenizer.convert_tokens_to_string
    for name in WORLD.names(()):
        tokens = tokenizer.tokenize(f"see a {name} 1, and")
        assert f" {name}" in [words([token]) for token in tokens] and " 1" in [words([token]) for token in tokens]
    # What stands between them grew together.
    assert "You arrive at" in [words([token]) for token in tokenizer.tokenize(TEXTS[0])]
    # A name within a word is none.
    assert tokenizer.tokenize("panic") and " pan" not in tokenizer.tokenize("a panic")


def test_the_template_shows_a_model_what_it_will_be_asked(tokenizer):
    messages = [
        {"role": "user", "content": "Your task.", "loss": 0.0},
        {"role": "assistant", "content": "Thought: so\nAction: look", "loss": 0.0},
        {"role": "user", "content": "Observation: Nothing happens.", "loss": 0.0},
        {"role": "assistant", "content": "Thought: then\nAction: go", "loss": 1.0},
    ]
    continuation = find_continuation(ChatTemplate(tokenizer), messages, 3)
    assert continuation.as_rendered and continuation.prompt.endswith(ASSISTANT)
    assert continuation.text == f"Thought: then\nAction: go{END}"
    encoder = encoder_for(tokenizer)
    assert encoder.report.mode == "conversation"
    (sample,) = encoder.encode(messages)
    trained = [label for label in sample["labels"] if label != IGNORED]
    assert tokenizer.decode(trained) == continuation.text


def test_the_checkpoint_is_as_large_as_asked_for(tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_tiny_model(tokenizer, TinyModelSize(width=32, layers=2, heads=2, context=128), tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(str(folder))
    assert model.num_parameters() == 32 * len(tokenizer) + 2 * (4 * 32 * 32 + 3 * 32 * 80 + 2 * 32) + 32
    assert AutoTokenizer.from_pretrained(str(folder)).chat_template == tokenizer.chat_template
    weights = (folder / "model.safetensors").read_bytes()
    again = make_tiny_model(tokenizer, TinyModelSize(width=32, layers=2, heads=2, context=128), tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == weights
    with pytest.raises(ValueError, match="3 heads do not divide a width of 32"):
        make_tiny_model(tokenizer, TinyModelSize(width=32, heads=3), tmp_path / "other")


def test_a_numbered_name_begins_as_its_name_and_its_number(tmp_path):
    from transformers import AutoModelForCausalLM

    tokenizer = learn_tokenizer(TEXTS, WORLD.names(TEXTS), 1024)
    folder = make_tiny_model(tokenizer, TinyModelSize(width=32, layers=2, heads=2, context=128), tmp_path / "model")
    weights = AutoModelForCausalLM.from_pretrained(str(folder)).get_input_embeddings().weight
    whole, name, number = (
        weights[tokenizer.convert_tokens_to_ids(token)] for token in ("ĠfridgeĠ1", "Ġfridge", "Ġ1")
    )
    assert (whole == name + number).all()


def test_copying_sequences_can_be_answered_from_themselves():
    texts = list(copying_texts(WORLD.copied_names(()), 200, seed=3))
    assert (
        texts
        == list(copying_texts(WORLD.copied_names(()), 200, seed=3))
        != list(copying_texts(WORLD.copied_names(()), 200, seed=4))
    )
    pairs = [text for text in texts if ":" in text]
    assert 80 < len(pairs) < 160
    for text in pairs:
        told, asked = (dict(re.findall(r" (\w+ \d):  ?(\w+ \d)", part)) for part in text.split("."))
        assert asked and asked.items() <= told.items()
    for text in set(texts) - set(pairs):
        items = text.split(",")
        assert len(set(items)) <= 12 and len(set(items)) < len(items)


def test_a_language_model_is_trained_on_every_token_but_the_first(tokenizer):
    turns = (
        Turn(role="user", content=TEXTS[0], kind="instruction"),
        Turn(role="assistant", content=TEXTS[1], kind="agent"),
    )
    conversation = Trajectory(
        env_id="x", task_id="x", task_type="x", split="train", instruction="", agent=Actor(name="x"), turns=turns,
        score=0, success=False, reward=0, steps=1, terminated=False, truncated=True, stop_reason="max_steps",
        errors=0, unknown_verdicts=0,
    )  # fmt: skip
    rows = language_rows(tokenizer, [conversation], [TEXTS[2]], max_length=16)
    assert all(len(row["input_ids"]) <= 16 and row["labels"] == [IGNORED, *row["input_ids"][1:]] for row in rows)
    whole = tokenizer.decode([number for row in rows for number in row["input_ids"]])
    assert whole == f"<|user|>{TEXTS[0]}{END}{ASSISTANT}{TEXTS[1]}{END}{TEXTS[2]}{END}"
