"""Actions that only think: answered with OK, free of cost, and trained only where they led to a right action."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from gymnasium.error import ResetNeeded

from step_envs.agents import Agent, Reply
from step_envs.collection import collect, rollout
from step_envs.collection.config import CollectConfig
from step_envs.errors import TeacherError
from step_envs.replies import is_think_action
from step_envs.store import read_trajectories
from step_envs.testing import check_text_env
from step_envs.training.behaviour import has_loop, own_steps
from step_envs.training.evaluation import EvalConfig
from step_envs.trajectory import Trajectory, Verdict
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher, Teacher, TeacherContext

FAR = {"task_id": "coin/study/hall"}
THINK = "think: the coin may lie in the study"
MOST = 10


def say(action: str) -> str:
    return f"Thought: so\nAction: {action}"


def chat(**options: Any) -> ReActWrapper:
    return ReActWrapper(gym.make("Coin-v0"), think_actions=True, **options)


def weights(trajectory: Trajectory) -> list[tuple[str | None, str, float]]:
    return [(turn.action, turn.kind, turn.loss) for turn in trajectory.turns if turn.role == "assistant"][1:]


class Scripted(Teacher):
    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)
        self.asked: list[TeacherContext] = []

    def judge(self, context: TeacherContext) -> Verdict:
        self.asked.append(context)
        return self.verdicts.pop(0)


class Thinker(Agent):
    """Thinks and never does anything."""

    name = "thinker"

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        return Reply(say(THINK))


@pytest.mark.parametrize(
    "action", ["think: x", "Think: x", "think[x]", " thinking: x", "think(x)", "think： x", "think:"]
)
def test_a_thought_is_answered_with_ok_at_no_step(action: str) -> None:
    env = RecordTrajectory(chat())
    _, before = env.reset(options=FAR)
    observation, reward, terminated, truncated, info = env.step(say(action))
    assert (observation, reward, terminated, truncated) == ("Observation: OK.", 0.0, False, False)
    assert (info["steps"], info["score"], info["valid_action"]) == (0, before["score"], True)
    turn = env.get_wrapper_attr("trajectory").turns[-2]
    assert (turn.action, turn.kind, turn.loss) == (action.strip(), "agent", 1.0)
    assert (turn.reward, turn.score, turn.valid_action) == (None, None, None)


@pytest.mark.parametrize("action", ["look", "thinks: x", "think", "rethink: x", "go to think: x"])
def test_other_actions_are_no_thoughts(action: str) -> None:
    assert not is_think_action(action)
    env = chat()
    env.reset(options=FAR)
    assert env.step(say(action))[4]["steps"] == 1


def test_without_the_option_a_thought_is_a_step_as_before() -> None:
    env = ReActWrapper(gym.make("Coin-v0"))
    env.reset(options=FAR)
    observation, *_, info = env.step(say(THINK))
    assert (observation, info["steps"], info["valid_action"]) == ("Observation: Nothing happens.", 1, False)
    assert "think_actions" not in env.protocol
    assert chat().protocol["think_actions"] is True


def test_the_worlds_own_manual_says_so_and_a_prompt_of_ones_own_is_left_alone() -> None:
    own = gym.make("Coin-v0").unwrapped.react  # type: ignore[attr-defined]
    sentence = 'An action that begins with "think:" is answered by "OK." and takes no step, up to 10 in a row.'
    assert chat().format.manual == f"{own.manual}\n\n{sentence}"
    assert chat(format=own).format.manual == own.manual


@pytest.mark.parametrize("form", ["action-tags", "tool-calls"])
def test_every_reply_format_can_think(form: Any) -> None:
    env = chat(reply_format=form)
    env.reset(options=FAR)
    assert env.step(env.reply_format.write("so", THINK))[4]["steps"] == 0


def test_whoever_only_thinks_meets_the_step_limit() -> None:
    env = RecordTrajectory(chat())
    trajectory = rollout(env, Thinker(), seed=0)
    assert (trajectory.stop_reason, trajectory.steps) == ("max_steps", 20)
    replies = [turn for turn, _ in own_steps(trajectory)]
    assert len(replies) == MOST + 20
    answers = [answer for _, answer in own_steps(trajectory)]
    assert answers[MOST - 1 : MOST + 1] == [
        "Observation: OK.",
        "Observation: OK. Take another action now: this thought cost a step.",
    ]
    assert has_loop([(turn.action, answer) for turn, answer in own_steps(trajectory)])
    with pytest.raises(ResetNeeded):
        env.step(say(THINK))


def test_an_action_makes_room_for_thoughts_again() -> None:
    env = chat()
    env.reset(options=FAR)
    for _ in range(3):
        for _ in range(MOST):
            env.step(say(THINK))
        *_, info = env.step(say("look"))
    assert info["steps"] == 3


@pytest.mark.parametrize("intervene", ["after", "before"])
def test_a_thought_weighs_what_the_action_after_it_weighs(intervene: Any) -> None:
    correction = Verdict(status="error", error="No.", corrected_action="go right")
    teacher = Scripted(Verdict(status="ok"), correction, Verdict(status="unknown", reason="?"), Verdict(status="ok"))
    env = TeacherMonitorWrapper(chat(), teacher, max_errors=5, intervene=intervene)
    env.reset(options=FAR)
    for action in (THINK, "think[b]", "look", "think: c", "go right", "think: d", "look", "look", "think: e"):
        env.step(say(action))
    assert weights(env.trajectory) == [
        (THINK, "agent", 1.0),
        ("think[b]", "agent", 1.0),
        ("look", "agent", 1.0),
        ("think: c", "agent", 0.0),
        ("go right", "error", 0.0),
        ("go right", "correction", 1.0),
        ("think: d", "agent", 0.0),
        ("look", "agent", 0.0),
        ("look", "agent", 1.0),
        ("think: e", "agent", 0.0),
    ]
    assert len(teacher.asked) == 4
    # A repeated action is one that was taken twice, not one before and after a thought.
    assert [one.previous_action for one in teacher.asked] == [None, "look", "go right", "look"]
    assert (env.trajectory.errors, env.trajectory.unknown_verdicts) == (1, 1)
    trajectory = env.trajectory
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_a_thought_before_a_step_whose_judging_failed_is_never_trained() -> None:
    teacher = Scripted(Verdict(status="unknown", reason="down"), Verdict(status="ok"))
    env = TeacherMonitorWrapper(chat(), teacher, on_unknown="raise")
    env.reset(options=FAR)
    env.step(say(THINK))
    with pytest.raises(TeacherError):
        env.step(say("look"))
    env.step(say("go right"))
    assert [weight for *_, weight in weights(env.trajectory)] == [0.0, 0.0, 1.0]


def test_thoughts_beyond_the_bound_are_judged_like_any_useless_step() -> None:
    env = TeacherMonitorWrapper(chat(), OracleTeacher(), max_errors=1)
    env.reset(options=FAR)
    for _ in range(MOST + 1):
        env.step(say(THINK))
    kinds = [kind for _, kind, _ in weights(env.trajectory)]
    assert kinds == ["agent"] * MOST + ["error", "correction"]
    assert not any(weight for _, kind, weight in weights(env.trajectory) if kind != "correction")


def test_rewards_add_up_around_thoughts() -> None:
    env = TeacherMonitorWrapper(chat(), OracleTeacher())
    env.reset(options=FAR)
    actions = (THINK, "go right", THINK, "take coin", "go left", THINK, "put coin in box")
    assert sum(env.step(say(action))[1] for action in actions) == 1.0
    trajectory = env.trajectory
    assert (trajectory.success, trajectory.score, trajectory.reward, trajectory.steps) == (True, 1.0, 1.0, 4)
    assert {weight for *_, weight in weights(trajectory)} == {1.0}


def test_a_run_and_an_evaluation_take_the_option(tmp_path: Path) -> None:
    collect(CollectConfig(env="Coin-v0", episodes=2, agent="oracle", think_actions=True), tmp_path)
    assert all(one.protocol["think_actions"] for one in read_trajectories(tmp_path))
    assert EvalConfig(env="Coin-v0", think_actions=True).run().think_actions


def test_an_answer_without_a_step_changes_nothing() -> None:
    check_text_env("Coin-v0")
    env = gym.make("Coin-v0").unwrapped
    env.reset(options=FAR)
    before = env.snapshot()  # type: ignore[attr-defined]
    assert env.free_step("OK.")[:4] == ("OK.", 0.0, False, False)  # type: ignore[attr-defined]
    assert env.snapshot() == before  # type: ignore[attr-defined]
