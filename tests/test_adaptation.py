"""Servers that refuse a parameter, a role or a format, over real HTTP: what they want is learned once and kept."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from chat_server import Answer, ChatServer

from step_envs.endpoint import ChatModel, Gateway
from step_envs.errors import EndpointDownError, RequestRefusedError

MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
GOOD = Answer("fine")
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
Request = dict[str, Any]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openai._constants, openai._base_client):
        monkeypatch.setattr(module, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY", 0.05)


def chat(server: ChatServer, **options: Any) -> ChatModel:
    made = ChatModel("m", server.url, **({"max_retries": 1, "temperature": 0.0, "max_tokens": 512} | options))
    made.connect(Gateway())
    return made


STREAM = b'data: {"choices":[{"delta":{"content":"fi"}}]}\n\n' + (
    b': a comment\ndata: {"choices":[{"delta":{"content":"ne"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n'
)
NEEDS: list[tuple[str, Callable[[Request], bool]]] = [
    ("temperature must be 1", lambda r: r.get("temperature", 1) == 1),
    ("invalid temperature: only 1 is allowed for this model", lambda r: r.get("temperature", 1) == 1),
    (
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        lambda r: r.get("temperature", 1) == 1,
    ),
    ("`temperature` (=0.0) has to be a strictly positive float", lambda r: 0 < r.get("temperature", 0) < 0.1),
    ("System role not supported", lambda r: [m["role"] for m in r["messages"]] == ["user"]),
    ("Conversation roles must alternate user/assistant/...", lambda r: [m["role"] for m in r["messages"]] == ["user"]),
    (
        "parameter.enable_thinking must be set to false for non-streaming calls",
        lambda r: r.get("enable_thinking") is False,
    ),
    ("property 'seed' is unsupported", lambda r: "seed" not in r),
    ("Unrecognized request argument supplied: seed", lambda r: "seed" not in r),
    ("Unsupported parameter: 'stop' is not supported with this model.", lambda r: "stop" not in r),
    ('json: unknown field "min_p"', lambda r: "min_p" not in r),
    ("temperature and top_p cannot both be specified for this model", lambda r: "top_p" not in r),
    ("max_tokens is too large: 512. This model supports at most 256 tokens", lambda r: r["max_tokens"] == 256),
    ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", lambda r: "max_tokens" not in r),
    ("This response_format type is unavailable now", lambda r: "response_format" not in r),
]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(("words", "good"), NEEDS[:-1])
def test_what_a_server_wants_is_learned_once(words: str, good: Callable[[Request], bool], status: int) -> None:
    with ChatServer(lambda request: GOOD if good(request) else Answer(words, status=status)) as server:
        made = chat(server, top_p=0.9, extra={"min_p": 0.1})
        for _ in range(3):
            assert made.ask(MESSAGES, seed=1, stop=["x"]).text == "fine"
    assert len(server.requests) == 4
    first, *later = server.requests
    assert not good(first)
    assert later[0] == later[2]


def test_a_server_with_many_wishes_gets_all_of_them() -> None:
    wishes = [wish for wish in NEEDS[:-2] if "strictly" not in wish[0]]

    def script(request: Request) -> Answer:
        return next((Answer(words, status=400) for words, good in wishes if not good(request)), GOOD)

    with ChatServer(script) as server:
        made = chat(server, extra={"min_p": 0.1})
        assert made.ask(MESSAGES, seed=1, stop=["x"]).text == "fine"
    assert len(server.requests) == 8


def test_only_a_stream() -> None:
    words = "This model only support stream mode, please enable the stream parameter to access the model."
    with ChatServer(lambda r: Answer(raw=STREAM) if r.get("stream") else Answer(words, status=400)) as server:
        answer = chat(server).ask(MESSAGES)
    assert (answer.text, answer.finish) == ("fine", "stop")


def test_an_answer_is_made_to_fit_beside_a_long_conversation_and_only_there() -> None:
    words = (
        "This model's maximum context length is 4096 tokens and your request has 3796 input tokens (512 > 4096 - 3796)."
    )

    def script(request: Request) -> Answer:
        return Answer(words, status=400) if len(request["messages"]) > 2 and request["max_tokens"] > 300 else GOOD

    with ChatServer(script) as server:
        made = chat(server)
        made.ask([*MESSAGES, *MESSAGES])
        made.ask(MESSAGES)
    assert [request["max_tokens"] for request in server.requests] == [512, 300, 512]


def test_a_full_context_is_refused_as_that() -> None:
    words = "This model's maximum context length is 4096 tokens and your request has 4090 input tokens."
    with ChatServer([Answer(words, status=400)]) as server, pytest.raises(RequestRefusedError) as caught:
        chat(server).ask(MESSAGES)
    assert caught.value.kind == "context"


@pytest.mark.parametrize(("status", "retries"), [(404, 1), (500, 1), (500, 2), (500, 5), (501, 3)])
def test_a_server_that_fails_without_a_word_on_a_format_is_asked_without_it(status: int, retries: int) -> None:
    def script(request: Request) -> Answer:
        return Answer("", status=status) if "response_format" in request else GOOD

    with ChatServer(script) as server:
        made = chat(server, max_retries=retries)
        for _ in range(2):
            assert made.ask(MESSAGES, response_format=SCHEMA).text == "fine"
    assert len(server.requests) <= retries + 3
    assert "response_format" not in server.requests[-1]


def test_once_a_format_was_answered_a_fault_is_no_reason_to_leave_it() -> None:
    with ChatServer([GOOD, Answer("", status=500), GOOD]) as server:
        made = chat(server)
        for _ in range(2):
            made.ask(MESSAGES, response_format=SCHEMA)
    assert all(request["response_format"] == SCHEMA for request in server.requests)


def test_a_used_up_quota_is_not_asked_again() -> None:
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    with ChatServer([Answer(raw=body, status=429)]) as server, pytest.raises(RequestRefusedError) as caught:
        chat(server, max_retries=5).ask(MESSAGES)
    assert (caught.value.kind, len(server.requests)) == ("quota", 1)
    assert "It says: You exceeded your current quota" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "slow down, try again in 20ms"}},
        {"choices": [{"error": {"code": 502, "message": "upstream, retry after 20ms"}, "finish_reason": "error"}]},
        {"object": "error", "code": "rate_limit_exceeded", "message": "try again in 20ms"},
    ],
)
def test_an_error_that_comes_as_an_answer_is_treated_by_its_code(body: dict[str, Any]) -> None:
    with ChatServer([Answer(raw=json.dumps(body).encode()), GOOD]) as server:
        assert chat(server).ask(MESSAGES).text == "fine"
    with ChatServer([Answer(raw=b'{"error": {"code": 400, "message": "a bad thing"}}')]) as server:
        with pytest.raises(RequestRefusedError, match=r"\(status 400\)\. It says: a bad thing$"):
            chat(server).ask(MESSAGES)
        assert len(server.requests) == 1


def test_five_requests_refused_alike_are_an_endpoint_that_is_of_no_use() -> None:
    with ChatServer([Answer("a strange thing 17", status=400)]) as server:
        made = chat(server)
        for _ in range(5):
            assert made.gateway.down() is None
            with pytest.raises(RequestRefusedError):
                made.ask(MESSAGES)
        assert str(made.gateway.down()).startswith("5 requests in a row were refused alike: http://127.0.0.1")
        assert str(made.gateway.down()).endswith("It says: a strange thing 17")


def test_a_small_body_that_unpacks_to_a_large_one_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b"0" * (80 * 2**20), 1)
    with (
        ChatServer([Answer(raw=bomb, headers={"content-encoding": "gzip"})]) as server,
        pytest.raises(EndpointDownError, match=r"after 1 attempts: the answer is longer than 64 MiB\.$"),
    ):
        chat(server).ask(MESSAGES)


def test_what_is_no_chat_completion_is_quoted() -> None:
    page = b"<html>sign in here" + b" and here" * 99
    with (
        ChatServer([Answer(raw=page)]) as server,
        pytest.raises(
            EndpointDownError, match=r"says '<html>sign in here and .{200,290} \.\.\.' and gave no usable answer"
        ),
    ):
        chat(server).ask(MESSAGES)
