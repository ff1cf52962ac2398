"""Snapshots of ScienceWorld: what is wrong in them is found before anything changes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step_envs.errors import SnapshotError, UnknownNameError
from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.tasks import (
    check_simplification,
    engine_simplification,
    read_simplification,
)

TASK = {"task_id": "lifespan-longest-lived/0"}


@pytest.fixture(scope="module")
def env() -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None)
    yield env
    env.close()


def with_world(snapshot: bytes, world: Any) -> bytes:
    return json.dumps(json.loads(snapshot) | {"world": world}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["", "easy", "easy,openDoors", "openWindows", ",easy"])
ACTIONS = st.lists(
    st.sampled_from(["look around", "wait", "teleport to outside", "0"]) | st.text(max_size=8), max_size=3
)
WORLDS = JSON | st.fixed_dictionaries({"simplification": NAMES | JSON, "actions": ACTIONS | JSON})


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORLDS)
def test_a_garbled_world_is_refused_or_can_be_played(env: SciWorldEnv, world: Any) -> None:
    env.reset(options=TASK)
    saved = env.snapshot()
    garbled = with_world(saved, world)
    try:
        env.restore(garbled)
    except SnapshotError:
        with pytest.raises(SnapshotError):
            env.oracle.plan(garbled)
        env.restore(saved)
        assert env.snapshot() == saved
        return
    env.step("wait1")
    plan = env.oracle.plan()
    assert plan is None or all(isinstance(action, str) for action in plan)


@pytest.mark.parametrize(
    "simplification", ["openWindows", ",easy", "openDoors,", "easy,,eto", "easy openDoors", "Easy"]
)
def test_a_snapshot_with_simplifications_that_cannot_be_played_is_refused_before_anything_changes(
    env: SciWorldEnv, simplification: str
) -> None:
    env.reset(options=TASK)
    saved, history = env.snapshot(), env.history
    garbled = with_world(saved, {"simplification": simplification, "actions": []})
    with pytest.raises(SnapshotError, match=r"simplification.*call reset\(\) to go on"):
        env.restore(garbled)
    assert env.history is history
    with pytest.raises(SnapshotError, match="simplification"):
        env.oracle.plan(garbled)
    with pytest.raises(UnknownNameError):
        SciWorldEnv(simplification=simplification)


def test_simplifications_that_a_task_cannot_be_done_with() -> None:
    check_simplification("openDoors,noElectricalAction", "boil")
    with pytest.raises(UnknownNameError, match="'power-component' cannot be done with noElectricalAction"):
        check_simplification("openDoors,noElectricalAction", "power-component")


EASY = "teleportAction,openDoors,selfWateringFlowerPots,noElectricalAction"


@pytest.mark.parametrize(
    ("given", "task", "engine"),
    [
        ("", "boil", ""),
        ("easy", "boil", "easy"),
        (" easy ,easy", "power-component", "easy"),
        ("openDoors", "boil", "openDoors"),
        (
            "easy,openContainers",
            "boil",
            f"{EASY},openContainers",
        ),
        (
            "openContainers, easy",
            "boil",
            f"openContainers,{EASY}",
        ),
        ("easy,openContainers", "power-component", "teleportAction,openDoors,selfWateringFlowerPots,openContainers"),
        ("eto", "boil", "teleportAction,openDoors,selfWateringFlowerPots,openContainers"),
        ("eto,easy", "test-conductivity", "teleportAction,openDoors,selfWateringFlowerPots,openContainers"),
    ],
)
def test_sets_of_simplifications_are_expanded_where_the_engine_would_not(given: str, task: str, engine: str) -> None:
    assert engine_simplification(given, task) == engine
    assert engine_simplification(read_simplification(given), task) == engine


def test_sets_beside_other_simplifications_can_be_played_and_their_snapshots_restored(env: SciWorldEnv) -> None:
    other = SciWorldEnv(simplification="easy, openContainers", mend_instructions=True, max_steps=None)
    task = {"task_id": "chemistry-mix-paint-tertiary-color/0"}
    observation, info = other.reset(options=task)
    assert info["score"] >= 0 and not observation.startswith("ERROR")
    assert other.history.simplification == "easy,openContainers"
    # The engine asks for the intermediate colour at the end; whoever obeys fails.
    right = "When you are completely done, focus on the green-blue paint."
    assert info["instruction"].endswith(right) and info["details"]["mended"] == "instruction"
    assert other.step("task")[0].endswith(right)
    _, info = env.restore(other.snapshot())
    assert env.history.simplification == "easy,openContainers"
    _, info = env.reset(options=task)
    assert info["instruction"].endswith("focus on the green paint.") and "mended" not in info["details"]
    _, info = other.reset(options={"task_id": "find-plant/0"})
    assert "mended" not in info["details"]
    other.close()
