"""What a turn weighs: the rule itself, and that every way to record a turn goes by it."""

from typing import Any, get_args

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_envs.errors import TeacherError
from step_envs.loss_weights import Masking, VerdictStatus, turn_weight
from step_envs.training import masked_messages
from step_envs.trajectory import Kind, Turn, Verdict
from step_envs.wrappers import ReActWrapper, RecordTrajectory, Reply, TeacherMonitorWrapper
from step_envs.wrappers.reply import ReplyKind
from step_envs.wrappers.teachers import Teacher, TeacherContext

FAR = {"task_id": "coin/study/hall"}
ACTIONS = ("go left", "go right", "take coin", "put coin in box", "eat coin", "look", "fly")
situations = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from([None, *get_args(VerdictStatus)]),
        "has_teacher": st.booleans(),
        "ended_in_failure": st.booleans(),
        "masking": st.sampled_from(get_args(Masking)),
        "error_weight": st.floats(0, 1),
    }
)


@given(st.sampled_from(get_args(Kind)), situations)
def test_a_weight_is_a_share_and_a_valid_turn_can_carry_it(kind: Kind, situation: dict[str, Any]) -> None:
    weight = turn_weight(kind, **situation)
    assert 0 <= weight <= 1
    if kind in ("instruction", "observation"):
        assert weight == 0
        Turn(role="user", content="", kind=kind, loss=weight)
    else:
        Turn(role="assistant", content="", kind=kind, loss=weight)


@given(st.sampled_from(["agent", "expert"]), situations)
def test_a_reply_weighs_one_unless_a_teacher_has_not_said_that_it_is_right(
    kind: Kind, situation: dict[str, Any]
) -> None:
    right = situation["verdict"] == "ok" or (situation["verdict"] is None and not situation["has_teacher"])
    assert turn_weight(kind, **situation) == float(right)


@given(situations)
def test_an_error_weighs_what_the_mask_says_and_nothing_else_matters(situation: dict[str, Any]) -> None:
    expected = {"partial": situation["error_weight"], "none": 1.0, "drop": 0.0}[situation["masking"]]
    assert turn_weight("error", **situation) == expected


@given(situations)
def test_a_correction_weighs_one_unless_it_failed_the_task(situation: dict[str, Any]) -> None:
    assert turn_weight("correction", **situation) == float(not situation["ended_in_failure"])


class Drawn(Teacher):
    """Gives verdicts that a test has drawn."""

    def __init__(self, verdicts: list[Verdict | None]) -> None:
        self.verdicts = verdicts

    def judge(self, context: TeacherContext) -> Verdict:
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict(status="ok")
        if verdict is None:
            raise TeacherError("no answer")
        return verdict


verdicts = st.one_of(
    st.none(),
    st.just(Verdict(status="ok")),
    st.builds(Verdict, status=st.just("error"), corrected_action=st.sampled_from(ACTIONS), undo=st.booleans()),
)
replies = st.builds(
    Reply,
    st.sampled_from(["I wonder", *(f"Thought: so\nAction: {action}" for action in ACTIONS)]),
    kind=st.sampled_from(["agent", "expert", "error"]),
)


@given(
    st.lists(replies, min_size=1, max_size=8),
    st.lists(verdicts, max_size=16),
    st.sampled_from(["after", "before"]),
    st.sampled_from(["continue", "discard", "raise"]),
)
def test_every_recorded_turn_weighs_what_the_rule_says(
    said: list[Reply], judged: list[Verdict | None], intervene: Any, on_unknown: Any
) -> None:
    env = TeacherMonitorWrapper(
        ReActWrapper(gym.make("Coin-v0", max_steps=6)), Drawn(judged), intervene=intervene, on_unknown=on_unknown
    )
    env.reset(options=FAR)
    for reply in said:
        try:
            _, _, terminated, truncated, _ = env.step(reply)
        except TeacherError:
            terminated, truncated = env.trajectory.terminated, env.trajectory.truncated
        if terminated or truncated:
            break
    trajectory = env.trajectory
    for turn in trajectory.turns:
        status = None if turn.verdict is None else turn.verdict.status
        # The score of Coin is negative when the coin is eaten, which is its only way to fail.
        failed = turn.score is not None and turn.score < 0
        assert turn.loss == turn_weight(turn.kind, status, has_teacher=True, ended_in_failure=failed)
    assert [message["loss"] for message in masked_messages(trajectory)] == [turn.loss for turn in trajectory.turns]


@pytest.mark.parametrize(("kind", "weight"), [("agent", 1.0), ("expert", 1.0), ("error", 0.0), ("correction", 1.0)])
def test_a_reply_is_recorded_with_all_that_it_says(kind: ReplyKind, weight: float) -> None:
    env = RecordTrajectory(ReActWrapper(gym.make("Coin-v0")))
    env.reset(options=FAR)
    env.step(Reply("Action: look\nObservation: I win", shortened=3, finish="length", kind=kind))
    turn = env.trajectory.turns[-2]
    assert (turn.content, turn.action, turn.kind, turn.loss) == ("Action: look", "look", kind, weight)
    assert (turn.shortened, turn.usage) == (3, None)
    env.step("Action: look")
    assert env.trajectory.turns[-2].model_dump(include={"kind", "loss", "shortened", "usage"}) == {
        "kind": "agent",
        "loss": 1.0,
        "shortened": 0,
        "usage": None,
    }
