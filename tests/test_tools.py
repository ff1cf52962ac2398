"""The reply format tool-calls at endpoints: its tool is offered, a server that refuses tools gets text, keys are masked."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import openai
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer

from step_envs.agents import ChatAgent
from step_envs.collection import collect, rollout
from step_envs.collection.config import CollectConfig
from step_envs.confidential import note_secret, without_keys_within
from step_envs.endpoint import ChatModel, Gateway
from step_envs.endpoint.server_errors import read_error
from step_envs.errors import RequestRefusedError
from step_envs.replies import FORMATS, TOOL, read_reply
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, RecordTrajectory

KEY = "sk-marker-tools-0123456789abcdef"
TEXT = 'so\n<tool_call>\n{"name": "act", "arguments": {"action": "look"}}\n</tool_call>'
REFUSALS = [
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    (500, "tools param requires --jinja flag"),
    (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
    (404, "No endpoints found that support tool use. To learn more, visit https://openrouter.ai/docs"),
    (400, "litellm.UnsupportedParamsError: ollama does not support parameters: ['tools'], for model=m"),
    (400, "Unrecognized request argument supplied: tools"),
    (400, "`tool calling` is not supported with this model"),
    (400, "Function calling is not enabled for models/gemma-3-27b-it"),
    (400, "This model doesn't support tool use."),
    (400, "deepseek-reasoner does not support Function Calling"),
    (400, "The tool call is not supported."),
    (400, "Failed to call a function. Please adjust your prompt."),
    (422, "tools: Extra inputs are not permitted"),
    (400, "当前模型不支持 tools 参数"),
]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openai._constants, openai._base_client):
        monkeypatch.setattr(module, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY", 0.05)


def call(action: str, **fields: Any) -> Answer:
    """Write a completion that calls the tool."""
    arguments = json.dumps({"action": action})
    return calls(arguments, **fields)


def calls(arguments: str, *, content: str | None = "so", finish: str = "tool_calls") -> Answer:
    function = {"name": "act", "arguments": arguments}
    message = {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "1", "type": "function", "function": function}],
    }
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
    return Answer(raw=json.dumps(body).encode())


def play(server: ChatServer, reply_format: Any = "tool-calls", **options: Any) -> Trajectory:
    env = RecordTrajectory(ReActWrapper(gym.make("Coin-v0", max_steps=3), reply_format=reply_format))
    agent = ChatAgent("m", server.url, **({"max_retries": 1} | options))
    agent.chat.connect(Gateway())
    return rollout(env, agent, seed=0)


def actions(trajectory: Trajectory) -> list[str | None]:
    return [turn.action for turn in trajectory.turns if turn.kind == "agent"]


def test_the_tool_is_offered_in_the_format_tool_calls_and_in_no_other() -> None:
    with ChatServer([call("look")]) as server:
        played = play(server)
        assert actions(played) == ["look"] * 3
        assert [request["tools"] for request in server.requests] == [[TOOL]] * 3
    for name in ("react", "action-tags"):
        with ChatServer([Answer("Thought: so\nAction: look")]) as server:
            play(server, name)
            assert not any("tools" in request for request in server.requests)


def test_the_tool_is_the_function_that_the_manual_asks_for() -> None:
    form = FORMATS["tool-calls"]
    assert form.tools == (TOOL,)
    function: Any = TOOL["function"]
    assert (
        f"function {function['name']}, whose only argument is {function['parameters']['required'][0]}"
        in form.manual("")
    )
    assert list(function["parameters"]["properties"]) == function["parameters"]["required"] == ["action"]


@pytest.mark.parametrize(("status", "words"), REFUSALS)
def test_a_server_that_refuses_tools_is_learned_once_and_asked_for_text(status: int, words: str) -> None:
    def script(request: dict[str, Any]) -> Answer:
        return Answer(words, status=status) if "tools" in request else Answer(TEXT)

    with ChatServer(script) as server:
        assert actions(play(server)) == ["look"] * 3
        assert ["tools" in request for request in server.requests] == [True, False, False, False]


def test_a_server_that_fails_without_a_word_is_asked_for_text() -> None:
    with ChatServer(lambda request: Answer(raw=b"", status=500) if "tools" in request else Answer(TEXT)) as server:
        assert actions(play(server, max_retries=3)) == ["look"] * 3
        assert sum("tools" in request for request in server.requests) <= 2
        assert ["tools" in request for request in server.requests[-3:]] == [False] * 3


def test_a_server_that_took_tools_keeps_getting_them_through_a_fault() -> None:
    answers = [call("look"), Answer(raw=b"", status=500), call("look"), call("look")]
    with ChatServer(answers) as server:
        play(server)
        assert all("tools" in request for request in server.requests)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 9 tokens. Your messages have 20 tokens (8 in the functions).",
        "unsupported parameter: 'seed' is not supported with this model",
        "Rate limit reached for requests with tools",
    ],
)
def test_other_faults_are_not_taken_for_a_refusal_of_tools(words: str) -> None:
    error = read_error(400, {}, json.dumps({"error": {"message": words}}).encode())
    assert error is not None
    assert error.kind != "tools"


def test_a_refusal_that_names_tools_nobody_sent_is_handed_on() -> None:
    with ChatServer([Answer("tools are not supported", status=400)]) as server:
        chat = ChatModel("m", server.url, max_retries=0)
        chat.connect(Gateway())
        with pytest.raises(RequestRefusedError, match="tools are not supported"):
            chat.ask([{"role": "user", "content": "u"}])
        assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "tool_calls"])
def test_a_call_without_an_action_is_a_reply_without_an_action(reason: str) -> None:
    message = {"role": "assistant", "content": "", "tool_calls": [] if reason.isupper() else [{"function": {}}]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": reason}], "usage": {}}).encode()
    with ChatServer([Answer(raw=body)]) as server:
        played = play(server)
    assert actions(played) == [None] * 3
    assert played.turns[-1].content.endswith("a call of the function 'act' with the argument 'action'")


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


@pytest.mark.parametrize("arguments", [json.dumps({"action": f"say {KEY}"}), f'{{"action": "say {escaped(KEY)}"}}'])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_key_in_a_call_reaches_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, as_text: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    text = f'<tool_call>\n{{"name": "act", "arguments": {arguments}}}\n</tool_call>'
    with ChatServer([Answer(text) if as_text else calls(arguments, content=KEY)]) as server:
        config = CollectConfig(
            env="Coin-v0",
            episodes=1,
            agent=f"chat:model=m,base_url={server.url}",
            teacher=None,
            reply_format="tool-calls",
        )
        collect(config, tmp_path / "run")
    [trajectory] = read_trajectories(tmp_path / "run")
    assert set(actions(trajectory)) == {"say [key]"}
    spellings = [KEY.encode(), *([] if as_text else [escaped(KEY).encode()])]
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert not any(key in file.read_bytes() for key in spellings)


def test_nested_texts_are_masked_and_others_left_as_they_are() -> None:
    note_secret(KEY)
    given = {"a": [f"x {KEY}", 1, None], "arguments": '{"n": 1, "action":  "look"}', KEY: True}
    assert without_keys_within(given) == {"a": ["x [key]", 1, None], "arguments": given["arguments"], "[key]": True}
    assert without_keys_within("{" + KEY) == "{[key]"


def test_calls_are_read_as_before_when_the_server_returns_text() -> None:
    assert read_reply(TEXT, FORMATS["tool-calls"]).action == "look"
