"""Agents and rollouts, on the smallest world there is."""

import re
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

from step_envs.agents import (
    Agent,
    NoviceAgent,
    OracleAgent,
    RandomAgent,
    ReplayAgent,
    Reply,
    make_agent,
    recorded_replies,
    rollout,
)
from step_envs.agents.mistakes import KINDS
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
    # The novice asks the oracle whether a step is wrong, so a teacher that asks it as well finds all of them.
    assert found == made


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


def test_an_episode_is_replayed_as_it_was_played() -> None:
    for agent, kind in ((NoviceAgent(0.5), "agent"), (OracleAgent(), "expert")):
        played = rollout(recorded(), agent, seed=4)
        again = rollout(recorded(), ReplayAgent(recorded_replies(played)), task_id=played.task_id)
        assert again.turns == played.turns and again.success == played.success
        assert {turn.kind for turn in again.turns} == {"instruction", "observation", kind}
        assert again.agent.model_dump() == {"name": "replay", "model": None, "params": {"replayed": played.steps}}


def test_another_agent_goes_on_where_the_replies_end() -> None:
    golden = rollout(recorded(), OracleAgent(), task_id="coin/attic/hall")
    begun = recorded_replies(golden)[:2]
    alone = rollout(recorded(), ReplayAgent(begun), task_id=golden.task_id)
    assert (alone.stop_reason, alone.steps) == ("agent_stopped", 2)
    on = rollout(recorded(), ReplayAgent(begun, then=NoviceAgent(0.0)), task_id=golden.task_id)
    assert [turn.content for turn in on.turns] == [turn.content for turn in golden.turns]
    assert [turn.kind for turn in on.turns if turn.role == "assistant"][1:] == ["expert"] * 2 + ["agent"] * 4
    assert on.agent.params == {"replayed": 2, "agent": "novice", "error_rate": 0.0}


def test_no_reply_is_replayed_after_a_correction() -> None:
    failed = rollout(recorded(max_steps=6), NoviceAgent(0.9), seed=3)
    replies = recorded_replies(failed)
    revised = rollout(watched(), ReplayAgent(replies, then=OracleAgent()), task_id=failed.task_id)
    kinds = [turn.kind for turn in revised.turns if turn.role == "assistant"][1:]
    first = kinds.index("error")
    assert not failed.success and revised.success
    assert kinds[first : first + 2] == ["error", "correction"] and set(kinds[first + 2 :]) <= {"expert"}
    assert [turn.content for turn in revised.turns[: 2 * first + 4]] == [
        turn.content for turn in failed.turns[: 2 * first + 4]
    ]
    # What answers the teacher's turn is not taken either.
    assert [reply.text for reply in recorded_replies(revised)] == [reply.text for reply in replies[: first + 1]]


def test_a_reply_that_broke_off_is_not_replayed_as_a_whole_one() -> None:
    class CutOff(Agent):
        name = "cut off"

        def act(self, env: Any) -> Reply | None:
            return Reply("Thought: on.\nAction: go ri", finish="length")

    played = rollout(recorded(max_steps=1), CutOff(), task_id="coin/attic/hall")
    again = rollout(recorded(max_steps=1), ReplayAgent(recorded_replies(played)), task_id="coin/attic/hall")
    assert again.turns == played.turns
    assert [(turn.action, turn.loss) for turn in again.turns if turn.kind == "agent"] == [(None, 0.0)]


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


def test_what_was_known_of_a_reply_is_known_when_it_is_replayed():
    played = rollout(recorded(max_steps=6), NoviceAgent(0.0), seed=3)
    first, second, *_ = (at for at, turn in enumerate(played.turns) if turn.kind == "agent")
    turns = list(played.turns)
    # A reply that is known to be wrong stays one, and a whole reply without an action has not broken off.
    turns[first] = turns[first].model_copy(update={"kind": "error", "loss": 0.0})
    turns[second] = turns[second].model_copy(update={"content": "I look around.", "action": None})
    replies = recorded_replies(played.model_copy(update={"turns": tuple(turns), "errors": 1}))
    assert [(one.kind, one.finish) for one in replies[:2]] == [("error", "stop"), ("agent", "stop")]
    # The record of a reply that broke off can look whole: it must not be carried out now.
    whole = f"{played.turns[second].content}\nObservation: and so on"
    turns[second] = turns[second].model_copy(update={"content": whole, "loss": 0.0})
    assert len(recorded_replies(played.model_copy(update={"turns": tuple(turns), "errors": 1}))) == 1
