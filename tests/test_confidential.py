"""A key that somebody put in a wrong place reaches no file, no log, no error and no screen."""

import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer

from step_envs.agents import ChatAgent, make_agent
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.confidential import find_secret, holds_secret, is_secret_name, masked, note_secret, without_secrets
from step_envs.endpoint import ChatModel
from step_envs.trajectory import Actor
from step_envs.wrappers.teachers.making import make_teacher

HERE = Path(__file__).parent
KEY = "sk-marker-0123456789abcdef"
PLAIN = "marker0123456789abcdefmarker"  # a key without the looks of one


@pytest.mark.parametrize("key", [KEY, PLAIN])
@pytest.mark.parametrize(
    "extra",
    [
        {"api_key": "KEY"},
        {"extra_headers": {"Authorization": "Bearer KEY"}},
        {"headers": {"X-Api-Key": "KEY"}},
        {"provider": {"auth": [{"hfToken": "KEY"}]}},
        {"metadata": {"client_secret": "KEY"}},
        {"callback": "https://user:KEY@host/x"},
        {"callback": "https://host/x?access_token=KEY"},
        {"callback": "https://host/x#token=KEY"},
    ],
)
def test_a_key_in_the_parameters_is_refused_and_not_quoted(key: str, extra: dict[str, Any]) -> None:
    given = json.loads(json.dumps(extra).replace("KEY", key))
    with pytest.raises(
        ValueError, match=r"^extra\.\S+ looks like a secret, and settings are written into records"
    ) as caught:
        ChatModel("m", "http://host/v1", extra=given)
    assert key not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{PLAIN}@host/v1",
        f"http://{PLAIN}@host/v1",
        f"http://host/v1?key={PLAIN}",
        f"http://host/v1#{PLAIN}",
        f"http://host/{KEY}/v1",
        f"http://host:{PLAIN}/v1",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_quoted(address: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url must ") as caught:
        ChatModel("m", address)
    assert "marker" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", [KEY, PLAIN, "hf_markerABCDEFGHIJKL", "sk_live_marker0123456", "MARKER0123456789"])
def test_a_key_in_place_of_the_name_of_its_variable_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^api_key_env must be the name of an environment variable") as caught:
        ChatModel("m", "http://host/v1", api_key_env=name)
    assert "marker" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "options",
    [
        f"api_key={PLAIN}",
        f"token={PLAIN}",
        f'extra={{"api_key":"{PLAIN}"}}',
        f'extra={{"headers": {{"Authorization": "{PLAIN}"}}, "a": 1}}',
        f"base_url=http://user:{PLAIN}@host/v1",
        f"api_key_env={KEY}",
        f"{KEY}",
    ],
)
@pytest.mark.parametrize(("make", "spec"), [(make_agent, "chat"), (make_teacher, "openai")])
def test_a_key_in_a_specification_is_refused_and_not_quoted(make: Any, spec: str, options: str) -> None:
    with pytest.raises(ValueError, match="A key does not belong into the") as caught:
        make(f"{spec}:model=m,{options}")
    assert "marker" not in "".join(traceback.format_exception(caught.value))


def test_what_is_no_secret_is_none() -> None:
    for name in (
        "max_tokens",
        "stop_token_ids",
        "api_key_env",
        "pad_token",
        "keyword",
        "monkey",
        "tokenizer",
        "sort_key",
    ):
        assert not is_secret_name(name)
    for text in (
        "model=qwen,api_key_env=OPENAI_API_KEY",
        "model=hf-internal-testing/tiny,max_tokens=5",
        "a=http://h:80/v1",
    ):
        assert not holds_secret(text)
    assert find_secret({"extra": {"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}}}) is None
    ChatModel("m", "http://host/v1", extra={"top_k": 20, "max_tokens": 9, "stop_token_ids": [1]})


def test_what_others_say_is_masked() -> None:
    note_secret(PLAIN)
    assert (
        masked(f"the key {PLAIN} is wrong; see http://u:p@host/x") == "the key [key] is wrong; see http://[key]@host/x"
    )
    assert without_secrets({"a": [f"x {PLAIN}"], "api_key": "y", "n": 5}) == {
        "a": ["x [key]"],
        "api_key": "[key]",
        "n": 5,
    }


@pytest.mark.parametrize("word", ["none", "EMPTY", "Dummy", "test", "not-needed", "ollama"])
def test_the_key_of_a_server_without_keys_garbles_nothing(word: str) -> None:
    note_secret(word)
    assert masked(f"Cannot read /runs/{word}: No such file.") == f"Cannot read /runs/{word}: No such file."


def test_a_short_key_is_masked_as_a_word_and_not_within_others() -> None:
    note_secret("pale1")
    assert masked("pale1, 'pale1' and key=pale1 in pale12") == "[key], '[key]' and key=[key] in pale12"


class LeakyAgent(ChatAgent):
    """An agent of somebody's own that records everything."""

    def describe(self) -> Actor:
        return Actor(name="leaky", params={"headers": {"Authorization": f"Bearer {PLAIN}"}, "at": "http://u:marker1@h"})


def everything_in(folder: Path) -> str:
    return "\n".join(file.read_bytes().decode("utf-8", "replace") for file in folder.rglob("*") if file.is_file())


def test_a_run_writes_no_key_whatever_servers_and_agents_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARKER", KEY)
    monkeypatch.setattr("step_envs.agents.base.AGENTS", {"leaky": f"{__name__}:LeakyAgent"})
    caplog.set_level(logging.DEBUG)
    answers = [
        Answer(f"your key {KEY} is too busy, retry after 10ms", status=503),
        Answer(f"Thought: my key is {KEY}\nAction: look"),
        Answer(raw=f"<html>{KEY}</html>".encode()),
        Answer(f"flagged {KEY}", status=451),
        Answer("Thought: so\nAction: look"),
    ]
    with ChatServer(answers) as server:
        agent = f"leaky:model=m,base_url={server.url},api_key_env=MARKER,max_retries=1"
        figures = collect(CollectConfig(env="Coin-v0", episodes=4, agent=agent, teacher=None), tmp_path)
        assert all(KEY in head for head in server.headers)
    assert figures.kept
    assert figures.failed
    said = everything_in(tmp_path) + caplog.text + "".join(capfd.readouterr())
    assert "my key is [key]" in said
    for secret in (KEY, PLAIN, "marker1"):
        assert secret not in said


@pytest.mark.parametrize(
    "options",
    [
        ["--env-option", f"site_url=http://u:{PLAIN}@host"],
        ["--env-option", f"api_key={PLAIN}"],
        ["--agent", f'chat:model=m,extra={{"api_key":"{PLAIN}"}}'],
        ["--teacher", f"openai:model=m,api_key_env={PLAIN}"],
    ],
)
def test_the_command_refuses_a_key_and_shows_it_to_nobody(tmp_path: Path, options: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "step_envs.cli",
        "collect",
        "--out",
        str(tmp_path / "run"),
        "--env",
        "own_world:Coin-v0",
    ]
    done = subprocess.run(
        [*command, *options],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "marker" not in done.stdout + done.stderr
    assert "marker" not in everything_in(tmp_path)
