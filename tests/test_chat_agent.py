"""A model as an agent, over real HTTP."""

import itertools
from typing import Any

import gymnasium as gym
import openai
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer
from hypothesis import given
from hypothesis import strategies as st

from step_envs.agents import ChatAgent, make_agent, rollout
from step_envs.agents.base import AGENTS
from step_envs.agents.window import Window
from step_envs.endpoint import Gateway
from step_envs.errors import EndpointDownError, RequestRefusedError
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OpenAITeacher, OracleTeacher
from step_envs.wrappers.teachers.making import TEACHERS, make_teacher

WAY = ("go right", "take coin", "go left", "put coin in box")


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openai._constants, openai._base_client):
        monkeypatch.setattr(module, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY", 0.05)


def agent(server: ChatServer, **options: Any) -> ChatAgent:
    made = ChatAgent("m", server.url, **({"max_retries": 1, "timeout": 2.0} | options))
    made.chat.connect(Gateway())
    return made


def play(server: ChatServer, seed: int = 1, max_steps: int | None = 20, **options: Any) -> Trajectory:
    env = RecordTrajectory(ReActWrapper(gym.make("Coin-v0", max_steps=max_steps)))
    return rollout(env, agent(server, **options), seed=seed, task_id="coin/study/hall")


def walker(request: dict[str, Any]) -> Answer:
    """Know the way, by the number of replies so far (the OK to the manual is the first)."""
    done = sum(message["role"] == "assistant" for message in request["messages"]) - 1
    return Answer(f"Thought: I walk.\nAction: {WAY[done]}\nObservation: I am rich.\nThought: done\nAction: look")


def test_a_whole_episode() -> None:
    with ChatServer(walker) as server:
        trajectory = play(server)
    assert trajectory.success
    replies = [turn for turn in trajectory.turns if turn.kind == "agent"]
    assert [turn.action for turn in replies] == list(WAY)
    # What the model invents of the world's answers is not in the record, whatever the server does about stopping.
    assert replies[0].content == "Thought: I walk.\nAction: go right"
    assert server.requests[0]["stop"] == ["\nObservation:"]
    assert trajectory.usage.requests == 4
    assert replies[0].usage is not None
    assert replies[0].usage.prompt_tokens > 0
    assert (trajectory.agent.name, trajectory.agent.model) == ("chat", "m")
    assert trajectory.agent.params["temperature"] == 0.0
    assert "seed" not in server.requests[0]


def test_each_prompt_begins_with_the_one_before() -> None:
    with ChatServer(walker) as server:
        play(server)
    prompts = [request["messages"] for request in server.requests]
    assert all(after[: len(before)] == before for before, after in itertools.pairwise(prompts))


def test_temperature_and_seed_are_sent_and_recorded() -> None:
    with ChatServer(walker) as server:
        first, again, other = (play(server, seed, temperature=0.7, top_p=0.9) for seed in (1, 1, 2))
    seeds = [request["seed"] for request in server.requests]
    assert (len(set(seeds[:8])), len(set(seeds))) == (1, 2)
    assert first.agent.params["seed"] == again.agent.params["seed"] == seeds[0]
    assert other.agent.params["seed"] == seeds[-1]
    assert (first.agent.params["temperature"], first.agent.params["top_p"]) == (0.7, 0.9)
    with ChatServer(walker) as server:
        unseeded = play(server, temperature=0.7, seeded=False, stop=False)
    assert unseeded.success
    assert not {"seed", "stop"} & set(server.requests[0])


def test_thinking_aloud_stays_with_the_model() -> None:
    thinking = "<think>Shall I?\nAction: eat coin</think>\n\nThought: no\nAction: look"
    with ChatServer([Answer(thinking)]) as server:
        trajectory = play(server, max_steps=1)
    assert trajectory.turns[-2].content == "Thought: no\nAction: look"


def test_a_refusal_is_a_reply_without_an_action() -> None:
    with ChatServer([Answer(None, refusal="I will not play.")]) as server:
        trajectory = play(server, max_steps=2)
    assert [turn.action for turn in trajectory.turns if turn.kind == "agent"] == [None, None]
    assert "Invalid format" in trajectory.turns[-1].content


def test_no_answer_is_an_error_and_no_trajectory() -> None:
    with ChatServer([Answer("oops", status=500)]) as server, pytest.raises(EndpointDownError, match="status 500"):
        play(server)
    with ChatServer([Answer("who", status=401)]) as server, pytest.raises(RequestRefusedError):
        play(server)


def test_a_long_conversation_is_shortened_and_that_is_recorded() -> None:
    def script(request: dict[str, Any]) -> Answer:
        if sum(len(message["content"]) for message in request["messages"]) > 2200:
            return Answer("This model's maximum context length is 500 tokens", status=400)
        return Answer("Thought: so\nAction: " + "look " * 30)

    for options in ({"context_tokens": 500}, {}):
        with ChatServer(script) as server:
            trajectory = play(server, max_steps=30, **options)
        replies = [turn for turn in trajectory.turns if turn.kind == "agent"]
        assert replies[0].shortened == 0
        task = trajectory.turns[2].content
        assert all(request["messages"][2]["content"] == task for request in server.requests)
        # Coin's observations are short already: nothing can be cut, and the episode is given up.
        assert trajectory.stop_reason == "agent_stopped"


def conversation(steps: int, size: int) -> list[dict[str, str]]:
    messages = [
        {"role": "user", "content": "manual " * 20},
        {"role": "assistant", "content": "OK"},
        {"role": "user", "content": "task " * 20},
    ]
    for step in range(steps):
        messages.append({"role": "assistant", "content": f"Thought: {step}\nAction: look"})
        messages.append({"role": "user", "content": f"Observation {step}: " + "x" * size})
    return messages


def test_the_oldest_observations_go_first() -> None:
    window = Window(2500)
    messages = conversation(20, 400)
    shown = window.fit(messages)
    assert shown is not None
    assert 0 < window.shortened < 20
    assert shown[:4] == messages[:4]
    cut = [i for i, (now, was) in enumerate(zip(shown, messages, strict=True)) if now != was]
    assert cut == [4 + 2 * n for n in range(window.shortened)]
    assert all(shown[i]["content"].endswith(" [...]") for i in cut)
    assert shown[-1] == messages[-1]
    # What was shortened stays so, and a few more steps shorten nothing more: the prompt's beginning stays the same.
    before = window.shortened
    later = window.fit(conversation(21, 400))
    assert later is not None
    assert (window.shortened, later[: len(shown)]) == (before, shown)
    window.begin()
    assert window.shortened == 0


def test_what_cannot_fit_is_not_sent() -> None:
    assert Window(20).fit(conversation(3, 400)) is None
    assert Window(None).tighten(conversation(1, 400)) is None
    with pytest.raises(ValueError, match="context_tokens must be at least 1, got 0"):
        Window(0)


@given(st.integers(0, 12), st.integers(0, 700), st.integers(1, 3000))
def test_nothing_but_observations_is_ever_shortened(steps: int, size: int, tokens: int) -> None:
    messages = conversation(steps, size)
    shown = Window(tokens).fit(messages)
    if shown is not None:
        assert [m["role"] for m in shown] == [m["role"] for m in messages]
        for i, (now, was) in enumerate(zip(shown, messages, strict=True)):
            assert now == was or (i > 3 and was["role"] == "user" and i < len(messages) - 1)


def test_an_agent_is_made_from_text_and_no_key_is_taken() -> None:
    made = make_agent("chat:model=a/b,base_url=http://localhost:1/v1,temperature=1,max_tokens=null")
    assert isinstance(made, ChatAgent)
    assert made.describe().params["base_url"] == "http://localhost:1/v1"
    with pytest.raises(ValueError, match="A key does not belong into the agent 'chat'") as caught:
        make_agent("chat:model=a,api_key=sk-marker")
    assert "sk-marker" not in str(caught.value)


@pytest.mark.parametrize("name", ["openai", "chat"])
def test_agents_and_teachers_have_the_same_names(name: str) -> None:
    spec = f"{name}:model=m,base_url=http://localhost:1/v1"
    assert isinstance(make_agent(spec), ChatAgent)
    assert isinstance(make_teacher(spec), OpenAITeacher)
    # A checkpoint of one's own plays and judges, too.
    assert {"local", name} <= AGENTS.keys() & TEACHERS.keys()


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_reply_says_how_it_ended(finish: str) -> None:
    env = ReActWrapper(gym.make("Coin-v0"))
    env.reset(seed=0)
    with ChatServer([Answer("Thought: so\nAction: look", finish=finish)]) as server:
        reply = agent(server).act(env)
    assert reply is not None
    assert (reply.finish, reply.action, reply.kind) == (finish, "look", "agent")


@pytest.mark.parametrize(
    ("make", "spec", "sentence"),
    [
        (make_agent, "chat", "The agent 'chat' cannot be made from '{}': "),
        (make_agent, "openai", "The agent 'openai' cannot be made from '{}': "),
        (make_teacher, "openai", "The teacher 'openai' cannot be made from '{}': "),
        (make_teacher, "chat", "The teacher 'chat' cannot be made from '{}': "),
        (make_teacher, "hybrid", "The teacher 'hybrid' cannot be made from '{}': "),
    ],
)
def test_options_of_the_model_are_handed_on_and_others_are_refused(make: Any, spec: str, sentence: str) -> None:
    made = make(f"{spec}:model=m,base_url=http://localhost:1/v1,top_p=0.5,timeout=9,max_tokens=7,temperature=null")
    params = made.describe().params
    assert (params["top_p"], params["max_tokens"], "temperature" in params) == (0.5, 7, False)
    assert made.chat.endpoint.timeout == 9
    options = "model=m,temprature=1"
    with pytest.raises(ValueError) as error:
        make(f"{spec}:{options}")
    assert str(error.value) == f"{sentence.format(options)}Unknown option 'temprature'. Did you mean 'temperature'?"
    with pytest.raises(ValueError) as error:
        make(f"{spec}:temperature=1")
    assert str(error.value) == f"{sentence.format('temperature=1')}The option 'model' is missing."


def test_with_a_teacher_who_refuses_actions_each_turn_has_its_own_cost() -> None:
    with ChatServer([Answer("Thought: so\nAction: eat coin")]) as server:
        env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), OracleTeacher(), intervene="before")
        trajectory = rollout(env, agent(server), seed=1, task_id="coin/study/hall")
    costs = [(turn.kind, turn.usage is not None) for turn in trajectory.turns if turn.role == "assistant"][1:]
    assert costs[:2] == [("error", True), ("correction", False)]
