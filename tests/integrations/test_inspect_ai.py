"""inspect_ai evaluates in our worlds: the scores are those of ``step-envs eval``, limits and errors are inspect's."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import gymnasium as gym
import numpy as np
import pytest
from chat_server import Answer, ChatServer
from own_evaluation import WORLDS, Played, played

pytestmark = pytest.mark.integrations
inspect_ai = pytest.importorskip("inspect_ai", reason="make test-tool-inspect_ai")

from inspect_ai import Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolCall

from step_envs.errors import EngineError, UnknownNameError
from step_envs.integrations.chat_tasks import ChatEpisode
from step_envs.integrations.inspect_ai import (
    METRICS,
    TRAJECTORY,
    alfworld,
    episode_score,
    play_episode,
    sciworld,
    trajectories,
    webshop,
    world,
)
from step_envs.replies import TOOL

ALFWORLD = WORLDS[0]
TASKS = {WORLDS[0]: alfworld, WORLDS[1]: webshop, WORLDS[2]: sciworld}
LOOK = "Thought: I look first.\nAction: look"
USAGE = ModelUsage(input_tokens=5, output_tokens=3, total_tokens=12, input_tokens_cache_read=4)


def output(content: Any = LOOK, stop_reason: Any = "stop", **message: Any) -> ModelOutput:
    made = ModelOutput.from_content("scripted", content, stop_reason)
    made.choices[0].message = made.message.model_copy(update=message)
    made.usage = USAGE
    return made


def outputs(*replies: ModelOutput | Exception) -> Callable[..., ModelOutput]:
    """Return a model that replies in this order, and with the last one again and again."""
    left = list(replies)

    def reply(*asked: Any) -> ModelOutput:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    return reply


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., EvalLog]:
    """Evaluate, and return what the log holds."""

    def run(task: Task, replies: Callable[..., Any], **options: Any) -> EvalLog:
        model = get_model("mockllm/model", memoize=False, custom_outputs=replies)
        options = {"log_dir": str(tmp_path), "display": "none", "log_realtime": False} | options
        (log,) = eval(task, model=model, **options)
        return read_eval_log(log.location)

    return run


def only_sample(log: EvalLog) -> EvalSample:
    (sample,) = log.samples or ()
    return sample


def figures(log: EvalLog) -> dict[str, dict[str, float]]:
    assert log.results is not None
    return {one.name: {name: metric.value for name, metric in one.metrics.items()} for one in log.results.scores}


def values(log: EvalLog) -> dict[str, Any]:
    return {str(one.id): (one.scores or {})["episode_score"].value for one in log.samples or ()}


def scripted(own: Played) -> Callable[..., ModelOutput]:
    return lambda messages, *_: output(own.script.reply([{"role": one.role, "content": one.text} for one in messages]))


def assert_is_own(log: EvalLog, own: Played) -> None:
    """Compare a log with our own evaluation."""
    assert log.status == "success"
    assert values(log) == own.metrics
    found = figures(log)
    for name in ("success", "score", "reward", "steps"):
        expected = [one[name] for one in own.metrics.values()]
        assert found[name]["mean"] == pytest.approx(np.mean(expected))
        assert found[name]["stderr"] == pytest.approx(np.std(expected, ddof=1) / len(expected) ** 0.5)
    assert found["success"]["mean"] == pytest.approx(own.evaluation.overall.success.value)
    assert {name: one for name, one in found["success"].items() if name.startswith("grouped_")} == pytest.approx(
        {f"grouped_{name}": one.success.value for name, one in own.evaluation.by_task_type.items()}
    )
    assert log.results is not None and log.results.headline is not None
    assert (log.results.headline.score, log.results.headline.metric) == ("success", "mean")


@pytest.mark.parametrize("env", WORLDS)
def test_the_scores_are_those_of_our_own_evaluation(env: str, run: Callable[..., EvalLog]) -> None:
    own = played(env)
    task = TASKS[env](episodes=len(own.episodes), protocol="eto")
    log = run(task, scripted(own), max_samples=4)
    assert_is_own(log, own)
    found = {one.task_id: one for one in trajectories(log)}
    assert len(found) == len(own.episodes)
    for sample in log.samples or ():
        one, expected = found[str(sample.id)], own.episodes[str(sample.id)]
        turns = [turn.model_copy(update={"usage": None}) for turn in one.turns]
        assert turns == list(expected.turns)
        assert one.stop_reason == expected.stop_reason
        assert (one.agent.name, one.agent.model) == ("inspect_ai", "mockllm/model")
        assert [(one.role, one.text) for one in sample.messages] == [(one.role, one.content) for one in expected.turns]
        assert sample.metadata == {
            "task_id": expected.task_id,
            "task_type": expected.task_type,
            "split": expected.split,
        }
        replies = sum(turn.kind == "agent" for turn in turns)
        assert (one.usage.requests, one.usage.prompt_tokens, one.usage.completion_tokens) == (
            replies,
            9 * replies,
            3 * replies,
        )


def test_the_command_evaluates_over_http(tmp_path: Path) -> None:
    own = played(ALFWORLD, "own")
    with ChatServer(lambda request: Answer(own.script.reply(request["messages"]))) as server:
        settings = ("-T", "protocol=own", "-T", f"episodes={len(own.episodes)}")
        command = [Path(sys.executable).parent / "inspect", "eval", "step_envs/alfworld", *settings]
        options = ["--model", "openai-api/script/scripted", "--log-dir", tmp_path / "logs", "--display", "none"]
        done = subprocess.run(
            [*command, *options],
            env=os.environ | {"SCRIPT_BASE_URL": server.url, "SCRIPT_API_KEY": "none"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(found)
    assert_is_own(log, own)
    assert log.eval.task == "step_envs/alfworld"
    assert len(server.requests) == sum(one.usage.requests for one in trajectories(log))
    # The script's server counts words.
    written = sum(
        len(turn.content.split()) for one in own.episodes.values() for turn in one.turns if turn.kind == "agent"
    )
    assert sum(one.usage.completion_tokens for one in trajectories(log)) == written


def test_epochs_are_averaged_before_the_error_is_computed(run: Callable[..., EvalLog]) -> None:
    own = played(ALFWORLD, "own", 8)
    task = alfworld(episodes=len(own.episodes))
    log = run(task, scripted(own), epochs=2)
    assert len(log.samples or ()) == 2 * len(own.episodes)
    assert_is_own(log, own)


def test_tasks_are_chosen_by_limit_and_by_their_ids(run: Callable[..., EvalLog]) -> None:
    drawn = {sample.id for sample in alfworld(split="valid_unseen", episodes=3, seed=5).dataset}
    log = run(alfworld(split="valid_unseen", seed=5), outputs(output()), limit=3, turn_limit=1)
    assert {sample.id for sample in log.samples or ()} == drawn
    named = sorted(map(str, drawn))[1:]
    log = run(alfworld(split="valid_unseen", seed=5), outputs(output()), sample_id=named, turn_limit=1)
    assert sorted(str(sample.id) for sample in log.samples or ()) == named


@pytest.mark.parametrize("stop_reason", ["max_tokens", "model_length", "content_filter"])
def test_a_reply_that_was_cut_off_is_not_carried_out(stop_reason: str, run: Callable[..., EvalLog]) -> None:
    task = alfworld(episodes=1)
    log = run(task, outputs(output(LOOK, stop_reason), output(LOOK)), turn_limit=2)
    (one,) = trajectories(log)
    assert [turn.action for turn in one.turns if turn.kind == "agent"] == [None, "look"]
    assert [turn.loss for turn in one.turns if turn.kind == "agent"] == [0, 1]


def test_reasoning_is_no_part_of_the_reply(run: Callable[..., EvalLog]) -> None:
    content = [ContentReasoning(reasoning="Action: inventory"), ContentText(text=LOOK)]
    log = run(
        alfworld(episodes=1), outputs(output(content), output("<think>Action: inventory</think>" + LOOK)), turn_limit=2
    )
    (one,) = trajectories(log)
    assert [turn.content for turn in one.turns if turn.kind == "agent"] == [LOOK, LOOK]
    sample = only_sample(log)
    assert [one.text for one in sample.messages if one.role == "assistant"] == ["OK", LOOK, LOOK]
    # What the model thought can be read in the events.
    events = [one for one in sample.events if one.event == "model"]
    assert isinstance(events[0].output.message.content[0], ContentReasoning)


def test_a_reply_without_words_stands_in_the_conversation_as_such(run: Callable[..., EvalLog]) -> None:
    log = run(alfworld(episodes=1), outputs(output("", "max_tokens")), turn_limit=1)
    assert only_sample(log).messages[-2].text == "(nothing)"


def test_actions_may_be_tool_calls(run: Callable[..., EvalLog]) -> None:
    offered = []
    call = ToolCall(id="1", function="act", arguments={"action": "look"})
    broken = ToolCall(id="2", function="act", arguments={}, parse_error="cut off")

    def reply(messages: Any, tools: Any, *asked: Any) -> ModelOutput:
        offered.append(tools)
        if len(offered) == 1:
            return output("I look.", "tool_calls", tool_calls=[call])
        return output("I go.", "max_tokens", tool_calls=[broken])

    log = run(alfworld(episodes=1, reply_format="tool-calls"), reply, turn_limit=2)
    (one,) = trajectories(log)
    assert [turn.action for turn in one.turns if turn.kind == "agent"] == ["look", None]
    (tool,) = offered[0]
    expected = TOOL["function"]
    assert (tool.name, tool.description) == (expected["name"], expected["description"])
    assert tool.parameters.model_dump(exclude_none=True) == expected["parameters"]
    # As in our own evaluation, a call stands in the conversation as text.
    assert [one.tool_calls for one in only_sample(log).messages if one.role == "assistant"] == [None] * 3


def hangs_after(number: int) -> Callable[..., Any]:
    """Return a model that does not come back from the reply after so many."""
    asked = []

    async def reply(*given: Any) -> ModelOutput:
        asked.append(given)
        await anyio.sleep(600 if len(asked) > number else 0)
        return output()

    return reply


@pytest.mark.parametrize(
    ("limit", "replies", "steps"),
    [
        ({"turn_limit": 2}, outputs(output()), 2),
        ({"message_limit": 7}, outputs(output()), 2),
        ({"message_limit": 2}, outputs(output()), 0),
        ({"token_limit": 30}, outputs(output()), 2),
        ({"time_limit": 3}, hangs_after(2), 2),
    ],
)
def test_a_limit_of_inspect_ends_the_episode(
    limit: dict[str, int], replies: Any, steps: int, run: Callable[..., EvalLog], made: list[gym.Env[str, str]]
) -> None:
    task = alfworld(episodes=1, seed=len(str(limit)))
    log = run(task, replies, **limit)
    sample = only_sample(log)
    assert log.status == "success" and sample.limit is not None
    assert sample.limit.type == next(iter(limit)).removesuffix("_limit")
    assert values(log)[str(sample.id)] == {"success": 0, "score": 0, "reward": 0, "steps": steps}
    (one,) = trajectories(log)
    assert one.stop_reason == "agent_stopped"
    before = len(made)
    run(task, outputs(output()), turn_limit=1)
    assert len(made) == before <= 1, "the environment was not given back"


def test_an_error_of_the_model_ends_the_episode(run: Callable[..., EvalLog], made: list[gym.Env[str, str]]) -> None:
    task = alfworld(episodes=1, seed=77)
    log = run(task, outputs(output(), RuntimeError("The endpoint is down.")))
    sample = only_sample(log)
    assert (
        log.status == "error" and sample.error is not None and sample.error.message.endswith("The endpoint is down.')")
    )
    assert sample.store[METRICS]["steps"] == 1 and sample.store[TRAJECTORY]["stop_reason"] == "agent_stopped"
    log = run(task, outputs(output(), RuntimeError("The endpoint is down.")), score_on_error=True)
    assert values(log)[str(sample.id)]["steps"] == 1
    assert len(made) == 1


def test_a_fault_of_the_world_is_an_error_and_no_score(
    run: Callable[..., EvalLog], made: list[gym.Env[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = alfworld(episodes=2, seed=78)
    first, second = (str(one.id) for one in task.dataset)
    reply = ChatEpisode.reply

    def fail(self: ChatEpisode, given: Any) -> str:
        observation = reply(self, given)
        if self.info["task_id"] == first:
            raise EngineError("The engine is gone.")
        return observation

    monkeypatch.setattr(ChatEpisode, "reply", fail)
    log = run(task, outputs(output()), turn_limit=2, fail_on_error=False, score_on_error=True, max_samples=1)
    found = {str(one.id): one for one in log.samples or ()}
    assert found[first].error is not None and "The engine is gone." in found[first].error.message
    assert METRICS not in found[first].store and TRAJECTORY not in found[first].store
    assert np.isnan(values(log)[first]) and values(log)[second]["steps"] == 2
    assert figures(log)["steps"]["mean"] == 2
    assert [one.task_id for one in trajectories(log)] == [second]
    assert len(made) == 1


def test_worlds_do_not_stop_one_another(run: Callable[..., EvalLog], monkeypatch: pytest.MonkeyPatch) -> None:
    both, reply = threading.Barrier(2, timeout=60), ChatEpisode.reply

    def wait(self: ChatEpisode, given: Any) -> str:
        both.wait()
        return reply(self, given)

    monkeypatch.setattr(ChatEpisode, "reply", wait)
    log = run(alfworld(episodes=2), outputs(output()), turn_limit=2, max_samples=2)
    assert log.status == "success" and [one["steps"] for one in values(log).values()] == [2, 2]


def test_a_world_at_work_is_waited_for(run: Callable[..., EvalLog], monkeypatch: pytest.MonkeyPatch) -> None:
    noted, reply, close = [], ChatEpisode.reply, ChatEpisode.close

    def work(self: ChatEpisode, given: Any) -> str:
        time.sleep(3)
        observation = reply(self, given)
        noted.append("reply")
        return observation

    def note(self: ChatEpisode) -> None:
        noted.append("close")
        close(self)

    monkeypatch.setattr(ChatEpisode, "reply", work)
    monkeypatch.setattr(ChatEpisode, "close", note)
    log = run(alfworld(episodes=1), outputs(output()), time_limit=2)
    limit = only_sample(log).limit
    assert limit is not None and limit.type == "time"
    assert noted == ["reply", "close"]
    assert [one["steps"] for one in values(log).values()] == [1]


def test_solver_and_scorer_can_be_used_by_themselves(run: Callable[..., EvalLog]) -> None:
    (known,) = (one.id for one in alfworld(episodes=1).dataset)
    dataset = [Sample(id=known, input="", metadata={"task_type": "any"}), Sample(id="nowhere", input="")]
    task = Task(dataset=dataset, solver=play_episode(ALFWORLD), scorer=episode_score())
    log = run(task, outputs(output()), turn_limit=2, fail_on_error=False)
    found = {str(one.id): one for one in log.samples or ()}
    assert values(EvalLog(eval=log.eval, samples=[found[str(known)]]))[str(known)]["steps"] == 2
    assert found["nowhere"].error is not None and "Unknown task 'nowhere'" in found["nowhere"].error.message
    # A log holds all that the scorer needs.
    before = figures(log)
    assert figures(score(log, episode_score(), action="overwrite")) == before
    assert [one.id for one in world(env=ALFWORLD, episodes=1).dataset] == [known]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"^Unknown argument of ChatTasks 'splt'\. Did you mean 'split'\?$"):
        alfworld(splt="train")
    with pytest.raises(UnknownNameError, match=r"^Unknown split 'valid_unsen'\. Did you mean 'valid_unseen'"):
        play_episode(ALFWORLD, split="valid_unsen")
    with pytest.raises(ValueError, match=r"^episodes: Input should be greater than or equal to 1, got 0\.$"):
        webshop(episodes=0)
    with pytest.raises(UnknownNameError, match=r"^Unknown environment 'STeP-ALFWord-v0'\."):
        world(env="STeP-ALFWord-v0")
