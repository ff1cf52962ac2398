"""verifiers plays our worlds: ``vf-eval`` shows a model the conversations of ``step-envs eval``, and finds its scores."""

import asyncio
import importlib.util
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from chat_server import Answer, ChatServer
from own_evaluation import WORLDS, Played, Script, played

from step_envs.errors import EngineError
from step_envs.integrations.chat_tasks import ChatEpisode, ChatTasks
from step_envs.replies import TOOL, ToolCall
from step_envs.wrappers.reply import Reply

pytestmark = pytest.mark.integrations
pytest.importorskip("verifiers", reason="make test-integrations")

import verifiers.v1 as vf
from verifiers.v1.cli.eval.main import main

from step_envs.integrations import verifiers as adapter

ALFWORLD, WEBSHOP, _ = WORLDS
LOOK = "Thought: I look.\nAction: look"
TASKSET = "step-envs-verifiers"

Trace = dict[str, Any]
Evaluate = Callable[..., list[Trace]]


def scripted(script: Script) -> ChatServer:
    """A server that replies as the episodes of our own evaluation did."""
    return ChatServer(lambda request: Answer(script.reply(request["messages"])))


def raw(message: dict[str, Any], finish: str = "stop") -> Answer:
    """An answer with fields that the server of the tests does not know."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant"} | message}
    completion = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return Answer(raw=json.dumps(completion).encode())


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evaluate]:
    """Runs ``vf-eval`` in this process, and returns the traces that it wrote."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(sys, "argv", ["vf-eval"])
    monkeypatch.setenv("VF_RUN_ID", "tests")

    def run(*arguments: str, url: str = "http://127.0.0.1:1/v1", task: str | None = None) -> list[Trace]:
        given = [*arguments, "--client.base-url", url, "-m", "scripted", "--no-push", "--no-rich", "-o", str(tmp_path)]
        if task is not None:
            given += ["--select.include.ids", json.dumps([task])]
        main([*given, "--run.dir", "run", "--clean"])
        lines = (tmp_path / "run" / "traces.jsonl").read_text().splitlines()
        return [{"episode": json.loads(line)} | trace for line in lines for trace in json.loads(line)["traces"]]

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def of_world(own: Played, *further: str) -> list[str]:
    """The arguments by which ``vf-eval`` plays the tasks of our own evaluation."""
    config = own.config
    settings = {"env": config.env, "episodes": config.episodes, "protocol": config.protocol}
    return [TASKSET, *(f"--env.taskset.{name}={value}" for name, value in settings.items()), *further]


def worth(trace: Trace) -> dict[str, float]:
    """What verifiers says an episode was worth."""
    assert trace["rewards"].keys() == {"reward"} and trace["rewards"]["reward"]["weight"] == 1
    return trace["metrics"] | {"reward": trace["rewards"]["reward"]["score"]}


def said(trace: Trace) -> list[tuple[str, str]]:
    return [(node["message"]["role"], node["message"].get("content", "")) for node in trace["nodes"]]


@pytest.mark.parametrize("world", WORLDS)
def test_the_scores_are_those_of_our_own_evaluation(world: str, evaluate: Evaluate) -> None:
    own = played(world)
    with scripted(own.script) as server:
        traces = evaluate(*of_world(own, "-c", "4"), url=server.url)
    found = {trace["task"]["data"]["id"]: trace for trace in traces}
    assert len(traces) == len(found) == len(own.episodes)
    assert {task_id: worth(trace) for task_id, trace in found.items()} == own.metrics
    for task_id, trace in found.items():
        episode = own.episodes[task_id]
        assert trace["ok"] and trace["info"] == {"stop_reason": episode.stop_reason}
        assert trace["task"]["key"] == f"{world}/{task_id}"
        # One chain of messages: all that ours has, but for the last observation, which no model was shown.
        assert [node.get("parent") for node in trace["nodes"]] == [None, *range(len(trace["nodes"]) - 1)]
        messages = [(one["role"], one["content"]) for one in episode.messages()]
        assert said(trace) == messages[:-1]
        # The model's are its replies, and not the "OK" after the manual.
        ours = [turn.role == "assistant" and turn.kind != "instruction" for turn in episode.turns]
        assert [node["sampled"] for node in trace["nodes"]] == ours[:-1]


def test_episodes_at_once_share_environments_that_are_closed_at_the_end(
    evaluate: Evaluate, made: list[gym.Env[str, str]]
) -> None:
    own = played(ALFWORLD)
    together = lambda request: Answer(own.script.reply(request["messages"]), together=4)  # noqa: E731
    already = len(made)
    with ChatServer(together) as server:
        traces = evaluate(*of_world(own, "-c", "4", "-n", "8"), url=server.url)
    assert len(traces) == 8 and all(worth(one) == own.metrics[one["task"]["data"]["id"]] for one in traces)
    assert len(made) - already == 4
    for env in made[already:]:
        with pytest.raises(gym.error.ClosedEnvironmentError):
            env.reset()


def test_only_the_tokens_of_replies_are_trained(evaluate: Evaluate, tmp_path: Path) -> None:
    """With the client of a trainer, which renders conversations to tokens and asks vLLM for tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(alphabet, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    marks = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    PreTrainedTokenizerFast(tokenizer_object=made, chat_template=template, **marks).save_pretrained(tmp_path / "tok")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tok")
    own = played(WEBSHOP)

    def generate(request: dict[str, Any]) -> Answer:
        if not request:
            return Answer(status=404, text="no list of models")
        text = tokenizer.decode(request["token_ids"])
        turns = [one.removesuffix("<|im_end|>").partition("\n") for one in text.split("<|im_start|>")[1:-1]]
        reply = own.script.reply([{"role": role, "content": content} for role, _, content in turns])
        ids = tokenizer.encode(f"{reply}<|im_end|>", add_special_tokens=False)
        logprobs = {"content": [{"token": f"token_id:{one}", "logprob": -0.5} for one in ids]}
        choice = {"token_ids": ids, "finish_reason": "stop", "logprobs": logprobs}
        return Answer(raw=json.dumps({"request_id": "x", "choices": [choice]}).encode())

    client = ["--client.type", "train", "--client.renderer-model-name", str(tmp_path / "tok")]
    with ChatServer(generate) as server:
        traces = evaluate(*of_world(own, "-n", "4", *client), url=server.url)
    assert len(traces) == 4
    for trace in traces:
        episode = own.episodes[trace["task"]["data"]["id"]]
        assert worth(trace) == own.metrics[episode.task_id]
        trained = [
            tokenizer.decode([token for token, kept in zip(node["token_ids"], node["mask"], strict=True) if kept])
            for node in trace["nodes"]
        ]
        ours = [turn.role == "assistant" and turn.kind != "instruction" for turn in episode.turns[:-1]]
        replies = [f"{turn.content}<|im_end|>" if own else "" for turn, own in zip(episode.turns, ours, strict=False)]
        assert trained == replies and any(trained)
        whole = tokenizer.decode([token for node in trace["nodes"] for token in node["token_ids"]])
        assert whole == tokenizer.apply_chat_template(episode.messages()[:-1], tokenize=False)


def test_a_limit_of_verifiers_ends_an_episode_with_its_score_so_far(evaluate: Evaluate) -> None:
    with ChatServer([Answer(LOOK)]) as server:
        (trace,) = evaluate(
            TASKSET, "--env.taskset.env", ALFWORLD, "-n", "1", "--env.player.max-turns", "2", url=server.url
        )
    assert trace["ok"] and trace["stop_condition"] == "max_turns"
    assert worth(trace) == {"success": 0, "score": 0, "reward": 0, "steps": 2}
    assert trace["info"] == {"stop_reason": "agent_stopped"}


def test_a_conversation_that_is_too_long_ends_an_episode(evaluate: Evaluate) -> None:
    too_long = Answer("This model's maximum context length is 9 tokens.", status=400)
    with ChatServer([Answer(LOOK), too_long]) as server:
        (trace,) = evaluate(TASKSET, "--env.taskset.env", ALFWORLD, "-n", "1", url=server.url)
    assert trace["ok"] and worth(trace)["steps"] == 1 and trace["info"] == {"stop_reason": "agent_stopped"}


def test_a_model_that_fails_is_an_error_and_not_a_score(evaluate: Evaluate, made: list[gym.Env[str, str]]) -> None:
    with ChatServer([Answer(LOOK), Answer("no such model", status=404)]) as server:
        traces = evaluate(TASKSET, "--env.taskset.env", ALFWORLD, "-n", "2", "-c", "1", url=server.url)
    assert len(traces) == 2 and len(made) == 1, "the environment of the first episode plays the second"
    for trace in traces:
        assert not trace["ok"] and not trace["episode"]["ok"]
        assert trace["rewards"] == trace["metrics"] == {}
        (error,) = trace["errors"]
        assert error["type"] == "ProviderError" and "no such model" in error["message"]


def test_a_server_that_is_busy_is_asked_again(evaluate: Evaluate) -> None:
    with ChatServer([Answer("busy", status=503), Answer(LOOK)]) as server:
        (trace,) = evaluate(
            TASKSET, "--env.taskset.env", ALFWORLD, "-n", "1", "--env.player.max-turns", "1", url=server.url
        )
    assert trace["ok"] and worth(trace)["steps"] == 1 and len(server.requests) == 2


def test_an_engine_that_fails_is_an_error_of_its_episode(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    own = played(ALFWORLD)
    lost = sorted(own.episodes)[3]
    reply = ChatEpisode.reply

    def fail_once_under_way(episode: ChatEpisode, given: str | Reply) -> str:
        if episode.info["task_id"] == lost and episode.info["steps"] == 2:
            raise EngineError("The engine died.")
        return reply(episode, given)

    monkeypatch.setattr(ChatEpisode, "reply", fail_once_under_way)
    with scripted(own.script) as server:
        traces = evaluate(*of_world(own), url=server.url)
    found = {trace["task"]["data"]["id"]: trace for trace in traces}
    failed = found.pop(lost)
    assert {task_id: worth(trace) for task_id, trace in found.items()} == {
        task_id: metrics for task_id, metrics in own.metrics.items() if task_id != lost
    }
    assert failed["rewards"] == failed["metrics"] == {}
    assert [error["message"] for error in failed["episode"]["errors"]] == [
        "StepEnvsEnv.run(): EngineError: The engine died."
    ]


def shown_after(evaluate: Evaluate, answer: Answer, *further: str) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """Give one answer, and return the task, the messages that a model is shown after it, and the first request."""
    limit = ["-n", "1", "--env.player.max-turns", "2"]
    with ChatServer([answer, Answer(LOOK)]) as server:
        (trace,) = evaluate(TASKSET, "--env.taskset.env", ALFWORLD, *limit, *further, url=server.url)
    assert trace["ok"]
    first, second = server.requests
    return trace["task"]["data"]["id"], second["messages"][len(first["messages"]) + 1 :], first


def our_answer(task_id: str, reply: Reply, **settings: Any) -> str:
    """What our own chat answers to a first reply."""
    with ChatTasks(ALFWORLD, **settings) as tasks, tasks.begin(task_id) as episode:
        return episode.reply(reply)


def test_a_reply_that_was_cut_off_is_not_carried_out(evaluate: Evaluate) -> None:
    task_id, shown, _ = shown_after(evaluate, Answer("Thought: I go.\nAction: look", finish="length"))
    cut = our_answer(task_id, Reply("Thought: I go.\nAction: look", finish="length"))
    assert shown == [{"role": "user", "content": cut}]
    assert cut != our_answer(task_id, Reply("Thought: I go.\nAction: look"))


def test_a_thought_beside_the_reply_is_no_part_of_it(evaluate: Evaluate) -> None:
    message = {"reasoning_content": "Action: inventory", "content": LOOK}
    task_id, shown, _ = shown_after(evaluate, raw(message))
    assert shown == [{"role": "user", "content": our_answer(task_id, Reply(LOOK))}]


def test_a_refusal_without_a_word_costs_a_step(evaluate: Evaluate) -> None:
    task_id, shown, _ = shown_after(evaluate, raw({"content": None, "refusal": "No."}))
    assert shown == [{"role": "user", "content": our_answer(task_id, Reply(""))}]


def test_observations_answer_tool_calls(evaluate: Evaluate) -> None:
    calls = [
        {"id": name, "type": "function", "function": {"name": "act", "arguments": json.dumps({"action": action})}}
        for name, action in (("first", "look"), ("second", "inventory"))
    ]
    answer = raw({"content": "I look.", "tool_calls": calls}, "tool_calls")
    task_id, shown, request = shown_after(evaluate, answer, "--env.taskset.reply-format", "tool-calls")
    assert request["tools"] == [TOOL]
    given = Reply("I look.", tool_calls=(ToolCall("act", '{"action": "look"}'),))
    observation = our_answer(task_id, given, reply_format="tool-calls")
    assert shown == [
        {"role": "tool", "tool_call_id": "first", "name": "act", "content": observation},
        {"role": "tool", "tool_call_id": "second", "name": "act", "content": adapter.ONE_CALL},
    ]
    _, _, request = shown_after(evaluate, Answer(LOOK))
    assert "tools" not in request


def test_a_trainer_plays_through_an_environment_server() -> None:
    """As prime-rl does: tasks and traces travel, and the server never lists tasks."""
    from verifiers.v1.serve import EnvClient, EnvServer, env_config_data

    own = played(WEBSHOP)
    config = vf.resolve_env_config({"taskset": {"id": TASKSET, "env": WEBSHOP, "episodes": 20, "protocol": "eto"}})
    tasks = list(vf.load_taskset(config.taskset))[:3]

    async def play() -> list[Any]:
        server = EnvServer(vf.resolve_env_config(env_config_data(config)), address="tcp://127.0.0.1:0")
        serving = asyncio.create_task(server.run())
        trainer, model = EnvClient(server.address), vf.EvalClientConfig(base_url=endpoint.url)
        try:
            return await asyncio.gather(
                *(trainer.run(model, "m", vf.SamplingConfig(), task.data.model_dump(mode="json")) for task in tasks)
            )
        finally:
            await trainer.close()
            serving.cancel()
            await serving

    with scripted(own.script) as endpoint:
        episodes = asyncio.run(play())
    found = {episode.task.data.id: json.loads(episode.traces[0].model_dump_json()) for episode in episodes}
    assert {task_id: worth(trace) for task_id, trace in found.items()} == {
        task.data.id: own.metrics[task.data.id] for task in tasks
    }


async def cancel_at(began: threading.Event, slot: Any, env: Any, client: Any) -> asyncio.Task[Any]:
    """Play an episode, and cancel it once something has begun."""
    context = vf.ModelContext(model="m", client=client)
    running = asyncio.create_task(env.run_slot(slot, context))
    assert await asyncio.to_thread(began.wait, 30)
    running.cancel()
    return running


@pytest.mark.parametrize("during", ["begin", "reply"])
def test_a_cancelled_episode_frees_its_environment_once_the_world_has_answered(
    during: str, monkeypatch: pytest.MonkeyPatch, made: list[gym.Env[str, str]]
) -> None:
    began, may_end = threading.Event(), threading.Event()
    owner: Any = ChatTasks if during == "begin" else ChatEpisode
    function = getattr(owner, during)

    def wait_in_the_first(*arguments: Any, **options: Any) -> Any:
        first = not began.is_set()
        began.set()
        assert not first or may_end.wait(30)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, during, wait_in_the_first)
    config = vf.resolve_env_config(
        {"taskset": {"id": TASKSET, "env": ALFWORLD, "episodes": 2}, "player": {"max_turns": 1}}
    )

    async def play() -> None:
        env = vf.load_environment(config)
        first, second = [env.slots(task)[0] for task in env.taskset]
        async with env.serving():
            client = vf.EvalClientConfig(base_url=server.url)
            running = await cancel_at(began, first, env, client)
            done, _ = await asyncio.wait({running}, timeout=0.3)
            assert not done, "it does not end before the world has answered"
            may_end.set()
            await asyncio.wait({running}, timeout=30)
            assert running.cancelled()
            episode = await env.run_slot(second, vf.ModelContext(model="m", client=client))
        assert episode.ok and len(made) == 1, "the environment of the cancelled episode plays the next one"

    with ChatServer([Answer(LOOK)]) as server:
        asyncio.run(play())


def test_wrong_settings_are_refused(evaluate: Evaluate) -> None:
    with pytest.raises(
        ValueError, match=r"^Name the environment: --env\.taskset\.env STeP-ALFWorld-v0, for example\.$"
    ):
        evaluate(TASKSET)
    with pytest.raises(ValueError, match=r"Unknown split 'vaild_unseen'.*Did you mean 'valid_unseen'"):
        evaluate(TASKSET, "--env.taskset.env", ALFWORLD, "--env.taskset.split", "vaild_unseen")
    with pytest.raises(SystemExit):
        evaluate(TASKSET, "--env.taskset.env", ALFWORLD, "--env.taskset.reply-format", "yaml")
    config = vf.resolve_env_config({"taskset": {"id": TASKSET, "env": ALFWORLD, "episodes": 1}})
    env = vf.load_environment(config)
    with pytest.raises(RuntimeError, match=r"^The environment is not running: play episodes inside `async with env\."):
        asyncio.run(env.run(next(iter(env.taskset)), None))


def test_without_verifiers_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verifiers.v1", None)
    spec = importlib.util.spec_from_file_location("without", adapter.__file__)
    assert spec is not None and spec.loader is not None
    with pytest.raises(
        gym.error.DependencyNotInstalled,
        match=r"^The adapter for verifiers needs the package 'verifiers', which is not installed: "
        r'run `pip install "step-envs\[verifiers\]"`\.$',
    ):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_command_works_from_any_folder(tmp_path: Path) -> None:
    own = played(WEBSHOP)
    command = [str(Path(sys.executable).with_name("vf-eval")), *of_world(own, "-n", "2", "-m", "scripted", "--no-push")]
    with scripted(own.script) as server:
        done = subprocess.run(
            [*command, "--client.base-url", server.url, "-o", "out", "--run.dir", "run"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    episodes = [json.loads(line) for line in (tmp_path / "out/run/traces.jsonl").read_text().splitlines()]
    assert len(episodes) == 2
    for episode in episodes:
        assert worth(episode["traces"][0]) == own.metrics[episode["task"]["data"]["id"]]


def page() -> str:
    return (Path(__file__).parents[2] / "docs" / "verifiers.md").read_text()


def test_the_commands_of_the_page_work(evaluate: Evaluate, tmp_path: Path) -> None:
    (first, second) = re.findall(r"^```bash\n(.*?)^```", page(), re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for line in first.replace("\\\n", "").splitlines()]
    assert commands.pop(0) == ["pip", "install", "step-envs[verifiers]"]
    assert [command[: command.index("--env.taskset.episodes")] for command in commands] == [
        ["vf-eval", TASKSET, "--env.taskset.env", world] for world in WORLDS
    ]
    toml = re.search(r'^```toml title="(.*?)"\n(.*?)^```', page(), re.MULTILINE | re.DOTALL)
    assert toml is not None and shlex.split(second) == ["vf-eval", "@", toml[1]]
    (tmp_path / toml[1]).write_text(toml[2])
    with ChatServer([Answer(LOOK)]) as server:
        for _, *arguments in commands:
            # The address is given once more, and the last one counts; a few turns are enough here.
            (trace,) = evaluate(*arguments, "-n", "1", "--env.player.max-turns", "3", url=server.url)
            assert trace["ok"] and worth(trace)["steps"] <= 3
        traces = evaluate("@", str(tmp_path / toml[1]), url=server.url)
    assert [worth(trace)["steps"] for trace in traces] == [5, 5]
