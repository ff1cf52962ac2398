"""Agents and rollouts, on the smallest world there is."""

import re
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

from step_envs.agents import Agent, NoviceAgent, OracleAgent, RandomAgent, Reply, make_agent, rollout
from step_envs.agents.novice import KINDS
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.errors import UnknownNameError
from step_envs.trajectory import Usage
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper, parse_action
from step_envs.wrappers.teachers import OracleTeacher


def recorded(**kwargs: Any) -> RecordTrajectory:
    return RecordTrajectory(ReActWrapper(gym.make("Coin-v0", **kwargs)))


def watched(**kwargs: Any) -> TeacherMonitorWrapper:
    return TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), OracleTeacher(), **kwargs)


def test_the_oracle_writes_golden_trajectories() -> None:
    trajectory = rollout(recorded(), OracleAgent(), task_id="coin/attic/hall", episode=7)
    replies = [turn for turn in trajectory.turns if turn.role == "assistant"][1:]
    assert trajectory.success
    assert (trajectory.episode, trajectory.agent.name) == (7, "oracle")
    assert {(turn.kind, turn.loss) for turn in replies} == {("expert", 1.0)}
    assert all(turn.content.startswith("Thought: The coin belongs") for turn in replies)


def test_the_same_seed_gives_the_same_trajectory() -> None:
    first, second = (rollout(watched(), NoviceAgent(0.5), seed=4) for _ in range(2))
    assert first.turns == second.turns
    assert rollout(watched(), NoviceAgent(0.5), seed=5).turns != first.turns


def test_a_novice_that_makes_no_mistakes_is_the_oracle() -> None:
    novice = NoviceAgent(0.0)
    trajectory = rollout(recorded(), novice, task_id="coin/attic/hall")
    assert trajectory.success
    assert novice.mistakes == []
    assert trajectory.steps == 6


def test_a_novice_knows_its_mistakes_and_a_teacher_finds_them() -> None:
    novice, found, made = NoviceAgent(0.6), set(), set()
    for seed in range(40):
        trajectory = rollout(watched(max_errors=99), novice, seed=seed)
        assert trajectory.success or trajectory.stop_reason == "max_steps"
        wrong = [turn.action for turn in trajectory.turns if turn.kind == "error"]
        made |= {(seed, mistake.action, mistake.kind) for mistake in novice.mistakes}
        found |= {(seed, mistake.action, mistake.kind) for mistake in novice.mistakes if mistake.action in wrong}
    # No two things in this world are handled alike, so that there is no wrong object to take.
    assert {kind for _, _, kind in made} == set(KINDS) - {"wrong object"}
    # A look is no error the first time, and "go left" twice can be the right way: not every deviation harms.
    assert len(found) / len(made) > 0.8


def test_a_random_agent_does_what_is_admissible() -> None:
    trajectory = rollout(recorded(), RandomAgent(), seed=1)
    replies = [turn.content for turn in trajectory.turns if turn.kind == "agent"]
    assert all(parse_action(reply) for reply in replies)
    assert trajectory.stop_reason in ("max_steps", "failure", "success")


class Spendthrift(Agent):
    name = "spendthrift"

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        if len(env.get_wrapper_attr("messages")) > 6:
            return None
        return Reply("Thought: x\nAction: look", Usage(prompt_tokens=10, completion_tokens=2, requests=1, cost=0.25))


def test_an_agent_can_give_up_and_its_usage_is_kept() -> None:
    trajectory = rollout(recorded(), Spendthrift(), seed=0)
    assert (trajectory.stop_reason, trajectory.truncated, trajectory.steps) == ("agent_stopped", True, 2)
    assert (trajectory.usage.prompt_tokens, trajectory.usage.requests, trajectory.usage.cost) == (20, 2, 0.5)
    assert [turn.usage.requests for turn in trajectory.turns if turn.usage] == [1, 1]


def test_a_rollout_can_be_stopped() -> None:
    with pytest.raises(RolloutStoppedError, match="Episode 3 was dropped before its end"):
        rollout(recorded(), OracleAgent(), seed=0, episode=3, stopped=lambda: True)


def test_a_rollout_needs_a_record() -> None:
    with pytest.raises(TypeError, match="under TeacherMonitorWrapper or RecordTrajectory"):
        rollout(ReActWrapper(gym.make("Coin-v0")), OracleAgent())


def test_agents_are_made_from_text() -> None:
    novice = make_agent("novice:error_rate=0.75")
    assert isinstance(novice, NoviceAgent)
    assert novice.describe().params == {"error_rate": 0.75}
    with pytest.raises(UnknownNameError, match=r"^Unknown agent 'novise'\. Did you mean 'novice'\?$"):
        make_agent("novise")
    with pytest.raises(ValueError, match=r"^In agent 'novice:0\.3', '0\.3' is not of the form name=value\.$"):
        make_agent("novice:0.3")
    with pytest.raises(ValueError, match="The agent 'novice' cannot be made from 'errorrate=1'"):
        make_agent("novice:errorrate=1")
    for name in ("api_key", "apikey", "key", "token"):
        with pytest.raises(ValueError, match="A key does not belong into the agent 'novice'") as caught:
            make_agent(f"novice:{name}=sk-marker")
        assert "sk-marker" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^error_rate must be from 0 to 1, got 7\.$"):
        make_agent("novice:error_rate=7")


@pytest.mark.parametrize(
    ("spec", "error", "sentence"),
    [
        (None, TypeError, "The specification of the agent is a str, got None."),
        ("..x", ValueError, "Unknown agent '..x'."),
        ("novice:error_rate=0.1,error_rate=0.2", ValueError, "'error_rate' is given twice."),
    ],
)
def test_a_malformed_specification_is_one_sentence(spec: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        make_agent(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: Reply(None), "The text of a reply is a str, got NoneType: None."),
        (lambda: Reply("Action: look", usage="lots"), "The usage of a reply is a Usage or None, got 'lots'."),
        (lambda: watched(max_errors="2"), "max_errors is an int or None, got '2'."),
        (
            lambda: TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), "oracle"),
            "A teacher has a method judge(context), as OracleTeacher() has; got 'oracle'.",
        ),
    ],
)
def test_wrong_types_are_refused_before_anything_is_played(made: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        made()
