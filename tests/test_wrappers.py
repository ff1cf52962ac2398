"""The chat, the record and the teacher, on the smallest world there is."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

from step_envs.errors import SnapshotError, TeacherError, UnknownNameError
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.trajectory import Trajectory, Verdict
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper, parse_action
from step_envs.wrappers.backtracking import world_at
from step_envs.wrappers.react import text_env
from step_envs.wrappers.teacher_monitor import correction_reply
from step_envs.wrappers.teachers import OracleTeacher, Teacher, TeacherContext

FAR = {"task_id": "coin/study/hall"}
OK = Verdict(status="ok")


def wrong(action: str, **fields: Any) -> Verdict:
    return Verdict(status="error", error="That was wrong.", reason="It is so.", corrected_action=action, **fields)


class Scripted(Teacher):
    """Gives verdicts from a list and remembers what it was asked."""

    def __init__(self, *verdicts: Verdict | BaseException) -> None:
        self.verdicts = list(verdicts)
        self.asked: list[TeacherContext] = []

    def judge(self, context: TeacherContext) -> Verdict:
        self.asked.append(context)
        verdict = self.verdicts.pop(0) if self.verdicts else OK
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict


def chat(**kwargs: Any) -> ReActWrapper:
    return ReActWrapper(gym.make("Coin-v0", **kwargs))


def watched(*verdicts: Verdict | BaseException, **options: Any) -> tuple[TeacherMonitorWrapper, Scripted]:
    teacher = Scripted(*verdicts)
    env = TeacherMonitorWrapper(chat(), teacher, **options)
    env.reset(seed=1, options=FAR)
    return env, teacher


def say(action: str) -> str:
    return f"Thought: so\nAction: {action}"


def kinds(trajectory: Trajectory) -> list[tuple[str, float]]:
    return [(turn.kind, turn.loss) for turn in trajectory.turns if turn.role == "assistant"][1:]


# The chat.


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Thought: a\nAction: go left", "go left"),
        ("Action:go left", "go left"),
        ("Thought: a\nAction:\n  go left  \n", "go left"),
        ("Action: go left\nObservation: I see\nAction: go right", "go left"),
        ("Action: search[two\nlines]", "search[two\nlines]"),
        ("Thought: I will act", None),
        ("Action:   ", None),
        ("action: go left", None),
        ("", None),
    ],
)
def test_actions_are_found_in_replies(reply: str, action: str | None) -> None:
    assert parse_action(reply) == action


def test_the_chat_begins_as_in_etos_data() -> None:
    env = chat()
    task, _ = env.reset(options=FAR)
    assert [(m["role"], m["content"]) for m in env.messages] == [
        ("user", own_world.CoinEnv.react.manual),
        ("assistant", "OK"),
        ("user", task),
    ]
    assert task == "Put the coin into the box.\n\nThis is the hall. There is a box."
    env.step(say("look"))
    assert env.messages[3:] == [
        {"role": "assistant", "content": "Thought: so\nAction: look"},
        {"role": "user", "content": "Observation: This is the hall. There is a box."},
    ]


def test_the_manual_can_be_a_system_turn() -> None:
    env = ReActWrapper(gym.make("Coin-v0"), style="system")
    env.reset(options=FAR)
    assert [m["role"] for m in env.messages] == ["system", "user"]
    env = ReActWrapper(gym.make("Coin-v0"), style="plain")
    task, _ = env.reset(seed=0)
    assert env.messages == [{"role": "user", "content": task}]
    with pytest.raises(UnknownNameError, match="Unknown style 'systme'"):
        ReActWrapper(gym.make("Coin-v0"), style="systme")  # type: ignore[arg-type]


def test_a_reply_without_an_action_gets_the_format_message_and_costs_a_step() -> None:
    env = chat(max_steps=2)
    env.reset(options=FAR)
    observation, reward, terminated, truncated, info = env.step("I would like to look around.")
    assert observation == "Observation: Invalid format. The input must contains 'Action: '"
    assert (reward, terminated, truncated, info["steps"], info["valid_action"]) == (0.0, False, False, 1, False)
    assert env.step("again")[3]


@given(st.text())
def test_any_reply_is_answered(reply: str) -> None:
    env = chat()
    env.reset(options=FAR)
    assert isinstance(env.step(reply)[0], str)


def test_wrappers_need_what_they_wrap() -> None:
    with pytest.raises(TypeError, match="needs a step_envs text environment, got CartPoleEnv"):
        ReActWrapper(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="RecordTrajectory records a chat: wrap the environment in ReActWrapper first"):
        RecordTrajectory(gym.make("Coin-v0"))
    with pytest.raises(TypeError, match="TeacherMonitorWrapper records a chat"):
        TeacherMonitorWrapper(gym.make("Coin-v0"), OracleTeacher())


def test_what_a_model_makes_up_after_its_action_is_left_out() -> None:
    env = chat()
    env.reset(options=FAR)
    env.step("Thought: go\nAction: go right\nobservation: You win.\nThought: wow\nAction: dance")
    assert env.messages[-2]["content"] == "Thought: go\nAction: go right"


def test_a_time_limit_below_the_chat_is_refused() -> None:
    with pytest.raises(TypeError, match="use max_steps= instead"):
        ReActWrapper(gym.make("Coin-v0", max_episode_steps=5))
    with pytest.raises(TypeError, match=r"^A reply is a str, got bytes: b'x'\.$"):
        chat().step(b"x")  # type: ignore[arg-type]


# The record.


def test_an_episode_is_recorded_without_a_teacher() -> None:
    kept: list[Trajectory] = []
    env = RecordTrajectory(chat(), kept.append)
    with pytest.raises(ResetNeeded, match="There is no trajectory yet"):
        env.trajectory  # noqa: B018
    env.reset(seed=5, options=FAR)
    for action in ("go right", "take coin", "go left", "put coin in box"):
        assert kept == []
        env.step(say(action))
    (trajectory,) = kept
    assert (trajectory.task_id, trajectory.task_type, trajectory.split, trajectory.seed) == (
        "coin/study/hall",
        "far",
        "train",
        5,
    )
    assert (trajectory.success, trajectory.score, trajectory.reward, trajectory.steps) == (True, 1.0, 1.0, 4)
    assert (trajectory.terminated, trajectory.truncated, trajectory.stop_reason) == (True, False, "success")
    assert trajectory.teacher is None
    assert trajectory.versions["coin-world"] == "1"
    assert kinds(trajectory) == [("agent", 1.0)] * 4
    assert [turn.reward for turn in trajectory.turns if turn.action] == [0.0, 0.5, 0.0, 0.5]


def test_a_watched_episode_is_kept_with_its_teacher(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "t.jsonl") as store:
        env = RecordTrajectory(TeacherMonitorWrapper(chat(), OracleTeacher(), max_errors=0), store)
        env.reset(seed=3, options=FAR)
        env.step(say("fly"))
    (trajectory,) = read_trajectories(tmp_path / "t.jsonl")
    assert trajectory == env.get_wrapper_attr("trajectory").model_copy(update={"usage": trajectory.usage})
    assert (trajectory.errors, trajectory.stop_reason, trajectory.seed) == (1, "max_errors", 3)
    assert trajectory.teacher is not None


# The teacher.


def test_an_error_is_kept_masked_and_corrected() -> None:
    env, teacher = watched(wrong("go right", reflection="Go right."))
    observation, _, _, _, info = env.step(say("look"))
    assert observation == "Observation: Done."
    assert info["steps"] == 2
    assert kinds(env.trajectory) == [("error", 0.0), ("correction", 1.0)]
    assert env.get_wrapper_attr("messages")[-4:] == [
        {"role": "assistant", "content": "Thought: so\nAction: look"},
        {"role": "user", "content": "Observation: This is the hall. There is a box."},
        {"role": "assistant", "content": "Thought: That was wrong. It is so. Go right.\nAction: go right"},
        {"role": "user", "content": "Observation: Done."},
    ]
    (asked,) = teacher.asked
    assert (asked.action, asked.executed, asked.observation) == (
        "look",
        True,
        "Observation: This is the hall. There is a box.",
    )
    assert [message["role"] for message in asked.messages] == ["user", "assistant", "user"]


def test_before_keeps_the_wrong_action_from_running() -> None:
    env, teacher = watched(wrong("go right"), intervene="before")
    _, _, _, _, info = env.step(say("look"))
    assert info["steps"] == 1
    assert kinds(env.trajectory) == [("error", 0.0), ("correction", 1.0)]
    assert (
        env.get_wrapper_attr("messages")[-3]["content"]
        == "Observation: This action was stopped before it was carried out."
    )
    assert (teacher.asked[0].executed, teacher.asked[0].observation) == (False, None)
    env.step(say("take coin"))
    assert kinds(env.trajectory)[-1] == ("agent", 1.0)


def test_before_a_reply_without_an_action_gets_the_format_message_and_costs_a_step() -> None:
    env, _ = watched(wrong("go right"), intervene="before")
    _, _, _, _, info = env.step("I wonder")
    assert info["steps"] == 2
    assert env.get_wrapper_attr("messages")[-3]["content"] == own_world.CoinEnv.react.format_error
    assert kinds(env.trajectory) == [("error", 0.0), ("correction", 1.0)]
    last = TeacherMonitorWrapper(chat(max_steps=1), Scripted(wrong("go right")), intervene="before")
    last.reset(options=FAR)
    assert last.step("I wonder")[3]
    assert kinds(last.trajectory) == [("error", 0.0)]


def test_a_fatal_error_is_taken_back_and_corrected() -> None:
    env, teacher = watched(OK, OK, wrong("go left"))
    env.step(say("go right"))
    env.step(say("take coin"))
    _, reward, terminated, _, info = env.step(say("eat coin"))
    assert (terminated, info["score"], reward) == (False, 0.5, 0.0)
    assert teacher.asked[-1].env.state["coin"] == "hand"
    env.step(say("put coin in box"))
    trajectory = env.trajectory
    assert (trajectory.success, trajectory.reward, trajectory.score) == (True, 1.0, 1.0)
    assert kinds(trajectory) == [("agent", 1.0), ("agent", 1.0), ("error", 0.0), ("correction", 1.0), ("agent", 1.0)]
    error = next(turn for turn in trajectory.turns if turn.kind == "error")
    assert (error.score, error.reward) == (-1.0, -1.5)


def test_a_fatal_action_that_the_teacher_accepts_ends_the_episode() -> None:
    env, _ = watched()
    env.step(say("go right"))
    env.step(say("take coin"))
    _, reward, terminated, _, info = env.step(say("eat coin"))
    assert (terminated, info["score"], reward, env.trajectory.stop_reason) == (True, -1.0, -1.5, "failure")


def test_an_error_that_closes_the_way_is_undone() -> None:
    env, _ = watched(wrong("go right", undo=True))
    _, _, _, _, info = env.step(say("look"))
    assert info["steps"] == 1
    assert kinds(env.trajectory) == [("error", 0.0), ("correction", 1.0)]


@pytest.mark.parametrize("intervene", ["after", "before"])
def test_one_error_too_many_ends_the_episode(intervene: Any) -> None:
    env, _ = watched(wrong("go right"), wrong("go right"), max_errors=1, intervene=intervene)
    assert env.step(say("look"))[3] is False
    _, _, terminated, truncated, _ = env.step(say("look"))
    trajectory = env.trajectory
    assert (terminated, truncated, trajectory.stop_reason, trajectory.errors) == (False, True, "max_errors", 2)
    assert kinds(trajectory) == [("error", 0.0), ("correction", 1.0), ("error", 0.0)]


def test_an_episode_that_was_given_up_does_not_go_on() -> None:
    env, _ = watched(wrong("go right"), max_errors=0)
    env.step(say("look"))
    with pytest.raises(ResetNeeded, match="The episode is over"):
        env.step(say("go right"))


def test_a_correction_that_fails_the_task_is_not_trained() -> None:
    env, _ = watched(OK, OK, wrong("eat coin"))
    for action in ("go right", "take coin", "look"):
        env.step(say(action))
    assert kinds(env.trajectory)[-2:] == [("error", 0.0), ("correction", 0.0)]
    assert env.trajectory.stop_reason == "failure"


def test_one_teacher_at_a_time() -> None:
    env, _ = watched()
    with pytest.raises(TypeError, match="keeps the record itself"):
        TeacherMonitorWrapper(env, Scripted())


def test_an_error_in_the_last_step_is_masked_too() -> None:
    teacher = Scripted(wrong("go right"))
    env = TeacherMonitorWrapper(chat(max_steps=1), teacher)
    env.reset(options=FAR)
    assert env.step(say("look"))[3]
    assert kinds(env.trajectory) == [("error", 0.0)]
    assert env.trajectory.stop_reason == "max_steps"


def test_an_inadmissible_correction_is_asked_for_again() -> None:
    env, teacher = watched(wrong("fly away"), wrong("go right"))
    env.step(say("look"))
    assert teacher.asked[1].complaint == "The corrected action 'fly away' is not admissible in this state."
    assert kinds(env.trajectory) == [("error", 0.0), ("correction", 1.0)]


def test_two_inadmissible_corrections_are_no_verdict() -> None:
    env, teacher = watched(wrong("fly away"), wrong("swim"))
    env.step(say("look"))
    trajectory = env.trajectory
    assert len(teacher.asked) == 2
    assert (trajectory.errors, trajectory.unknown_verdicts) == (0, 1)
    assert kinds(trajectory) == [("agent", 0.0)]
    verdict = trajectory.turns[-2].verdict
    assert verdict is not None
    assert verdict.reason == "The corrected action 'swim' is not admissible, even after asking again."


def test_a_correction_is_written_as_the_world_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of real shops hold no-break spaces, which nobody who writes a verdict can see."""
    option = "go\u00a0right"
    carry_out = own_world.carry_out
    monkeypatch.setattr(own_world.CoinEnv, "_admissible", lambda self: [option, "look"])
    monkeypatch.setattr(
        own_world, "carry_out", lambda state, action: carry_out(state, action.replace(option, "go right"))
    )
    for written in (option, "go right", " go  right\n"):
        env, teacher = watched(wrong(written))
        env.step(say("look"))
        assert len(teacher.asked) == 1
        assert env.trajectory.turns[-2].content.endswith(f"\nAction: {option}")
        assert env.trajectory.turns[-2].action == option
        assert env.trajectory.turns[-2].valid_action


@pytest.mark.parametrize(
    ("on_unknown", "truncated", "reason"), [("continue", False, "running"), ("discard", True, "unknown_verdict")]
)
def test_a_teacher_that_is_down_is_neither_error_nor_ok(on_unknown: Any, truncated: bool, reason: str) -> None:
    env, _ = watched(TeacherError("the endpoint is down"), on_unknown=on_unknown)
    assert env.step(say("go right"))[3] is truncated
    trajectory = env.trajectory
    assert (trajectory.stop_reason, trajectory.unknown_verdicts) == (reason, 1)
    assert kinds(trajectory) == [("agent", 0.0)]


def test_a_teacher_that_is_down_can_be_an_error() -> None:
    env, _ = watched(TeacherError("the endpoint is down"), on_unknown="raise")
    with pytest.raises(TeacherError, match="gave no verdict in task coin/study/hall: the endpoint is down"):
        env.step(say("go right"))
    assert env.trajectory.unknown_verdicts == 1
    # The step was carried out, and the record says so.
    assert env.trajectory.steps == 1
    env.step(say("take coin"))
    assert (env.trajectory.score, env.trajectory.reward, env.trajectory.steps) == (0.5, 0.5, 2)


def test_a_last_step_without_verdict_ends_the_episode_all_the_same() -> None:
    teacher = Scripted(TeacherError("down"))
    env = TeacherMonitorWrapper(chat(max_steps=1), teacher, on_unknown="raise")
    env.reset(options=FAR)
    with pytest.raises(TeacherError):
        env.step(say("go right"))
    assert (env.trajectory.truncated, env.trajectory.stop_reason, env.trajectory.steps) == (True, "max_steps", 1)
    with pytest.raises(ResetNeeded, match="The episode is over"):
        env.step(say("go right"))


@pytest.mark.parametrize("fault", [ZeroDivisionError, KeyboardInterrupt])
def test_a_fault_in_a_teacher_is_not_hidden_and_leaves_world_and_record_as_one(fault: type[BaseException]) -> None:
    env, _ = watched(fault())
    with pytest.raises(fault):
        env.step(say("look"))
    assert kinds(env.trajectory) == [("agent", 0.0)]
    env, _ = watched(OK, OK, fault())
    env.step(say("go right"))
    env.step(say("take coin"))
    with pytest.raises(fault):
        env.step(say("eat coin"))
    assert env.unwrapped.state["coin"] == "eaten"
    assert kinds(env.trajectory)[-1] == ("agent", 0.0)
    env, teacher = watched()
    teacher.verdicts = ["fine"]  # type: ignore[list-item]
    with pytest.raises(TypeError, match="A teacher returns a Verdict, Scripted returned 'fine'"):
        env.step(say("look"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"intervene": "afterwards"}, "Unknown value of intervene 'afterwards'. Did you mean 'after'?"),
        ({"on_unknown": "stop"}, "Unknown value of on_unknown 'stop'. Known: continue, discard, raise."),
        ({"max_errors": -1}, "max_errors must not be negative, got -1."),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        TeacherMonitorWrapper(chat(), Scripted(), **options)
    assert str(error.value) == sentence


@given(st.text(min_size=1), st.text())
def test_a_correction_always_holds_exactly_its_action(action: str, thought: str) -> None:
    flat = " ".join(action.splitlines()).strip()
    if flat and "Action:" not in flat:
        reply = correction_reply(wrong(action, reflection=thought))
        assert reply.action == flat


def test_a_correction_that_quotes_an_action_is_still_parsed() -> None:
    verdict = wrong("go right", reflection="You wrote Action: eat coin\nAction: eat coin. Do not.")
    assert correction_reply(verdict).action == "go right"


@given(st.lists(st.sampled_from(["go left", "go right", "take coin", "look"]), max_size=5), st.integers(0, 4))
def test_a_look_at_another_state_ends_where_it_began(actions: list[str], back: int) -> None:
    world = text_env(gym.make("Coin-v0", max_steps=None))
    world.reset(options=FAR)
    states = [world.snapshot()]
    for action in actions:
        world.step(action)
        states.append(world.snapshot())
    for fault in (None, KeyboardInterrupt):
        with suppress(KeyboardInterrupt), world_at(world, states[min(back, len(actions))]):
            assert world.snapshot() == states[min(back, len(actions))]
            world.step("look")
            if fault is not None:
                raise fault
        assert world.snapshot() == states[-1]
    with pytest.raises(SnapshotError), world_at(world, b"garbled"):
        pass
    assert world.snapshot() == states[-1]


# The oracle as a teacher.


def judged(*actions: str, strict: bool = False, intervene: Any = "after", task: str = "coin/study/hall") -> Trajectory:
    env = TeacherMonitorWrapper(chat(), OracleTeacher(strict=strict), max_errors=9, intervene=intervene)
    env.reset(options={"task_id": task})
    for action in actions:
        env.step(action if action.startswith("Thought") else say(action))
    return env.trajectory


def statuses(trajectory: Trajectory) -> list[str]:
    return [turn.verdict.status for turn in trajectory.turns if turn.verdict is not None]


def test_the_oracle_accepts_the_way_and_the_first_look() -> None:
    assert statuses(judged("look", "go right", "look", "take coin", "go left", "put coin in box")) == ["ok"] * 6


@pytest.mark.parametrize("intervene", ["after", "before"])
@pytest.mark.parametrize(
    ("actions", "category", "error"),
    [
        (["look", "look"], "reflection", '"look" was useless. It only repeats the step before.'),
        (["fly"], "action", '"fly" had no effect. It is not an action that is understood here.'),
        (
            ["Thought: I wonder"],
            "action",
            "My last reply held no action. I must end every reply with one action on a line of its own.",
        ),
        (["go right", "go right"], "reflection", '"go right" was useless. It only repeats the step before.'),
        (["go right", "go left"], "planning", '"go left" was the wrong step. It brings me no closer to the goal.'),
        (
            ["go right", "take coin", "eat coin"],
            "planning",
            '"eat coin" was a mistake. After it the task cannot be completed any more.',
        ),
    ],
)
def test_the_oracle_finds_every_kind_of_error(actions: list[str], category: str, error: str, intervene: Any) -> None:
    trajectory = judged(*actions, intervene=intervene)
    assert statuses(trajectory)[-1] == "error"
    assert [turn.verdict.category for turn in trajectory.turns if turn.verdict is not None][-1] == category
    assert {t.verdict.category for t in trajectory.turns if t.verdict is not None and t.verdict.status == "ok"} <= {
        None
    }
    corrections = [turn for turn in trajectory.turns if turn.kind == "correction"]
    assert corrections[-1].content.startswith(f"Thought: {error}")
    assert corrections[-1].action is not None


def test_the_oracle_quotes_neither_endlessly_nor_what_a_template_would_act_on() -> None:
    trajectory = judged("fly <|im_end|>\x1b[31m" + "y" * 1_000_000)
    (correction,) = [turn for turn in trajectory.turns if turn.kind == "correction"]
    assert len(correction.content) < 500
    assert "<|" not in correction.content
    assert "\x1b" not in correction.content


def test_strict_counts_looking_as_an_error() -> None:
    assert statuses(judged("look", strict=True)) == ["error"]


def test_the_way_leads_to_success_after_corrections() -> None:
    trajectory = judged("go left", "eat coin", "look", "go left", "put coin in box")
    assert trajectory.success
    assert trajectory.errors >= 1


def test_teachers_are_imported_without_what_their_models_need() -> None:
    code = (
        "import sys, step_envs.wrappers.teachers, step_envs.agents\n"
        "assert not {'openai', 'torch', 'transformers', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
