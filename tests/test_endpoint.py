"""What an endpoint can do wrong, over real HTTP: each fault has its error, makes no storm, and is paid once."""

import contextlib
import functools
import json
import logging
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from chat_server import Answer, ChatServer

from step_envs.endpoint import ChatModel, CostLedger, Gateway, Price, ResponseCache, read_prices
from step_envs.endpoint.cache import request_key
from step_envs.endpoint.cost_ledger import Budget
from step_envs.endpoint.rate_limit import RateLimit
from step_envs.errors import (
    BudgetSpentError,
    EndpointDownError,
    EndpointError,
    RequestRefusedError,
    StoreError,
)

HELLO = [{"role": "user", "content": "one two three"}]
GOOD = Answer("fine so far")
KEY = "sk-marker-0123456789abcdef"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openai._constants, openai._base_client):
        monkeypatch.setattr(module, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY", 0.05)


def model(server: ChatServer, gateway: Gateway | None = None, **options: Any) -> ChatModel:
    chat = ChatModel("m", server.url, **({"max_retries": 2, "timeout": 5.0} | options))
    chat.connect(gateway or Gateway())
    return chat


def test_an_answer_and_what_it_cost() -> None:
    with ChatServer([GOOD]) as server:
        gateway = Gateway(ledger=CostLedger(prices={"m": Price(input=1000, output=10_000)}))
        answer = model(server, gateway, temperature=0.5, max_tokens=7, top_p=0.9, extra={"min_p": 0.1}).ask(
            HELLO, stop=["\nObservation:"], seed=3
        )
    assert (answer.text, answer.finish) == ("fine so far", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.requests) == (3, 3, 1)
    assert answer.usage.cost == pytest.approx(0.033)
    (sent,) = server.requests
    assert sent == {
        "model": "m",
        "messages": HELLO,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["\nObservation:"],
        "seed": 3,
        "min_p": 0.1,
    }
    assert gateway.ledger.total == answer.usage


@pytest.mark.parametrize(
    "fault",
    [
        Answer("busy", status=429, headers={"retry-after": "0.05"}),
        Answer("oops", status=500),
        Answer("late", status=408),
        Answer("slow", delay=3.0),
        Answer("dropped in the middle of the body", drop=True),
        Answer("a trickle", trickle=0.1),
        Answer("a trickle of headers", trickle_head=0.1),
    ],
    ids=["429", "500", "408", "time-out", "drop", "trickle", "headers"],
)
def test_a_passing_fault_is_asked_again_and_paid_once(fault: Answer) -> None:
    with ChatServer([fault, GOOD]) as server:
        gateway = Gateway()
        answer = model(server, gateway, timeout=1.0).ask(HELLO)
    assert answer.text == GOOD.text
    assert len(server.requests) == 2
    assert answer.usage.requests == 2
    assert gateway.ledger.total.prompt_tokens == 3
    assert gateway.down() is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Answer("busy", status=429), r"gave no usable answer, after 3 attempts: status 429\.$"),
        (Answer("oops", status=503), r"after 3 attempts: status 503\.$"),
        (Answer("slow", delay=3.0), r"after 3 attempts: no answer \(time-out\)\.$"),
        (Answer("dropped in the middle", drop=True), r"after 3 attempts: no answer \(RemoteProtocolError\)\.$"),
        (Answer("a trickle", trickle=0.1), r"after 3 attempts: no answer \(time-out\)\.$"),
        (Answer("a trickle of headers", trickle_head=0.1), r"after 3 attempts: no answer \(time-out\)\.$"),
        (Answer(raw=b"<html>a proxy's page</html>"), r"after 1 attempts: the answer is not a chat completion\.$"),
        (Answer(raw=b'{"choices": "none"}'), r"after 1 attempts: the answer is not a chat completion\.$"),
        (Answer(choices=False), r"answered without a choice\.$"),
        (Answer(None, finish="abort"), r"answered with an empty message\.$"),
    ],
    ids=["429", "503", "time-out", "drop", "trickle", "headers", "html", "wrong type", "no choice", "empty"],
)
def test_a_lasting_fault_is_an_error_after_a_few_attempts(fault: Answer, message: str) -> None:
    with ChatServer([fault]) as server, pytest.raises(EndpointDownError, match=message):
        model(server, timeout=0.5).ask(HELLO)
    assert len(server.requests) <= 3


def test_nobody_there() -> None:
    chat = ChatModel("m", "http://127.0.0.1:9/v1", max_retries=1)
    chat.connect(Gateway())
    for _ in range(5):
        assert chat.gateway.down() is None
        with pytest.raises(EndpointDownError, match=r"after 2 attempts: no answer \(ConnectError\)"):
            chat.ask(HELLO)
    assert "has failed 5 requests in a row, each sent up to 2 times: no answer (ConnectError)" in str(
        chat.gateway.down()
    )


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "Is the key in OPENAI_API_KEY right"),
        (404, "Are base_url and model right"),
        (400, "It says: .*no such thing"),
    ],
)
def test_a_refused_request_is_not_sent_again(status: int, hint: str) -> None:
    with ChatServer([Answer("no such thing", status=status)]) as server:
        chat = model(server)
        with pytest.raises(RequestRefusedError, match=hint) as caught:
            chat.ask(HELLO)
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_endings_are_told_apart() -> None:
    for given, text, finish in (
        (Answer("half an ans", finish="length"), "half an ans", "length"),
        (Answer(None, refusal="I will not"), "I will not", "refusal"),
        (Answer(None, finish="content_filter"), "", "refusal"),
        (Answer("done", finish="eos"), "done", "stop"),
        (Answer("half an ans", finish="max_tokens"), "half an ans", "length"),
        (Answer("half an ans", finish="abort"), "half an ans", "other"),
    ):
        with ChatServer([given]) as server:
            answer = model(server).ask(HELLO)
        assert (answer.text, answer.finish) == (text, finish)


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": None}, {"prompt_tokens": 3, "completion_tokens": None}, "many"]
)
def test_a_count_that_is_none_takes_nothing_from_the_words(usage: Any) -> None:
    choice = {"message": {"content": "fine"}, "finish_reason": "stop"}
    with ChatServer([Answer(raw=json.dumps({"choices": [choice], "usage": usage}).encode())]) as server:
        answer = model(server).ask(HELLO)
        assert (answer.text, answer.usage.prompt_tokens, answer.usage.cost) == ("fine", 0, None)
        with pytest.raises(EndpointError, match="does not say how many tokens"):
            model(server, Gateway(ledger=CostLedger(budget=Budget.parse("99tokens"))), max_tokens=3).ask(HELLO)


def test_text_that_no_file_can_hold_is_sent_all_the_same() -> None:
    with ChatServer([GOOD]) as server:
        assert model(server).ask([{"role": "user", "content": "half a \ud83d pair"}]).text == GOOD.text
    assert server.requests[0]["messages"] == [{"role": "user", "content": "half a ? pair"}]


def test_a_parameter_by_its_new_name() -> None:
    def script(request: dict[str, Any]) -> Answer:
        if "max_tokens" in request:
            return Answer("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", status=400)
        return GOOD

    with ChatServer(script) as server:
        chat = model(server, max_tokens=9)
        chat.ask(HELLO)
        chat.ask(HELLO)
    assert [request.get("max_completion_tokens") for request in server.requests] == [None, 9, 9]


def test_threads_learn_a_new_name_at_the_same_time() -> None:
    def script(request: dict[str, Any]) -> Answer:
        if "max_tokens" in request:
            return Answer("Unsupported: 'max_tokens'. Use 'max_completion_tokens'.", status=400, delay=0.3)
        return GOOD

    with ChatServer(script) as server:
        chat = model(server, max_tokens=9)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: chat.ask(HELLO, seed=i), range(8)))
    assert [answer.text for answer in answers] == [GOOD.text] * 8


def test_connections_are_as_many_as_requests_at_once_and_are_kept_for_the_next_threads() -> None:
    gateway = Gateway()
    with ChatServer(lambda request: Answer("fine", together=4)) as server:
        chat = model(server, gateway)
        for first in (0, 100):
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda seed: chat.ask(HELLO, seed=seed), range(first, first + 20)))
        gateway.close()
    assert (len(server.requests), server.connections) == (40, 4)


def test_a_client_without_a_place_for_the_time_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(self: Any, **options: Any) -> None:
        self._transport, self._mounts = object(), {}

    monkeypatch.setattr(openai.DefaultHttpxClient, "__init__", init)
    with ChatServer([GOOD]) as server, pytest.raises(EndpointError, match="no time limit can be set for its answers"):
        model(server).ask(HELLO)
    assert not server.requests


# The cache.


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    with ChatServer([GOOD]) as server:
        for session in range(2):
            gateway = Gateway(
                cache=ResponseCache(tmp_path / "answers.sqlite"), ledger=CostLedger(tmp_path / "bill.jsonl")
            )
            answer = model(server, gateway).ask(HELLO)
            assert (answer.text, answer.finish) == (GOOD.text, "stop")
            assert (answer.usage.requests, answer.usage.cached) == ((1, 0), (0, 1))[session]
            assert (gateway.ledger.total.prompt_tokens, gateway.ledger.total.requests) == (3, 1)
            gateway.close()
    assert len(server.requests) == 1


def test_every_part_of_a_request_is_in_its_key() -> None:
    request = {"model": "m", "messages": HELLO, "temperature": 0.0}
    others = [
        request_key("http://a/v1", request, 0),
        request_key("http://b/v1", request, 0),
        request_key("http://a/v1", request, 1),
        request_key("http://a/v1", request | {"model": "n"}, 0),
        request_key("http://a/v1", request | {"temperature": 0.1}, 0),
        request_key("http://a/v1", request | {"messages": [*HELLO, *HELLO]}, 0),
        request_key("http://a/v1", request | {"messages": [{"role": "user", "content": "\ud800"}]}, 0),
    ]
    assert len(set(others)) == len(others)
    assert request_key("http://a/v1", dict(reversed(request.items())), 0) == others[0]


@pytest.mark.parametrize(
    "bad",
    [
        Answer("half", finish="length"),
        Answer("half", finish="abort"),
        Answer(None, refusal="no"),
        Answer("x", finish="content_filter"),
        Answer(choices=False),
        Answer("no", status=400),
        Answer(raw=b"{}"),
    ],
    ids=["truncated", "aborted", "refusal", "filter", "no choice", "error", "garbage"],
)
def test_what_must_not_come_again_is_not_kept(bad: Answer, tmp_path: Path) -> None:
    with ChatServer([bad, GOOD]) as server:
        gateway = Gateway(cache=ResponseCache(tmp_path / "answers.sqlite"))
        with contextlib.suppress(EndpointError):
            assert model(server, gateway).ask(HELLO).finish != "stop"
        assert gateway.cache is not None
        assert len(gateway.cache) == 0
        assert model(server, gateway).ask(HELLO).text == GOOD.text
        assert len(gateway.cache) == 1


def test_the_same_question_at_once_is_paid_once(tmp_path: Path) -> None:
    with ChatServer([Answer("fine", delay=0.2)]) as server:
        chat = model(server, Gateway(cache=ResponseCache(tmp_path / "answers.sqlite")))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: chat.ask(HELLO), range(8)))
    assert len(server.requests) == 1
    assert sum(answer.usage.cached for answer in answers) == 7


def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("these are just words, and more of them than a header has" * 9)
    with pytest.raises(StoreError, match=r"Cannot open the response cache .*x: file is not a database"):
        ResponseCache(tmp_path / "x")


# The bill.


def test_budgets_are_read() -> None:
    assert Budget.parse("5") == Budget.parse("$5.00") == Budget.parse(" 5USD ") == Budget(amount=5, unit="dollars")
    assert Budget.parse("2_000tokens") == Budget(amount=2000, unit="tokens")
    for wrong in ("", "much", "-1", "inf", "nan", "5 euros"):
        with pytest.raises(ValueError, match=r"^A budget is dollars \(5 or \$5\) or tokens"):
            Budget.parse(wrong)


def test_a_budget_holds_with_many_in_flight(tmp_path: Path) -> None:
    # Each request reads 3 and writes 3 tokens; 5 + 3 are set aside for it.
    budget = Budget(amount=60, unit="tokens")
    with ChatServer([Answer("fine so far", delay=0.05)]) as server:
        gateway = Gateway(ledger=CostLedger(tmp_path / "bill.jsonl", budget=budget))
        chat = model(server, gateway, max_tokens=3)

        def ask(i: int) -> bool:
            try:
                chat.ask(HELLO)
            except BudgetSpentError as error:
                assert "The budget of 60 tokens does not cover another request" in str(error)
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            answered = sum(pool.map(ask, range(40)))
    spent = gateway.ledger.total.prompt_tokens + gateway.ledger.total.completion_tokens
    assert answered == len(server.requests) == 9
    assert spent == 54
    # What was spent before counts in the next session.
    assert CostLedger(tmp_path / "bill.jsonl").total.prompt_tokens == 27
    with pytest.raises(BudgetSpentError):
        CostLedger(tmp_path / "bill.jsonl", budget=budget).set_aside("m", 13, 3).__enter__()


@pytest.mark.parametrize(
    ("text", "options", "most"),
    [
        ("three words here", {"max_tokens": 9}, 16 // 3 + 1 + 9),
        ("\u6c34\u58f6" * 50, {"max_tokens": 9}, 101 + 9),  # a token a character
        ("", {"max_tokens": 9, "extra": {"max_completion_tokens": 70}}, 1 + 70),
        ("", {}, 1 + 2048),
    ],
    ids=["english", "chinese", "new name", "no limit"],
)
def test_what_is_set_aside_is_what_a_request_can_cost(text: str, options: dict[str, Any], most: int) -> None:
    budget = Budget(amount=most - 1, unit="tokens")
    with ChatServer([GOOD]) as server, pytest.raises(BudgetSpentError, match=f"it could cost {most:,} tokens"):
        model(server, Gateway(ledger=CostLedger(budget=budget)), **options).ask([{"role": "user", "content": text}])


def test_half_a_line_of_a_bill_costs_that_line_only(tmp_path: Path) -> None:
    with ChatServer([GOOD]) as server:
        for _ in range(2):
            gateway = Gateway(ledger=CostLedger(tmp_path / "bill.jsonl"))
            model(server, gateway).ask(HELLO)
            gateway.close()
            with (tmp_path / "bill.jsonl").open("a") as file:
                file.write('{"endpoint": "htt')
    assert CostLedger(tmp_path / "bill.jsonl").total.requests == 2


def test_what_was_paid_before_prices_were_known_counts_towards_a_budget_in_dollars(tmp_path: Path) -> None:
    with ChatServer([GOOD]) as server:
        gateway = Gateway(ledger=CostLedger(tmp_path / "bill.jsonl"))
        model(server, gateway).ask(HELLO)
        gateway.close()
    prices = {"m": Price(input=1_000_000, output=1_000_000)}
    bill = CostLedger(tmp_path / "bill.jsonl", prices=prices, budget=Budget.parse("$7"))
    assert bill.total.cost == pytest.approx(6.0)
    with pytest.raises(BudgetSpentError, match=r"\$6 are spent"):
        bill.set_aside("m", 3, 3).__enter__()


def test_dollars_need_prices(tmp_path: Path) -> None:
    with ChatServer([GOOD]) as server:
        gateway = Gateway(ledger=CostLedger(budget=Budget.parse("1")))
        with pytest.raises(EndpointError, match="A budget in dollars needs to know what 'm' costs"):
            model(server, gateway).ask(HELLO)
        assert model(server).ask(HELLO).usage.cost is None
    file = tmp_path / "prices.json"
    file.write_text('{"m": {"input": 1, "output": 2, "cached_input": 0.5}}')
    assert read_prices(file)["m"].of(1_000_000, 1_000_000, 500_000) == pytest.approx(0.5 + 0.25 + 2)
    file.write_text('{"m": {"input": 1}}')
    with pytest.raises(StoreError, match=r"is not a price table: Field required \(at m\.output\)"):
        read_prices(file)
    with pytest.raises(StoreError, match=r"Cannot read .*: No such file"):
        read_prices(tmp_path / "none.json")


def test_a_server_that_does_not_count_keeps_no_budget() -> None:
    with ChatServer([Answer("x", usage=False)]) as server:
        assert model(server).ask(HELLO).usage.prompt_tokens == 0
        with pytest.raises(EndpointError, match="does not say how many tokens"):
            model(server, Gateway(ledger=CostLedger(budget=Budget.parse("99tokens"))), max_tokens=3).ask(HELLO)


# The pace.


def test_a_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    limit = functools.partial(RateLimit, clock=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("step_envs.endpoint.gateway.RateLimit", limit)
    with ChatServer([GOOD]) as server:
        chat = model(server, Gateway(requests_per_minute=600))
        for _ in range(8):
            chat.ask(HELLO)
    assert len(server.requests) == 8
    assert now[0] == pytest.approx(100.7)


def test_too_many_requests_make_no_storm() -> None:
    """Sixteen in flight against a server that allows twenty a second: it is obeyed, and nothing is lost."""
    seen: list[float] = []
    lock = threading.Lock()

    def script(request: dict[str, Any]) -> Answer:
        with lock:
            now = time.monotonic()
            recent = [t for t in seen if now - t < 1.0]
            if len(recent) >= 20:
                return Answer("slow down", status=429, headers={"retry-after": "0.3"})
            seen.append(now)
        return GOOD

    with ChatServer(script) as server:
        chat = model(server, max_retries=8)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda i: chat.ask(HELLO, seed=i), range(60)))
    assert [answer.text for answer in answers] == [GOOD.text] * 60
    assert len(server.requests) <= 60 * 1.8


def test_a_pause_is_for_everybody() -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    limit = RateLimit(clock=lambda: now[0], sleep=sleep)
    assert limit.wait() == 0
    limit.note_refusal(7.0)
    limit.note_refusal(3.0)
    assert limit.wait() == pytest.approx(7.0)
    assert limit.wait() == pytest.approx(0.02)
    for _ in range(200):
        limit.note_answer()
    limit.wait()
    assert limit.wait() == 0


# Keys.


def test_a_key_reaches_the_server_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARKER", KEY)
    caplog.set_level(logging.DEBUG)
    texts = []
    faults = [
        Answer(f"Incorrect API key provided: {KEY}", status=401),
        Answer(f"wrong: {KEY}", status=400),
        Answer(f"oops {KEY}", status=500),
        Answer("dropped in the middle", drop=True),
        Answer(raw=f"not JSON {KEY}".encode()),
        GOOD,
    ]
    for fault in faults:
        with ChatServer([fault]) as server:
            gateway = Gateway(
                cache=ResponseCache(tmp_path / "answers.sqlite"), ledger=CostLedger(tmp_path / "bill.jsonl")
            )
            chat = model(server, gateway, api_key_env="MARKER", max_retries=1)
            try:
                chat.ask(HELLO)
            except EndpointError as error:
                texts.append("".join(traceback.format_exception(error)))
            texts.append(repr(chat.describe("openai")) + repr(chat.endpoint))
            gateway.close()
        assert all(f"Bearer {KEY}" in head for head in server.headers)
    assert len(texts) == 5 + len(faults)
    texts += [record.getMessage() for record in caplog.records]
    texts += list(capfd.readouterr())
    assert KEY not in "".join(texts)
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


def test_keys_are_taken_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EndpointError, match=r"^No key: set the environment variable OPENAI_API_KEY, or name a server"):
        ChatModel("m").ask(HELLO)
    for address in (f"http://user:{KEY}@host/v1", f"http://host/v1?key={KEY}"):
        with pytest.raises(ValueError, match="must hold no user name, password or query") as caught:
            ChatModel("m", address)
        assert KEY not in str(caught.value)
    with pytest.raises(ValueError, match=r"base_url must look like http://localhost:8000/v1\."):
        ChatModel("m", "localhost:8000")
    with pytest.raises(ValueError, match="must be the name of an environment variable") as caught:
        ChatModel("m", "http://host/v1", api_key_env=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} {KEY}", f"{KEY}\u00e9"])
def test_a_key_that_cannot_be_sent_is_said_before_it_is_sent(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKER", key)
    with ChatServer([GOOD]) as server:
        with pytest.raises(EndpointError, match="The key in the environment variable MARKER holds a space") as caught:
            model(server, api_key_env="MARKER").ask(HELLO)
        assert not server.requests
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_bill_lines_say_what_was_paid(tmp_path: Path) -> None:
    with ChatServer([GOOD]) as server:
        model(server, Gateway(ledger=CostLedger(tmp_path / "bill.jsonl"))).ask(HELLO)
        (line,) = (tmp_path / "bill.jsonl").read_text().splitlines()
        assert json.loads(line)["endpoint"] == server.url
    assert json.loads(line)["usage"]["completion_tokens"] == 3
