"""The loop for AReaL against a real HTTP server: the scores of our own evaluation, several episodes at once."""

import asyncio
import json
import threading
from typing import Any

import openai
import pytest
from chat_server import Answer, ChatServer
from own_evaluation import WORLDS, Script, played

from step_envs.errors import UnknownNameError
from step_envs.integrations.areal import EpisodeWorkflow
from step_envs.integrations.chat_tasks import ChatEpisode

ALFWORLD = WORLDS[0]


def replies(script: Script) -> Any:
    return lambda request: Answer(script.reply(request["messages"]), delay=0.001)


async def play(workflow: EpisodeWorkflow, url: str) -> list[float]:
    rows = workflow.rows()
    return await asyncio.gather(*(workflow.run(row, base_url=url, api_key="none") for row in rows))


@pytest.mark.parametrize("world", [WORLDS[0], WORLDS[1], pytest.param(WORLDS[2], marks=pytest.mark.slow)])
def test_rewards_are_those_of_our_own_evaluation(world: str) -> None:
    own = played(world)
    workflow = EpisodeWorkflow(world, settings={"episodes": len(own.episodes), "protocol": "eto"})
    with workflow.tasks, ChatServer(replies(own.script)) as server:
        found = dict(zip(workflow.tasks.task_ids, asyncio.run(play(workflow, server.url)), strict=True))
    assert found == {task_id: one["reward"] for task_id, one in own.metrics.items()}


def test_a_reply_that_was_cut_off_is_no_action() -> None:
    workflow = EpisodeWorkflow(ALFWORLD, settings={"episodes": 1}, max_turns=2)
    answers = [Answer("Thought: I go.\nAction: go to fri", finish="length"), Answer("Action: look")]
    with workflow.tasks, ChatServer(answers) as server:
        asyncio.run(play(workflow, server.url))
        second = server.requests[1]["messages"]
    assert second[-2]["content"] == "Thought: I go.\nAction: go to fri"
    assert "Invalid format" in second[-1]["content"] or "must contain 'Action: '" in second[-1]["content"]
    assert len(server.requests) == 2, "max_turns ends the episode"


def test_tool_calls_are_read_and_the_tool_is_offered() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "act", "arguments": '{"action": "look"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    settings = {"episodes": 1, "reply_format": "tool-calls"}
    workflow = EpisodeWorkflow(ALFWORLD, settings=settings, max_turns=2, request={"temperature": 0.5})
    with workflow.tasks, ChatServer([Answer(raw=json.dumps(body).encode())]) as server:
        asyncio.run(play(workflow, server.url))
        first, second = server.requests
    assert first["tools"][0]["function"]["name"] == "act" and first["temperature"] == 0.5
    assert second["messages"][-1]["content"].startswith("Observation: You are in the middle of a room.")


def test_an_error_drops_the_episode_and_frees_the_environment() -> None:
    workflow = EpisodeWorkflow(ALFWORLD, settings={"episodes": 1})
    with workflow.tasks, ChatServer([Answer("no", status=401)]) as server:
        for _ in range(2):
            with pytest.raises(openai.AuthenticationError):
                asyncio.run(play(workflow, server.url))
        with workflow.tasks.begin(workflow.tasks.task_ids[0]) as episode:
            assert not episode.over


def test_a_cancelled_episode_frees_its_environment_after_the_running_step(monkeypatch: pytest.MonkeyPatch) -> None:
    in_step, go_on, stepped = threading.Event(), threading.Event(), []
    reply = ChatEpisode.reply

    def slow(self: ChatEpisode, text: Any) -> str:
        in_step.set()
        go_on.wait(30)
        stepped.append(reply(self, text))
        return stepped[-1]

    monkeypatch.setattr(ChatEpisode, "reply", slow)
    workflow = EpisodeWorkflow(ALFWORLD, settings={"episodes": 1})

    async def cancel_in_the_middle(url: str) -> None:
        (row,) = workflow.rows()
        running = asyncio.create_task(workflow.run(row, base_url=url, api_key="none"))
        await asyncio.to_thread(in_step.wait, 30)
        running.cancel()
        await asyncio.sleep(0.05)
        assert not running.done(), "the environment would be given to the next episode while it works"
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    with workflow.tasks, ChatServer([Answer("Action: look")]) as server:
        asyncio.run(cancel_in_the_middle(server.url))
    assert len(stepped) == 1


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown argument of EpisodeWorkflow 'setting'\. Did you mean 'settings'"
    ):
        EpisodeWorkflow(ALFWORLD, setting={})
    workflow = EpisodeWorkflow(ALFWORLD, settings={"episodes": 1})
    with (
        workflow.tasks,
        pytest.raises(ValueError, match=r"The row has no column 'task_id': make the dataset with Episode"),
    ):
        asyncio.run(workflow.run({}))
