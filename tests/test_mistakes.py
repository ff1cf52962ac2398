"""The mistakes of the novice: actions that the world carries out, and that are wrong all the same."""

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import step_envs  # noqa: F401  (registers the ids)
from step_envs.agents import NoviceAgent, rollout
from step_envs.agents.error_injection import wrong_action
from step_envs.agents.mistakes import draw_mistake
from step_envs.registration import env_class
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

ALFWORLD, WEBSHOP, SCIWORLD = "STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0"


def play(env_id: str, episodes: int, **options: Any) -> tuple[Counter[bool], list[str], int]:
    """Return how many errors the world understood, the kinds of all mistakes, and how many episodes succeeded."""
    env = TeacherMonitorWrapper(
        ReActWrapper(gym.make(env_id, max_steps=None, **options)), OracleTeacher(), max_errors=99
    )
    errors: Counter[bool] = Counter()
    kinds: list[str] = []
    successes = 0
    for seed in range(episodes):
        novice = NoviceAgent()
        played = rollout(env, novice, seed=seed)
        errors.update(turn.valid_action for turn in played.turns if turn.kind == "error")
        kinds += [mistake.kind for mistake in novice.mistakes]
        successes += played.success
    env.close()
    return errors, kinds, successes


@pytest.mark.parametrize(
    ("env_id", "episodes", "options", "common"),
    [
        (ALFWORLD, 60, {}, {"wrong object", "wrong place", "undone work"}),
        (WEBSHOP, 60, {}, {"wrong object", "undone work"}),
        (SCIWORLD, 6, {"task_types": ["find-living-thing"]}, {"wrong place"}),
    ],
)
def test_most_mistakes_are_understood_and_all_are_corrected(
    env_id: str, episodes: int, options: dict[str, Any], common: set[str]
) -> None:
    errors, kinds, successes = play(env_id, episodes, **options)
    assert errors.total() >= episodes / 2
    assert errors[False] <= errors.total() / 4
    assert {kind for kind, number in Counter(kinds).items() if number > len(kinds) / 10} >= common
    assert successes == episodes


def world_after(env_id: str, seed: int, steps: int) -> tuple[Any, list[str], list[str]]:
    world: Any = gym.make(env_id).unwrapped
    world.reset(seed=seed)
    plan = world.oracle.plan()
    for action in plan[:steps]:
        world.step(action)
    return world, plan[:steps], plan[steps:]


def drawn(world: Any, planned: str, earlier: list[str], number: int = 60) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for seed in range(number):
        kind, action = draw_mistake(world, planned, earlier, None, np.random.default_rng(seed))
        found.setdefault(kind, set()).add(action)
    return found


def test_a_novice_in_the_shop_picks_wrong_products_and_options_and_buys_too_early() -> None:
    world, done, plan = world_after(WEBSHOP, 0, 0)
    assert drawn(world, plan[0], done)["wrong object"] <= {f"search[{word}]" for word in plan[0][7:-1].split()}
    world, done, plan = world_after(WEBSHOP, 0, 1)
    products = drawn(world, plan[0], done)["wrong object"]
    assert len(products) > 3 and all(name.startswith("click[b0") for name in products)
    world, done, plan = world_after(WEBSHOP, 0, 2)
    assert plan == ["click[burgundy]", "click[small]", "click[buy now]"]
    found = drawn(world, plan[0], done)
    assert found["too early"] == {"click[buy now]"}  # the size alone would be no mistake: it can be chosen first
    assert {"click[white]", "click[medium]"} <= found["wrong object"] <= set(world.admissible_actions())
    assert found["undone work"] == {"click[< prev]", "click[back to search]"}
    assert "wrong place" not in found


def test_a_novice_in_the_household_puts_back_what_it_took_and_goes_back() -> None:
    world, done, plan = world_after(ALFWORLD, 2, 3)
    assert done == ["go to fridge 1", "open fridge 1", "take cup 1 from fridge 1"] and plan[0] == "go to microwave 1"
    assert drawn(world, plan[0], done)["undone work"] == {"move cup 1 to fridge 1", "close fridge 1"}
    world, done, plan = world_after(ALFWORLD, 2, 4)
    assert plan[0] == "heat cup 1 with microwave 1"
    assert drawn(world, plan[0], done)["undone work"] == {"go to fridge 1"}


@pytest.mark.parametrize("env_id", [ALFWORLD, WEBSHOP])
def test_a_mistake_leaves_the_world_as_it_was_and_is_wrong_by_the_oracle(env_id: str) -> None:
    for seed in range(4):
        world, done, plan = world_after(env_id, seed, 1 + seed % 2)
        before = world.snapshot()
        for actions in drawn(world, plan[0], done, 20).values():
            for action in actions:
                rest = world.oracle.plan(after=[action])
                assert action != plan[0] and (rest is None or len(rest) >= len(plan))
        assert world.snapshot() == before


@pytest.mark.parametrize("env_id", [ALFWORLD, WEBSHOP])
def test_an_injected_error_is_understood_by_the_world(env_id: str) -> None:
    for seed in range(12):
        world, _, plan = world_after(env_id, seed, seed % 3)
        action = wrong_action(world, np.random.default_rng(seed))
        rest = world.oracle.plan(after=[action])
        assert world.accepts(action) and rest is not None and len(rest) >= len(plan)


@pytest.mark.parametrize(
    ("env_id", "action", "earlier", "expected"),
    [
        (ALFWORLD, "close fridge 1", "open fridge 1", True),
        (ALFWORLD, "close fridge 1", "open fridge 10", False),
        (ALFWORLD, "move cup 1 to fridge 1", "take cup 1 from shelf 2", True),
        (ALFWORLD, "put cup 1 in/on fridge 1", "take cup 1 from shelf 2", True),
        (ALFWORLD, "move cup 12 to fridge 1", "take cup 1 from shelf 2", False),
        (ALFWORLD, "take cup 1 from fridge 1", "move cup 1 to fridge 1", False),
        (WEBSHOP, "click[< prev]", "click[b000000001]", True),
        (WEBSHOP, "click[back to search]", "search[lamp]", True),
        (WEBSHOP, "click[< prev]", "click[< prev]", False),
        (WEBSHOP, "click[red]", "click[blue]", False),
        (SCIWORLD, "close fridge", "open fridge", True),
        (SCIWORLD, "Deactivate  stove", "activate stove", True),
        (SCIWORLD, "move red wire to table", "pick up red wire", True),
        (SCIWORLD, "move red wire 2 to table", "pick up red wire", False),
        (SCIWORLD, "put down red wire", "pick up red wire", True),
        (SCIWORLD, "disconnect battery anode", "connect battery anode to red wire terminal 1", True),
        (SCIWORLD, "look around", "open fridge", False),
    ],
)
def test_a_world_knows_what_takes_an_action_back(env_id: str, action: str, earlier: str, expected: bool) -> None:
    assert env_class(env_id).takes_back(action, earlier) is expected


def test_only_a_search_can_be_vaguer() -> None:
    shop = env_class(WEBSHOP)
    assert shop.vaguer("search[red floor red lamp]") == ("search[red]", "search[floor]", "search[lamp]")
    assert [shop.vaguer(action) for action in ("search[lamp]", "click[red lamp]", "search", "")] == [()] * 4
    assert env_class(ALFWORLD).vaguer("go to desk 1") == ()
