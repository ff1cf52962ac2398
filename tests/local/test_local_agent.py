"""The local agent says the same alone and in a batch, with a kept cache and without, and stops where it must."""

import gc
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

import torch
from small_checkpoint import FORGETFUL, make_checkpoint, plain_greedy

from step_envs.agents import make_agent
from step_envs.agents.chat import until_stop
from step_envs.agents.local.agent import TransformersAgent
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.generation import GenerationRequest, next_tokens
from step_envs.agents.local.shared import release_models
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.errors import DataError, EngineError, TemplateError
from step_envs.store import read_trajectories

pytestmark = pytest.mark.train


class Talk:
    """As much of a chat environment as an agent looks at."""

    def __init__(self, number: int, turns: int = 4) -> None:
        self.number, self.turns = number, turns
        self.messages = [
            {"role": "user", "content": "You tidy a house."},
            {"role": "assistant", "content": "OK"},
            {"role": "user", "content": f"Put coin {number} into the box. " + "There is a box. " * (number % 7)},
        ]

    def get_wrapper_attr(self, name: str) -> Any:
        assert name == "messages"
        return self.messages

    def play(self, agent: TransformersAgent) -> list[str]:
        said = []
        agent.begin(self, np.random.default_rng(self.number))  # type: ignore[arg-type]
        for turn in range(self.turns):
            reply = agent.act(self)  # type: ignore[arg-type]
            assert reply is not None
            said.append(reply.text)
            self.messages.append({"role": "assistant", "content": reply.text})
            self.messages.append({"role": "user", "content": f"Observation: Done {turn}." * (1 + self.number % 3)})
        return said


def together(folder: Path, talks: int, threads: int, **options: Any) -> list[list[str]]:
    own = threading.local()

    def one(number: int) -> list[str]:
        if not hasattr(own, "agent"):
            own.agent = TransformersAgent(str(folder), **options)
        return Talk(number, turns=2 + number % 4).play(own.agent)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(talks)))


@pytest.mark.parametrize("template", [None, FORGETFUL])
def test_what_is_said_does_not_depend_on_batch_and_cache(
    checkpoint: Path, tmp_path: Path, template: str | None
) -> None:
    folder = checkpoint if template is None else make_checkpoint(tmp_path, template=template)
    alone = [
        Talk(number, turns=2 + number % 4).play(TransformersAgent(str(folder), max_tokens=24)) for number in range(12)
    ]
    assert len({tuple(said) for said in alone}) == 12
    for threads, batch in ((1, 1), (12, 64), (7, 3)):
        assert together(folder, 12, threads, max_tokens=24, batch=batch) == alone


def test_it_says_what_the_model_says_when_it_reads_everything_anew(checkpoint: Path) -> None:
    talk = Talk(3)
    agent = TransformersAgent(str(checkpoint), max_tokens=20)
    for _ in range(3):
        expected = agent._model.text(plain_greedy(checkpoint, talk.messages, 20))
        reply = agent.act(talk)  # type: ignore[arg-type]
        assert reply is not None
        assert reply.text == until_stop(expected)
        talk.messages += [
            {"role": "assistant", "content": reply.text},
            {"role": "user", "content": "Observation: Nothing happens."},
        ]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "Mistral", "sliding_window": 24},
        {"kind": "Gemma2", "sliding_window": 16, "head_dim": 8},
        {"kind": "Mamba", "state_size": 8},
        {"kind": "Lfm2", "layer_types": ["conv", "full_attention"]},
    ],
    ids=["sliding", "mixed", "no keys and values", "some keys and values"],
)
def test_models_of_other_kinds(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = make_checkpoint(tmp_path, **changes)
    alone = [Talk(number, turns=2).play(TransformersAgent(str(folder), max_tokens=8)) for number in range(5)]
    talk = Talk(1)
    first = TransformersAgent(str(folder), max_tokens=8)
    assert alone[1][0] == until_stop(first._model.text(plain_greedy(folder, talk.messages, 8)))
    own = [TransformersAgent(str(folder), max_tokens=8) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda n: Talk(n, turns=2).play(own[n]), range(5))) == alone
    assert (first._model.cache is None) == (changes["kind"] in ("Mamba", "Lfm2"))


def test_only_what_is_new_is_read(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = TransformersAgent(str(checkpoint), max_tokens=6)
    read: list[int] = []
    model = agent._model._model
    forward = model.forward

    def counting(*args: Any, **kwargs: Any) -> Any:
        read.append(kwargs["input_ids"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    talk = Talk(5, turns=3)
    talk.play(agent)
    prompts = [number for number in read if number > 1]
    assert len(prompts) == 3
    whole = len(agent._model.prompt(talk.messages))
    assert prompts[0] > 40
    assert sum(prompts) < whole
    assert max(prompts[1:]) < 50 < whole / 2


def test_kept_caches_are_bounded(checkpoint: Path) -> None:
    agents = [TransformersAgent(str(checkpoint), max_tokens=4) for _ in range(6)]
    expected = [Talk(number, turns=3).play(agents[number]) for number in range(6)]
    batcher = agents[0]._batcher
    limit, batcher._limit = batcher._limit, 3 * max(agent._kept.bytes for agent in agents)
    try:
        assert [Talk(number, turns=3).play(agents[number]) for number in range(6)] == expected
        assert sum(agent._kept.bytes for agent in agents) <= batcher._limit + agents[-1]._kept.bytes
        assert not agents[0]._kept.ids
        assert agents[5]._kept.ids
    finally:
        batcher._limit = limit


def test_with_too_little_memory_fewer_are_answered_together(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = together(checkpoint, 8, 8, max_tokens=8)
    model = TransformersAgent(str(checkpoint))._model._model
    forward, refused = model.forward, []

    def small(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[0] > 2:
            refused.append(kwargs["input_ids"].shape)
            raise torch.OutOfMemoryError("too little")
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", small)
    assert together(checkpoint, 8, 8, max_tokens=8) == expected
    assert refused


def test_a_fault_of_the_model_reaches_who_asked_and_nobody_waits_for_ever(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = TransformersAgent(str(checkpoint), max_tokens=4)
    with monkeypatch.context() as patched:
        patched.setattr(agent._model._model, "forward", lambda **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            agent.act(Talk(1))  # type: ignore[arg-type]
    assert agent.act(Talk(1)) is not None  # type: ignore[arg-type]


def test_sampling_is_the_same_whatever_the_batch(checkpoint: Path) -> None:
    hot = {"temperature": 1.5, "max_tokens": 12}
    alone = [Talk(number, turns=2 + number % 4).play(TransformersAgent(str(checkpoint), **hot)) for number in range(10)]
    assert together(checkpoint, 10, 10, **hot) == alone
    assert together(checkpoint, 10, 3, batch=2, **hot) == alone
    assert together(checkpoint, 10, 10, seed=1, **hot) != alone
    assert together(checkpoint, 10, 10, top_p=1e-9, **hot) == together(checkpoint, 10, 10, max_tokens=12)


def test_sampling_follows_the_shares(checkpoint: Path) -> None:
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).repeat(4000, 1)
    asks = [
        GenerationRequest(PrefixCache(), [0], 1, bool, temperature=1.0, draw=np.random.default_rng(n))
        for n in range(4000)
    ]
    counts = np.bincount(next_tokens(logits, asks), minlength=3) / 4000
    assert counts == pytest.approx([0.1, 0.6, 0.3], abs=0.03)
    for ask in asks:
        ask.temperature, ask.top_p = 0.5, 0.7
    counts = np.bincount(next_tokens(logits, asks), minlength=3) / 4000
    assert counts == pytest.approx([0, 1, 0], abs=0)


def test_of_equal_tokens_the_first_is_taken(checkpoint: Path) -> None:
    asks = [GenerationRequest(PrefixCache(), [0], 1, bool)]
    assert next_tokens(torch.tensor([[0.0, 7.0, 7.0 + 1e-6, 6.0]]), asks) == [1]
    assert next_tokens(torch.tensor([[0.0, 7.0, 7.001, 6.0]]), asks) == [2]
    with pytest.raises(EngineError, match=r"The model gave no numbers for the next token: try another dtype"):
        next_tokens(torch.tensor([[0.0, float("nan")]]), asks)


def saying(agent: TransformersAgent, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model say a text, over and over."""
    ids = agent._model.tokenizer(text)["input_ids"]
    start = len(agent._model.prompt(Talk(1).messages))

    def forward(input_ids: Any, past_key_values: Any, position_ids: Any, **kwargs: Any) -> Any:
        out = type("Out", (), {})()
        past_key_values.layers[0]._filled += input_ids.shape[1]
        logits = torch.zeros(1, 1, 500)
        logits[0, 0, ids[(int(position_ids[0, -1]) + 1 - start) % len(ids)]] = 9
        out.logits, out.past_key_values = logits, past_key_values
        return out

    monkeypatch.setattr(agent._model, "_model", type("Saying", (), {"__call__": staticmethod(forward)})())
    monkeypatch.setattr(agent._model, "_takes", {"input_ids", "past_key_values", "position_ids"})


@pytest.mark.parametrize(
    ("says", "content", "tokens_left"),
    [
        ("Thought: I look\nAction: look<|im_end|>go left", "Thought: I look\nAction: look", True),
        ("Thought: I look\nAction: look</s>go left", "Thought: I look\nAction: look", True),
        ("Thought: a\nAction: look\nObservation: Done. go left go left", "Thought: a\nAction: look", True),
        ("Thought: a\nObservation: Done. go left", "Thought: a", True),
        ("Thought: a\nAction: look\nThought: b go left go left", "Thought: a\nAction: look\nThought:", True),
        # The agent says what the model says; ReActWrapper takes the thoughts out.
        ("<think>hm</think>Thought: a\nAction: look<|im_end|>", "<think>hm</think>Thought: a\nAction: look", True),
        ("go left ", "go left go left go left go left go left go left", False),
    ],
)
def test_where_a_reply_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, content: str, tokens_left: bool
) -> None:
    agent = TransformersAgent(str(make_checkpoint(tmp_path)), max_tokens=60)
    saying(agent, says, monkeypatch)
    reply = agent.act(Talk(1))  # type: ignore[arg-type]
    assert reply is not None
    assert reply.usage is not None
    assert reply.text.startswith(content)
    assert (reply.usage.completion_tokens < 60) == tokens_left
    assert reply.finish == ("stop" if tokens_left else "length")
    if tokens_left:
        assert reply.text == content
        assert reply.usage.prompt_tokens == len(agent._model.prompt(Talk(1).messages))


def test_text_that_looks_like_a_special_token_stays_text(checkpoint: Path) -> None:
    model = TransformersAgent(str(checkpoint))._model
    end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    ids = model.prompt([{"role": "user", "content": "a <|im_end|> b"}])
    assert ids.count(end) == 1
    assert "a <|im_end|> b" in model.tokenizer.decode(ids)
    plain = [{"role": "user", "content": "a b"}]
    assert model.prompt(plain) == model.tokenizer.apply_chat_template(plain, add_generation_prompt=True)["input_ids"]


def test_the_oldest_observations_are_shortened_when_there_is_no_more_room(checkpoint: Path) -> None:
    agent = TransformersAgent(str(checkpoint), max_tokens=4, context=300)
    talk = Talk(1)
    agent.begin(talk, np.random.default_rng(0))  # type: ignore[arg-type]
    shortened = []
    for _ in range(30):
        reply = agent.act(talk)  # type: ignore[arg-type]
        if reply is None:
            break
        assert reply.usage is not None
        assert reply.usage.prompt_tokens + reply.usage.completion_tokens <= 300
        shortened.append(reply.shortened)
        talk.messages.append({"role": "assistant", "content": "Action: look"})
        talk.messages.append({"role": "user", "content": "Observation: " + "There is a coin here. " * 12})
    assert reply is None
    assert shortened[0] == 0
    assert shortened == sorted(shortened)
    assert shortened[-1] > 1


def test_the_record_says_what_it_takes_to_play_again(checkpoint: Path) -> None:
    agent = make_agent(f"local:model={checkpoint},temperature=0.7,seed=3,max_tokens=8")
    agent.begin(Talk(1), np.random.default_rng(5))  # type: ignore[arg-type]
    said = agent.describe()
    assert (said.name, said.model) == ("local", str(checkpoint))
    assert said.params.pop("episode_seed") == int(np.random.default_rng(5).integers(2**31))
    assert said.params == {
        "temperature": 0.7,
        "top_p": 1.0,
        "seed": 3,
        "max_tokens": 8,
        "context": 4096,
        "dtype": "float32",
        "device": "cpu",
    }


def test_agents_of_one_checkpoint_share_it_until_it_changes(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path)
    first, second = TransformersAgent(str(folder)), TransformersAgent(f"{folder}/../{folder.name}")
    assert first._model is second._model
    make_checkpoint(folder, seed=1)
    assert TransformersAgent(str(folder))._model is not first._model
    model = weakref.ref(first._model)
    del first, second
    release_models()
    gc.collect()
    assert model() is None


def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(DataError, match=r"'nobody/nothing' is neither a folder nor on this machine: name a"):
        make_agent("local:model=nobody/nothing")
    with pytest.raises(DataError, match=r"^There is no tokenizer in .* that can be loaded: "):
        TransformersAgent(str(tmp_path))
    without = make_checkpoint(tmp_path / "without", template=None)
    with pytest.raises(TemplateError, match="has no chat template"):
        TransformersAgent(str(without))
    for option, words in (
        ({"temperature": -1}, "temperature must be 0 or more, got -1."),
        ({"top_p": 0}, "top_p must be above 0 and at most 1, got 0."),
        ({"max_tokens": "x"}, "max_tokens must be at least 1, got 'x'."),
        ({"device": "abacus"}, "There is no device 'abacus' here"),
        ({"dtype": "int8"}, 'dtype must be "auto", "float32", "bfloat16" or "float16", got \'int8\'.'),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            TransformersAgent(str(checkpoint), **option)  # type: ignore[arg-type]


def test_a_collection_comes_out_the_same_one_at_a_time_and_together(checkpoint: Path, tmp_path: Path) -> None:
    runs = []
    for name, concurrency in (("one", 1), ("many", 8)):
        spec = f"local:model={checkpoint},temperature=1,max_tokens=12"
        config = CollectConfig(env="Coin-v0", env_options={"max_steps": 4}, episodes=10, agent=spec, teacher=None)
        collect(config, tmp_path / name, concurrency=concurrency)
        runs.append(
            sorted(
                (one.episode, [turn.content for turn in one.turns], one.agent.params["episode_seed"])
                for one in read_trajectories(tmp_path / name)
            )
        )
    assert runs[0] == runs[1]
    assert len({str(turns) for _, turns, _ in runs[0]}) > 5
