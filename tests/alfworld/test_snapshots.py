"""Snapshots whose own part is garbled: they are refused before anything is played, or they are whole."""

import copy
import json
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step_envs.alfworld.env import AlfworldEnv
from step_envs.alfworld.simulation import original
from step_envs.errors import SnapshotError
from step_envs.testing import garbled_snapshots

ENV = "STeP-ALFWorld-v0"
TASKS = (
    "generated/pick_two_obj_and_place/2000003",
    "generated/look_at_obj_in_light/2000003",
    "generated/pick_cool_then_place_in_recep/2000003",
    "generated-small/pick_and_place_simple/4",
)
MOVES = ("look", "inventory", "go to fridge 1", "go to drawer 1", "open drawer 1", "go to countertop 1")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 400),
    st.sampled_from([10**30, 1.0, 0.5, "", "0", "look", [], [[]], [[0]], [[0, [0], [0]]], {}, {"commands": ["look"]}]),
)


def make(expert: str) -> AlfworldEnv:
    world = gym.make(ENV, source="generated", expert=expert, max_steps=None).unwrapped
    assert isinstance(world, AlfworldEnv)
    return world


WORLDS = {expert: make(expert) for expert in ("shortest", "explorer")}


def saved_states() -> list[bytes]:
    """Save episodes at the start, with a thing in the hand, and close to success."""
    world, saved = WORLDS["shortest"], []
    for task_id in TASKS:
        world.reset(options={"task_id": task_id})
        plan = world.oracle.plan()
        assert plan
        saved.append(world.snapshot())
        for action in plan[:-1]:
            world.step(action)
            saved.append(world.snapshot())
    return saved


SAVED = saved_states()


def slots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [deeper for key, part in inner for deeper in ((*path, key), *slots(part, (*path, key)))]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_garbled_state_is_refused_or_can_be_played(data: st.DataObject) -> None:
    snapshot = json.loads(data.draw(st.sampled_from(SAVED)))
    for _ in range(data.draw(st.integers(1, 3))):
        paths = slots(snapshot["world"])
        path = data.draw(st.sampled_from(paths)) if paths else ()
        place = snapshot["world"]
        for key in path[:-1]:
            place = place[key]
        how = data.draw(st.sampled_from(["delete", "replace", "repeat"])) if path else "whole"
        if how == "delete":
            del place[path[-1]]
        elif how == "replace":
            place[path[-1]] = copy.deepcopy(data.draw(VALUES))
        elif how == "repeat" and isinstance(place, list):
            place.append(copy.deepcopy(place[path[-1]]))
        elif how == "whole":
            snapshot["world"] = copy.deepcopy(data.draw(VALUES))
    garbled = json.dumps(snapshot).encode()
    world = WORLDS[data.draw(st.sampled_from(sorted(WORLDS)))]
    try:
        world.restore(garbled)
    except SnapshotError:
        with pytest.raises(SnapshotError):
            world.oracle.plan(garbled)
        return
    assert world.oracle.plan(garbled) == world.oracle.plan()
    if not world.terminated:
        for action in data.draw(
            st.lists(st.sampled_from([*MOVES, *world.admissible_actions()]), min_size=3, max_size=3)
        ):
            world.oracle.thought(action)
            world.admissible_actions()
            if world.step(action)[2]:
                return
    world.oracle.plan()
    assert world.restore(world.snapshot())


@pytest.mark.parametrize("expert", sorted(WORLDS))
def test_a_wrong_field_is_named_in_the_error(expert: str) -> None:
    world = WORLDS[expert]
    good = json.loads(SAVED[3])
    for change, sentence in (
        ({"location": True}, "'location' must hold numbers, got bool"),
        ({"held": 999}, "the saved state names number 999 in 'held', which is not in this household"),
        ({"held": -1}, "names number -1 in 'held'"),
        ({"held": 0, "moved": []}, "the saved state holds thing 0, which 'moved' does not list"),
        ({"opened": 3}, "'opened' must be a list, got int"),
        ({"opened": [True]}, "'opened' must hold numbers, got bool"),
        ({"moved": [[0, [0]]]}, "'moved' must be a list of lists of 3"),
        ({"moved": [[0, [0], [9999]]]}, "names number 9999 in 'moved'"),
        ({"taken_from": [[0, 1.0]]}, "'taken_from' must hold numbers, got float"),
        ({"commands": ["look", 3]}, "no saved state of the original engine, which is a list of commands"),
    ):
        garbled = json.dumps(good | {"world": good["world"] | change}).encode()
        for call in (world.restore, world.oracle.plan):
            with pytest.raises(SnapshotError) as error:
                call(garbled)  # type: ignore[operator]
            assert sentence in str(error.value)


def test_a_refused_state_does_not_change_the_engine() -> None:
    world = WORLDS["shortest"]
    world.restore(SAVED[2])
    engine = world.engine
    before = json.dumps(engine.save())
    for garbled in garbled_snapshots(SAVED[2]):
        with pytest.raises(SnapshotError):
            world.oracle.plan(garbled)
        with pytest.raises(SnapshotError):
            world.restore(garbled)
    assert json.dumps(engine.save()) == before


def test_the_original_engine_refuses_garbled_states_before_it_gives_up_its_game(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Replayer:
        """Stands in for TextWorld: understands every command and never wins."""

        closed = False

        def load(self, game: dict[str, Any]) -> None:
            self.task = str(game["pddl_problem"])

        def reset(self) -> dict[str, Any]:
            return {"feedback": "Your task is to: do it.", "won": False, "admissible_commands": ["look"]}

        def step(self, command: str) -> tuple[dict[str, Any], float, bool]:
            return {"feedback": f"You {command}.", "won": False, "admissible_commands": ["look"]}, 0.0, False

        def close(self) -> None:
            self.closed = True

    made: list[Replayer] = []
    monkeypatch.setattr(original, "_make_env", lambda: made.append(Replayer()) or made[-1])
    world = gym.make(ENV, source="generated", backend="textworld").unwrapped
    assert isinstance(world, AlfworldEnv)
    world.reset(options={"task_id": TASKS[0]})
    world.step("look")
    saved = world.snapshot()
    other = json.loads(saved) | {"task_id": TASKS[1]}
    for part in (None, 3, [], {}, {"commands": "look"}, {"commands": [3]}, json.loads(SAVED[0])["world"]):
        with pytest.raises(SnapshotError):
            world.restore(json.dumps(other | {"world": part}).encode())
    assert not made[0].closed and len(made) == 1
    assert world.restore(saved)[0] == "You look." and world.oracle.plan(saved)
