"""The explorer: it goes where things are likely to be, looks, and uses nothing that it has not seen."""

import re
from collections.abc import Iterator

import pytest

from step_envs.errors import UnknownNameError
from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.planning.rooms import DOORS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def env() -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None, expert="explorer")
    yield env
    env.close()


def play(env: SciWorldEnv, task_id: str, *first: str) -> tuple[list[str], list[str], bool]:
    """Follow the explorer after some first actions; return its actions, its thoughts, and success."""
    _, info = env.reset(options={"task_id": task_id})
    for action in first:
        env.step(action)
    actions, thoughts = [], []
    while (action := env.oracle.next_action()) is not None:
        actions.append(action)
        thoughts.append(env.oracle.thought(action))
        info = env.step(action)[4]
    return actions, thoughts, info["success"]


@pytest.mark.parametrize("task_id", ["find-plant/0", "lifespan-longest-lived/0", "use-thermometer/0", "boil/0"])
def test_it_looks_around_in_every_room_and_tells_why_it_goes_there(env: SciWorldEnv, task_id: str) -> None:
    actions, thoughts, success = play(env, task_id)
    assert success
    seen: set[str] = set()
    for action, following, thought in zip(actions, [*actions[1:], ""], thoughts, strict=True):
        room = action.removeprefix("teleport to ")
        if room != action and room not in seen:
            assert following == "look around"
            seen.add(room)
        assert re.match(r"[A-Z].*[.?]$", thought)
        assert not re.search(r"[{}\n]|\b(gold|oracle|plan|simulator|None)\b|Action:| {2}", thought)


def test_its_plan_is_what_it_then_does(env: SciWorldEnv) -> None:
    env.reset(options={"task_id": "find-animal/0"})
    before = env.snapshot()
    plan = env.oracle.plan()
    assert env.snapshot() == before
    actions, _, success = play(env, "find-animal/0")
    assert success and actions == plan


def test_it_tries_the_likely_rooms_before_the_one_where_the_thing_is(env: SciWorldEnv) -> None:
    shortest = SciWorldEnv(max_steps=None)
    shortest.reset(options={"task_id": "find-living-thing/0"})
    direct = shortest.oracle.plan()
    shortest.close()
    actions, thoughts, success = play(env, "find-living-thing/0")
    assert success and direct is not None and len(actions) >= len(direct)
    first = next(action for action in actions if action.startswith("teleport"))
    assert first == "teleport to greenhouse"
    assert "seen" in thoughts[actions.index(first)] or "find" in thoughts[actions.index(first)]


def test_it_goes_on_in_an_episode_that_another_began(env: SciWorldEnv) -> None:
    actions, _, success = play(env, "find-plant/0", "teleport to bathroom")
    assert success
    assert actions[0] == "look around"
    assert "teleport to bathroom" not in actions


def test_it_walks_where_there_is_no_teleport() -> None:
    env = SciWorldEnv(max_steps=None, simplification="", expert="explorer")
    try:
        actions, _, success = play(env, "find-plant/0")
        assert success
        assert not any(action.startswith("teleport") for action in actions)
        assert {action.removeprefix("go to ") for action in actions if action.startswith("go ")} <= set(DOORS)
    finally:
        env.close()


def test_there_is_no_step_after_a_failure(env: SciWorldEnv) -> None:
    env.reset(options={"task_id": "find-plant/0"})
    env.step("focus on picture")
    assert env.oracle.next_action() is None
    assert env.oracle.plan() is None


def test_an_expert_that_does_not_exist() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown expert 'explorr'\. Did you mean 'explorer'"):
        SciWorldEnv(expert="explorr")  # type: ignore[arg-type]
