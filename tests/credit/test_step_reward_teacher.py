"""The teacher that judges by value agrees with the oracle where values are exact, and is of use where they are not."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from credit_worlds import WORLDS

from step_envs.collection import collect
from step_envs.collection.config import CollectConfig
from step_envs.credit import StepRewardTeacher
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers.making import make_teacher


def collected(out: Path, env_id: str, teacher: str, **changes: Any) -> list[Trajectory]:
    settings = {"episodes": 3, "agent": "novice:error_rate=0.4", "max_errors": 30} | changes
    collect(CollectConfig(env=env_id, env_options=WORLDS[env_id], teacher=teacher, **settings), out)
    return list(read_trajectories(out))


@pytest.mark.parametrize("intervene", ["after", "before"])
@pytest.mark.parametrize("env_id", WORLDS)
def test_with_exact_values_its_verdicts_are_those_of_the_strict_oracle(
    env_id: str, intervene: str, tmp_path: Path
) -> None:
    by_plan = collected(tmp_path / "plan", env_id, "oracle:strict=true", intervene=intervene)
    by_value = collected(tmp_path / "value", env_id, "step_reward", intervene=intervene)
    assert [one.turns for one in by_value] == [one.turns for one in by_plan]
    assert sum(one.errors for one in by_value)
    assert by_value[0].teacher is not None
    assert by_value[0].teacher.params == {"threshold": 0.0, "value": "oracle", "discount": 0.95}


def test_continuations_of_an_agent_find_errors(tmp_path: Path) -> None:
    teacher = "step_reward:agent=novice:error_rate=0.2,n=8,threshold=0.02"
    found = collected(tmp_path / "run", "STeP-ALFWorld-v0", teacher, episodes=4, max_errors=2)
    judged = [turn for one in found for turn in one.turns if turn.verdict is not None]
    assert {turn.verdict.status for turn in judged if turn.verdict} == {"ok", "error"}
    assert all(one.unknown_verdicts == 0 for one in found)


def test_it_leaves_the_world_as_it_was() -> None:
    env = gym.make("STeP-ALFWorld-v0", **WORLDS["STeP-ALFWorld-v0"])
    states: list[bytes] = []

    class Watched(StepRewardTeacher):
        def judge(self, context: Any) -> Any:
            states.append(env.unwrapped.snapshot())  # type: ignore[attr-defined]
            verdict = super().judge(context)
            states.append(env.unwrapped.snapshot())  # type: ignore[attr-defined]
            return verdict

    watched = TeacherMonitorWrapper(ReActWrapper(env), Watched(agent="novice", n=1), max_errors=9)
    watched.reset(seed=0)
    for action in ("look", "dance", "inventory"):
        watched.step(f"Action: {action}")
    assert states[::2] == states[1::2]
    assert len(states) == 6
    env.close()


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("step_reward:threshold=1", "threshold must be at least 0 and below 1, got 1."),
        (
            "step_reward:agent=chat:model=m;base_url=http://127.0.0.1:9/v1",
            "Continuations by a model behind an endpoint would be in no budget: name an agent that is a local checkpoint, "
            "or annotate the run afterwards.",
        ),
        ("step_reward:discount=1", "With discount=1 the oracle values all states alike: take less than 1."),
    ],
)
def test_wrong_options(spec: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        make_teacher(spec)
