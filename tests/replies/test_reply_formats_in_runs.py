"""A run's data is in one reply format, and a checkpoint or an option that is wrong is one sentence."""

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer

from step_envs.agents import ChatAgent, make_agent
from step_envs.agents.local.checkpoint import check_checkpoint
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.endpoint import Gateway
from step_envs.errors import ContextTooSmallError, DataError, UnknownNameError
from step_envs.store import read_trajectories
from step_envs.wrappers import ReActWrapper
from step_envs.wrappers.teachers.judging import what_is_not_said

FORMS = {
    "react": r"Thought: .+\nAction: (.+)",
    "action-tags": r"<think>.+</think>\n<action>(.+)</action>",
    "tool-calls": r'.+\n<tool_call>\n\{"name": "act", "arguments": \{"action": "(.+)"\}\}\n</tool_call>',
}


@pytest.mark.parametrize("name", FORMS)
def test_novice_and_teacher_write_in_the_format_of_the_run(tmp_path: Path, name: Any) -> None:
    config = CollectConfig(env="Coin-v0", episodes=3, agent="novice:error_rate=0.5", reply_format=name, tolerant=True)
    collect(config, tmp_path / "run")
    trajectories = list(read_trajectories(tmp_path / "run"))
    kinds = set()
    for trajectory in trajectories:
        assert (trajectory.protocol["reply_format"], trajectory.protocol["tolerant"]) == (name, True)
        for turn in trajectory.turns[3:]:
            if turn.role == "assistant":
                found = re.fullmatch(FORMS[name], turn.content)
                assert found is not None, turn.content
                assert found[1] == turn.action
                kinds.add(turn.kind)
    assert kinds == {"agent", "error", "correction"}


def test_options_of_the_chat_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown reply format 'action-tag'\. Did you mean 'action-tags'\?"):
        ReActWrapper(gym.make("Coin-v0"), reply_format="action-tag")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Unknown observation style 'ETO'"):
        ReActWrapper(gym.make("Coin-v0"), observation_style="ETO")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"The agent 'novice' cannot be made from 'error_rat=1': .*'error_rate'\?"):
        make_agent("novice:error_rat=1")


def test_etos_observations_leave_out_the_arrival() -> None:
    shown = {}
    for style in ("full", "eto"):
        env = ReActWrapper(gym.make("STeP-ALFWorld-v0"), observation_style=style)  # type: ignore[arg-type]
        env.reset(seed=0)
        action = next(one for one in env.unwrapped.admissible_actions() if one.startswith("go to"))  # type: ignore[attr-defined]
        shown[style] = env.step(f"Thought: so\nAction: {action}")[0]
    assert re.sub(r"You arrive at [^.]+\. ", "", shown["full"]) == shown["eto"] != shown["full"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"model.gguf": ""}, "holds a GGUF file only: name the file itself"),
        (
            {"adapter_config.json": '{"base_model_name_or_path": "runs/base"}'},
            "was trained on 'runs/base', which",
        ),
        (
            {"model.safetensors.index.json": '{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}'},
            "lacks 2 of its 2 files of weights, m-1.safetensors for one: fetch it again.",
        ),
        (
            {"config.json": '{"quantization_config": {"quant_method": "hqq"}}'},
            r"are quantized \(hqq\), which needs",
        ),
        ({"config.json": "[1"}, r"config\.json is not valid JSON: "),
        ({"config.json": "[1]"}, r"config\.json holds no JSON object: fetch the checkpoint again\."),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_one_sentence(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    pytest.importorskip("huggingface_hub")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=sentence):
        check_checkpoint(tmp_path)


def test_a_task_that_does_not_fit_is_an_error_with_both_numbers() -> None:
    env = ReActWrapper(gym.make("Coin-v0"))
    env.reset(seed=0)
    with ChatServer([Answer("Thought: so\nAction: look")]) as server:
        agent = ChatAgent("m", server.url, context_tokens=20, max_tokens=9)
        agent.chat.connect(Gateway())
        with pytest.raises(
            ContextTooSmallError, match=r"does not fit context_tokens=20 with a reply of 9 tokens: give a"
        ):
            agent.act(env)
    assert server.requests == []


def test_an_empty_reply_is_sent_back_as_something() -> None:
    env = ReActWrapper(gym.make("Coin-v0"))
    env.reset(seed=0)
    env.step("<think>hm</think>")
    with ChatServer([Answer("Thought: so\nAction: look")]) as server:
        agent = ChatAgent("m", server.url)
        agent.chat.connect(Gateway())
        agent.act(env)
    assert [one["content"] for one in server.requests[0]["messages"]][-2] == "(nothing)"
    assert json.dumps(env.messages[-2]) == '{"role": "assistant", "content": ""}'


@pytest.mark.parametrize(
    ("words", "speaks"),
    [
        ("The task is wrong. The task is wrong.", False),
        ("I made a mistake. I should do better.", False),
        ("The fridge was closed.", True),
        ("I opened too early.", True),
        ("I went nowhere. I must go on.", True),
    ],
)
def test_words_speak_of_the_step_or_not(words: str, speaks: bool) -> None:
    assert (what_is_not_said(words, "open fridge 1", "go to desk 1") is None) == speaks
