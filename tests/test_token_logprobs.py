"""Logprobs of sampled tokens: recorded where asked for, and only where they are those of the recorded text."""

import json
import math
from pathlib import Path
from typing import Any

import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer, verdict
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.endpoint.chat_completion import read_body, read_completion
from step_envs.exports.rows import table_row
from step_envs.store import read_trajectories
from step_envs.token_logprobs import joined_characters, logprobs_of
from step_envs.trajectory import Trajectory, Turn

LOOK = [("Thought", -0.1), (":", -0.2), (" so", -3.0), ("\n", -0.01), ("Action:", -0.5), (" look", -1.25)]
TEXT = "Thought: so\nAction: look"


def completion(tokens: Any, text: str = TEXT, **choice: Any) -> Answer:
    """An answer with logprobs as the API defines them."""
    if isinstance(tokens, list):
        content = [{"token": word, "logprob": number, "bytes": list(word.encode())} for word, number in tokens]
        choice["logprobs"] = {"content": content}
    message = {"role": "assistant", "content": text}
    body = {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15},
    }
    return Answer(raw=json.dumps(body).encode())


def config(url: str, **changes: Any) -> CollectConfig:
    settings = {
        "env": "own_world:Coin-v0",
        "env_options": {"max_steps": 1},
        "episodes": 1,
        "agent": f"chat:model=m,base_url={url}",
        "teacher": None,
        "logprobs": True,
    }
    return CollectConfig(**(settings | changes))


def reply(out: Path) -> Turn:
    (one,) = read_trajectories(out)
    (found,) = [turn for turn in one.turns if turn.kind in ("agent", "error")]
    return found


@pytest.mark.parametrize(
    ("tokens", "content", "kept"),
    [
        (LOOK, TEXT, 6),
        # A cut at the end of a token keeps the others; anything else keeps none.
        ([*LOOK, ("\n", -0.1), ("Observation: gold", -2.0)], TEXT, 6),
        ([*LOOK[:-1], (" look\nObservation", -1.0)], TEXT, None),
        ([("<think>", -1.0), *LOOK], TEXT, None),
        ([(" ", -1.0), *LOOK], TEXT, None),
        (LOOK[:-1], TEXT, None),
        ([("thought", -0.1), *LOOK[1:]], TEXT, None),
        ([*LOOK[:-1], (" look", math.nan)], TEXT, None),
        ([*LOOK[:-1], (" look", -math.inf)], TEXT, None),
        ([*LOOK[:-1], (" look", 0.5)], TEXT, None),
        ([], TEXT, None),
        (None, TEXT, None),
        ([], "", None),
    ],
)
def test_only_tokens_that_are_the_text_are_kept(tokens: Any, content: str, kept: int | None) -> None:
    found = logprobs_of(content, tokens)
    assert found == (None if kept is None else tuple(tokens[:kept]))
    assert found is None or "".join(text for text, _ in found) == content


def test_parts_of_a_character_are_joined() -> None:
    euro = "a€b".encode()
    parts = [(euro[:1], -1.0), (euro[1:2], -2.0), (euro[2:4], -4.0), (euro[4:], -8.0)]
    assert joined_characters(parts) == (("a", -1.0), ("€", -6.0), ("b", -8.0))
    assert joined_characters(parts[:2]) is None


def test_a_turn_never_holds_other_tokens_than_its_text() -> None:
    tokens = tuple(LOOK)
    Turn(role="assistant", content=TEXT, kind="agent", logprobs=tokens)
    with pytest.raises(ValueError, match="the tokens of logprobs are not the content of their turn"):
        Turn(role="assistant", content=f"{TEXT} around", kind="agent", logprobs=tokens)
    with pytest.raises(ValueError, match="a turn of kind 'correction' has no logprobs"):
        Turn(role="assistant", content=TEXT, kind="correction", logprobs=tokens)


def test_logprobs_are_asked_for_recorded_exported_and_read_again(tmp_path: Path) -> None:
    with ChatServer([completion(LOOK)]) as server:
        figures = collect(config(server.url), tmp_path / "run")
        assert [request.get("logprobs") for request in server.requests] == [True]
        # From the cache they come as they were.
        collect(config(server.url, cache=tmp_path / "run" / "responses.sqlite"), tmp_path / "again")
        assert len(server.requests) == 1
    assert reply(tmp_path / "run").logprobs == reply(tmp_path / "again").logprobs == tuple(LOOK)
    assert (figures.replies, figures.with_logprobs) == (1, 1)
    (one,) = read_trajectories(tmp_path / "run")
    assert Trajectory.from_json(one.to_json()) == one
    assert one.agent.params["logprobs"] is True
    rows = [row for row in table_row(one)["turns"] if row["kind"] == "agent"]
    assert rows[0]["logprobs"][0] == {"token": "Thought", "logprob": -0.1}
    old = json.loads(one.to_json())
    for turn in old["turns"]:
        del turn["logprobs"]
    assert all(turn.logprobs is None for turn in Trajectory.from_json(json.dumps(old)).turns)


def test_they_are_off_unless_asked_for_and_an_answer_without_is_never_given_for_one_with(tmp_path: Path) -> None:
    with ChatServer([completion(LOOK)]) as server:
        shared = tmp_path / "responses.sqlite"
        collect(config(server.url, logprobs=False, cache=shared), tmp_path / "off")
        collect(config(server.url, cache=shared), tmp_path / "on")
        asked = [request.get("logprobs") for request in server.requests]
    assert asked == [None, True]
    # Whatever a server sends unasked is not recorded.
    assert reply(tmp_path / "off").logprobs is None
    assert "logprobs" not in next(iter(read_trajectories(tmp_path / "off"))).agent.params
    assert reply(tmp_path / "on").logprobs == tuple(LOOK)


@pytest.mark.parametrize(
    "answer",
    [
        completion(None),
        completion(None, logprobs=None),
        completion(None, logprobs={"content": [{"token": "Thought"}]}),
        completion(None, logprobs={"content": [{"token": "Thought", "logprob": -0.1, "bytes": [999]}]}),
        completion(None, logprobs={"content": "Thought"}),
        completion(None, logprobs=[1]),
        completion([("<think>x</think>", -1.0), *LOOK], text=f"<think>x</think>{TEXT}"),
        completion(LOOK, text=f"  {TEXT}"),
    ],
)
def test_a_server_without_them_or_a_changed_reply_has_none_and_is_counted(answer: Answer, tmp_path: Path) -> None:
    with ChatServer([answer]) as server:
        figures = collect(config(server.url), tmp_path)
    turn = reply(tmp_path)
    assert (turn.content.strip(), turn.logprobs) == (TEXT, None)
    assert (figures.replies, figures.with_logprobs) == (1, 0)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["replies"], summary["replies_with_logprobs"]) == (1, 0)


def test_a_server_that_refuses_them_is_asked_without(tmp_path: Path) -> None:
    refusal = Answer("Unsupported parameter: 'logprobs' is not supported with this model.", status=400)
    with ChatServer(lambda request: refusal if "logprobs" in request else completion(None)) as server:
        figures = collect(config(server.url, episodes=3), tmp_path)
    assert [("logprobs" in request) for request in server.requests].count(True) == 1
    assert (figures.kept, figures.replies, figures.with_logprobs) == (3, 3, 0)


def test_a_teacher_is_never_asked_for_them(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        return Answer(verdict()) if "You are the teacher" in request["messages"][0]["content"] else completion(LOOK)

    with ChatServer(answer) as server:
        collect(config(server.url, teacher="self"), tmp_path)
    asked = {"You are the teacher" in one["messages"][0]["content"]: one.get("logprobs") for one in server.requests}
    assert asked == {True: None, False: True}
    # A verdict builds the turn anew; the logprobs stay.
    assert reply(tmp_path).logprobs == tuple(LOOK)
    assert reply(tmp_path).verdict is not None


def test_a_stream_that_nobody_asked_for_has_them_too() -> None:
    chunks = [
        {"choices": [{"delta": {"content": text}, "logprobs": {"content": [{"token": text, "logprob": number}]}}]}
        for text, number in LOOK
    ]
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in [*chunks, end]) + "data: [DONE]\n"
    found = read_completion(read_body(body.encode()))
    assert (found.text, found.logprobs) == (TEXT, tuple(LOOK))


def test_an_agent_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        config("http://x/v1", agent="novice").make_agent()
    assert str(error.value) == "The agent 'novice' is no language model, so its replies have no logprobs."


def test_the_command_says_how_many_have_them(tmp_path: Path) -> None:
    with ChatServer([completion(LOOK), completion(None)]) as server:
        options = ["--env", "own_world:Coin-v0", "--env-option", "max_steps=1", "--teacher", "none", "--episodes", "2"]
        options += ["--agent", f"chat:model=m,base_url={server.url},seeded=true,temperature=1", "--concurrency", "1"]
        said = CliRunner().invoke(app, ["collect", *options, "--logprobs", "--out", str(tmp_path / "run")])
    assert said.exit_code == 0, said.output
    assert "Logprobs: 1 of 2 replies; the others were changed after they were sampled" in said.output
