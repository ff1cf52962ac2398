"""Restore points: what a snapshot is, without the bytes until somebody asks for them."""

import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

import step_envs  # noqa: F401  (registers the ids)
from step_envs.agents import NoviceAgent, rollout
from step_envs.errors import SnapshotError
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import own_world  # noqa: F401  (registers Coin-v0)

WORLDS = [
    ("STeP-ALFWorld-v0", {"source": "generated"}),
    ("STeP-ALFWorld-v0", {"source": "generated", "expert": "explorer"}),
    ("STeP-WebShop-v0", {}),
    ("Coin-v0", {}),
]
worlds = pytest.mark.parametrize(("env_id", "options"), WORLDS)


def make(env_id, options):
    return gym.make(env_id, **options).unwrapped


@worlds
def test_a_restore_point_is_the_snapshot_of_its_moment(env_id, options):
    env, other = make(env_id, options), make(env_id, options)
    env.reset(seed=3)
    other.reset(seed=4)
    plan, kept = env.oracle.plan(), []
    for action in plan:
        kept.append((env.restore_point(), env.snapshot(), env.oracle.plan(), env.admissible_actions()))
        env.step(action)
    for point, snapshot, plan, admissible in reversed(kept):
        assert bytes(point) == snapshot and bytes(point) is bytes(point)
        for after in ([], plan[:1], plan, ["nonsense"]):
            assert env.oracle.plan(point, after=after) == env.oracle.plan(snapshot, after=after)
            assert env.oracle.distance(point, after=after) == env.oracle.distance(snapshot, after=after)
        shown = env.restore(snapshot)
        env.step(plan[0])
        assert env.restore(point) == shown
        assert env.snapshot() == snapshot and env.admissible_actions() == admissible
        # In another environment it goes by way of the bytes.
        assert other.restore(point) == shown and other.snapshot() == snapshot
        assert other.oracle.plan(point) == plan
        for action in plan:
            info = env.step(action)[4]
        assert info["success"]
        assert bytes(point) == snapshot
    env.close()
    other.close()


def test_a_restore_point_of_another_world_is_refused():
    coin, env = make("Coin-v0", {}), make("STeP-ALFWorld-v0", {"source": "generated"})
    coin.reset(seed=0)
    env.reset(seed=0)
    with pytest.raises(SnapshotError, match="cannot be restored in"):
        env.restore(coin.restore_point())
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before restore_point\(\)"):
        make("Coin-v0", {}).restore_point()


class CuriousTeacher(OracleTeacher):
    """Notes what a teacher of one's own sees of the state before the action."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def judge(self, context):
        self.seen.append((context.before, replace(context, complaint="again").before))
        return super().judge(context)


@worlds
@pytest.mark.parametrize("intervene", ["after", "before"])
def test_teachers_see_bytes(env_id, options, intervene):
    taken = []
    for teacher in (CuriousTeacher(), OracleTeacher()):
        env = TeacherMonitorWrapper(ReActWrapper(gym.make(env_id, **options)), teacher, intervene=intervene)
        trajectory = rollout(env, NoviceAgent(0.4), seed=5)
        taken.append([(turn.content, turn.verdict) for turn in trajectory.turns])
        if isinstance(teacher, CuriousTeacher):
            assert teacher.seen and all(type(one) is bytes and one == two for one, two in teacher.seen)
            for before, _ in teacher.seen:
                env.unwrapped.restore(before)
        env.close()
    assert taken[0] == taken[1]


def test_a_property_of_a_chat_is_computed_once():
    computed = []

    class Counting(ReActWrapper):
        @property
        def answer(self):
            computed.append(1)
            return 42

    env = gym.wrappers.RecordEpisodeStatistics(Counting(gym.make("Coin-v0")))
    assert env.get_wrapper_attr("answer") == 42
    inner = env.env
    computed.clear()
    assert inner.get_wrapper_attr("answer") == 42 and computed == [1]
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        inner.get_wrapper_attr("nothing_of_the_kind")
    env.close()
