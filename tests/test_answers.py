"""What models and servers answer: which words count, which object of them is the verdict, and how many tokens they cost."""

import itertools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer
from hypothesis import given
from hypothesis import strategies as st

from step_envs.endpoint import Budget, ChatModel, CostLedger, Gateway, ResponseCache
from step_envs.endpoint.token_counts import read_counts
from step_envs.errors import BudgetSpentError
from step_envs.wrappers.teachers.structured_output import VerdictFields, ask_for, read

HELLO = [{"role": "user", "content": "one two three"}]
OK, WRONG = '{"status": "ok"}', '{"status": "error", "error": "e", "corrected_action": "look"}'


def chat(server: ChatServer, gateway: Gateway | None = None) -> ChatModel:
    made = ChatModel("m", server.url, max_retries=0, max_tokens=9)
    made.connect(gateway or Gateway())
    return made


def completion(message: dict[str, Any], finish: Any = "stop", **further: Any) -> Answer:
    return Answer(raw=json.dumps({"choices": [{"message": message, "finish_reason": finish}], **further}).encode())


# Which object is the verdict.


@pytest.mark.parametrize(
    "text",
    [
        f"[THINK]If fine: {OK}. It is not.[/THINK]{WRONG}",
        f"<thinking>{OK}</thinking>{WRONG}",
        f"If it were fine I would say {OK}. It is not: {WRONG}",
        f"```json\n{OK}\n```\nNo, wait:\n```json\n{WRONG}\n```",
        f'{WRONG} {{"confidence": 0.9}}',
        f"{{{WRONG}}}",
        f"[{OK}, {WRONG}]",
        WRONG.replace("}", ",}"),
        WRONG.replace('"e"', '"a\nb"'),
        WRONG.replace('"error":', '// the error\n"error":'),
        "{'status': 'error', 'error': 'it\\'s \"no\"', 'reason': None, 'corrected_action': 'look'}",
        '{"status": "ERROR", "corrected_action": "look", "reason": None}',
        '{"status": "error", "error": "half a \\ud83d pair", "corrected_action": "look"}',
        '{"status": "error", "error": "<think>x</think>e", "corrected_action": "look"}',
        '{"status": "error", "error": "it wrote {\\"status\\": \\"ok\\"}", "corrected_action": "look"}',
    ],
)
def test_the_last_object_outside_of_thoughts_is_the_verdict(text: str) -> None:
    value, problem = read(text, VerdictFields)
    assert value is not None, problem
    assert (value.status, value.corrected_action) == ("error", "look")
    assert "think" not in (value.error or "")


@pytest.mark.parametrize(
    "text",
    [
        f'{OK} But no: {{"status": "err',
        '{"verdict": {"status": "ok"}, "note": "cut off he',
        f'[{OK}, {{"status": "error", "err',
        f"<think>{OK}",
        f"{WRONG} <think>or rather {OK}",
        f"{OK} {{status: error}}",
        '{"status": "maybe"}',
        f'{OK} {{"status": "maybe"}}',
        '{"status": "error", "error": "<think>it goes on", "corrected_action": "look"}',
    ],
)
def test_half_an_answer_is_no_verdict(text: str) -> None:
    value, problem = read(text, VerdictFields)
    assert value is None
    assert problem


def test_an_answer_that_was_cut_off_after_its_object_may_have_gone_on_to_another() -> None:
    assert read(f"{OK} However, I", VerdictFields, cut_off=True) == (None, "It goes on after its JSON object.")
    assert read(f"{OK}\n```\n", VerdictFields, cut_off=True)[0] is not None


@given(st.integers(1, len(WRONG) - 1), st.sampled_from(["", OK, "Well: "]))
def test_no_beginning_of_a_verdict_is_a_verdict(size: int, before: str) -> None:
    value, _ = read(before + WRONG[:size], VerdictFields)
    assert value is None


@given(
    st.lists(
        st.sampled_from(["{", "}", '"', "'", "\\", "<think>", "</think>", OK, WRONG, "x", ":", ",", "/*"]), max_size=30
    )
)
def test_whatever_is_read_it_is_an_object_that_was_written_last(parts: list[str]) -> None:
    text = "".join(parts)
    value, _ = read(text, VerdictFields)
    if value is not None and value.status == "ok":
        assert text.rfind('"ok"') > text.rfind('"error"') or text.rfind("</think>") > text.rfind('"error"')


def test_a_verdict_in_the_thoughts_counts_only_where_there_is_nothing_else() -> None:
    for message, status in (
        ({"content": None, "reasoning_content": f"So. {OK} No: {WRONG}"}, "error"),
        ({"content": " ", "reasoning": WRONG}, "error"),
        ({"content": OK, "reasoning_content": WRONG}, "ok"),
    ):
        with ChatServer([completion(message)]) as server:
            found = ask_for(chat(server), HELLO, VerdictFields)
        assert found.value is not None
        assert found.value.status == status
    with ChatServer([completion({"content": "", "reasoning": OK + " but"}, "length")]) as server:
        assert ask_for(chat(server), HELLO, VerdictFields).value is None


# Which words count.


@pytest.mark.parametrize(
    ("message", "text", "thought"),
    [
        ({"content": "fine"}, "fine", ""),
        ({"content": ""}, "", ""),
        ({"content": None}, "", ""),
        ({"content": [{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}]}, "fine", ""),
        ({"content": ["fi", "ne"]}, "fine", ""),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "fine"},
                ]
            },
            "fine",
            "hm",
        ),
        ({"content": "fine", "reasoning_content": "hm", "reasoning": "hm"}, "fine", "hm"),
        ({"content": "fine", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "fine", "hm"),
        ({"content": "fine \ud83d"}, "fine \ufffd", ""),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n\n  "])
def test_content_in_every_form(message: dict[str, Any], text: str, thought: str, mark: bytes) -> None:
    given = completion(message, "STOP")
    with ChatServer([Answer(raw=mark + (given.raw or b""))]) as server:
        answer = chat(server).ask(HELLO)
    assert (answer.text, answer.thought, answer.finish) == (text, thought, "stop")


@pytest.mark.parametrize(
    ("finish", "kept"),
    [
        *(
            (name, "stop")
            for name in ("stop", "STOP", "FINISH_REASON_STOP", "end_turn", "COMPLETE", "eos_token", "endTurn")
        ),
        *((name, "length") for name in ("length", "MAX_TOKENS", "maxTokens", "model_length", {"type": "length"})),
        *((name, "refusal") for name in ("content_filter", "SAFETY", "sensitive", "refusal")),
        *((name, "other") for name in ("abort", "insufficient_system_resource", 7)),
    ],
)
def test_ends_in_every_spelling(finish: Any, kept: str, tmp_path: Path) -> None:
    with ChatServer([completion({"content": "fine"}, finish)]) as server:
        gateway = Gateway(cache=ResponseCache(tmp_path / "answers.sqlite"))
        assert chat(server, gateway).ask(HELLO).finish == kept
        assert gateway.cache is not None
        assert len(gateway.cache) == (kept == "stop")


def test_calls_of_tools_are_passed_on_and_cached(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "act", "arguments": '{"action": "look"}'}}
    with ChatServer([completion({"content": None, "tool_calls": [call]}, "tool_calls")]) as server:
        asked = chat(server, Gateway(cache=ResponseCache(tmp_path / "answers.sqlite")))
        assert asked.ask(HELLO).tool_calls == asked.ask(HELLO).tool_calls == (call,)
    assert len(server.requests) == 1


def test_a_stream_that_nobody_asked_for_and_one_that_breaks_off() -> None:
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("fi", "ne")]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    end = (
        'data: {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}\n\ndata: [DONE]\n\n'
    )
    for text, finish in (
        ("".join(lines) + end, "stop"),
        ("".join(lines), "other"),
        ("".join(lines) + end[:30], "other"),
    ):
        with ChatServer([Answer(raw=text.encode())]) as server:
            answer = chat(server).ask(HELLO)
        assert (answer.text, answer.finish) == ("fine", finish)


# What it cost.


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}, (10, 2, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 50}, (10, 40, 0)),
        ({"prompt_tokens": "10", "completion_tokens": 2.0, "total_tokens": "12"}, (10, 2, 0)),
        ({"input_tokens": 10, "output_tokens": 2}, (10, 2, 0)),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 30}},
            (10, 32, 0),
        ),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}, (10, 0, 4)),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, (10, 0, 4)),
        ({"prompt_tokens": 10, "cached_tokens": "4"}, (10, 0, 4)),
        ({"prompt_tokens": 10, "num_cached_tokens": 4, "prompt_tokens_details": None}, (10, 0, 4)),
        ({"prompt_tokens": 10, "cache_read_input_tokens": 99}, (10, 0, 10)),
        ({"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 7}, (10, 2, 7)),
        ({"input_tokens": 10, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}, (10, 2, 4)),
    ],
)
def test_counts_under_every_name(usage: dict[str, Any], counts: tuple[int, int, int]) -> None:
    read_ = read_counts(usage)
    assert read_ is not None
    assert (read_.prompt_tokens, read_.completion_tokens, read_.cached_tokens) == counts


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"]), inner
    ),
))  # fmt: skip
def test_counts_of_any_kind_are_read_or_are_none(usage: Any) -> None:
    counts = read_counts(usage)
    assert counts is None or 0 <= counts.cached_tokens <= counts.prompt_tokens


def test_a_budget_holds_with_hidden_thoughts() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 400}
    with ChatServer([completion({"content": "x"}, usage=usage)]) as server:
        gateway = Gateway(ledger=CostLedger(budget=Budget.parse("1000tokens")))
        with pytest.raises(BudgetSpentError):
            for seed in itertools.count():
                chat(server, gateway).ask(HELLO, seed=seed)
    total = gateway.ledger.total
    assert total.prompt_tokens + total.completion_tokens <= 1000 + 100
    assert len(server.requests) == 2


# What was kept.


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "7",
        "[]",
        "{}",
        b"\xff\xfe",
        5,
        '{"text": 3, "finish": "stop", "usage": {}}',
        '{"text": "x", "finish": "stop"}',
    ],
)
def test_a_garbled_row_of_the_cache_is_asked_for_anew_and_replaced(row: Any, tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    with ChatServer([Answer("fine so far")]) as server:
        for garble in (True, False, False):
            gateway = Gateway(cache=ResponseCache(file))
            answer = chat(server, gateway).ask(HELLO)
            assert (answer.text, answer.prompt_tokens) == ("fine so far", 3)
            gateway.close()
            if garble:
                with sqlite3.connect(file) as database:
                    database.execute("UPDATE answers SET answer = ?", (row,))
    assert len(server.requests) == 2
