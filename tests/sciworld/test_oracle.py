"""The oracle: plans that hold, ways back, and what else it is asked."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gymnasium.error import ResetNeeded

from step_envs.errors import SnapshotError
from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.planning.gold_plans import GoldPlanCache
from step_envs.sciworld.planning.plan_compression import _without_needless_moves
from step_envs.sciworld.planning.plan_executor import CANCEL
from step_envs.sciworld.planning.rooms import DOORS
from step_envs.sciworld.planning.steps import PlanStep
from step_envs.sciworld.tasks import TASK_TYPES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEP_ENVS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def env(cache: Path) -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None)
    yield env
    env.close()


@pytest.fixture(scope="module")
def bare_env(cache: Path) -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None, simplification="")
    yield env
    env.close()


def begin(env: SciWorldEnv, task_id: str, *actions: str) -> None:
    env.reset(options={"task_id": task_id})
    for action in actions:
        env.step(action)


def follow(env: SciWorldEnv, plan: list[str]) -> bool:
    success = False
    for action in plan:
        _, _, done, _, info = env.step(action)
        success = info["success"]
        assert done == success, f"{action!r} failed the task"
    return success


# Plans.


@pytest.mark.parametrize(
    "task_id", ["boil/0", "use-thermometer/1", "identify-life-stages-2/0", "grow-plant/0", "test-conductivity/1"]
)
def test_plan_from_start_succeeds_at_its_last_action_and_keeps_to_the_limit(env: SciWorldEnv, task_id: str) -> None:
    begin(env, task_id)
    plan = env.oracle.plan()
    assert plan is not None
    assert len(plan) <= TASK_TYPES[task_id.partition("/")[0]].max_steps
    assert follow(env, plan)
    assert env.oracle.plan() == []
    assert env.oracle.next_action() is None


def test_plan_is_shorter_than_the_engines_own_solution(env: SciWorldEnv) -> None:
    begin(env, "test-conductivity/1")
    gold = env.oracle.planner.simulator.gold_path(env.history)
    plan = env.oracle.plan()
    assert plan is not None
    assert len(plan) <= len(gold) - 10
    assert "teleport to workshop" in plan
    assert plan[plan.index("teleport to workshop") + 1] == "look around"


def test_nothing_is_put_down_to_be_picked_up_again_at_once() -> None:
    def steps(*actions: str) -> list[PlanStep]:
        return [PlanStep(action, "kitchen", "", 1, 0) for action in actions]

    broken_sink = steps(
        "pick up pot", "move pot to sink", "pick up pot", "move pot to tub", "activate tub", "pick up pot"
    )
    assert _without_needless_moves(broken_sink) == [broken_sink[0], *broken_sink[3:]]
    chocolate = steps("move chocolate to pot", "pick up pot", "move pot to stove")
    assert _without_needless_moves(chocolate) == chocolate


def test_plan_goes_on_foot_where_there_is_no_teleport(bare_env: SciWorldEnv) -> None:
    begin(bare_env, "find-plant/0")
    plan = bare_env.oracle.plan()
    assert plan is not None
    assert not any(action.startswith("teleport") for action in plan)
    bare_env.step("open door to workshop")
    bare_env.step("go to workshop")
    plan = bare_env.oracle.plan()
    assert plan is not None
    assert plan[0] == "go to hallway"
    assert follow(bare_env, plan)


def test_on_the_plan_every_step_shortens_it_by_one_and_costs_no_search(env: SciWorldEnv) -> None:
    begin(env, "find-living-thing/0")
    plan = env.oracle.plan()
    assert plan is not None
    steps = env.oracle.planner.simulator.steps
    while plan:
        env.step(plan[0].upper())  # the engine does not mind the case
        assert env.oracle.plan() == plan[1:] or len(plan) == 1
        plan = plan[1:]
        if plan:
            assert env.oracle.planner.simulator.steps == steps


def test_plan_after_imagined_actions_leaves_the_environment_alone(env: SciWorldEnv) -> None:
    begin(env, "find-plant/0")
    snapshot, plan = env.snapshot(), env.oracle.plan()
    assert plan is not None
    assert env.oracle.plan(after=plan[:2]) == plan[2:]
    assert env.oracle.plan(after=["focus on picture"]) is None
    assert env.snapshot() == snapshot
    assert env.oracle.plan() == plan


def test_plan_from_a_snapshot(env: SciWorldEnv) -> None:
    begin(env, "find-plant/0")
    plan = env.oracle.plan()
    assert plan is not None
    env.step(plan[0])
    snapshot = env.snapshot()
    begin(env, "boil/0")
    assert env.oracle.plan(snapshot) == plan[1:]
    with pytest.raises(SnapshotError, match="not a snapshot"):
        env.oracle.plan(b"{}")


def test_there_is_no_plan_where_the_engines_own_solution_fails(cache: Path) -> None:
    # Plans with these simplifications do not come with the package.
    env = SciWorldEnv(max_steps=None, simplification="easy,openContainers")
    other = SciWorldEnv(max_steps=None, simplification="easy,openContainers")
    try:
        begin(env, "find-plant/77")
        GoldPlanCache("gold").write(env.history, ["look around", "wait1", "teleport to kitchen"])
        assert env.oracle.plan() is None
        env.step("look around")
        assert env.oracle.plan() is None
        begin(other, "find-plant/77")
        assert other.oracle.plan() is None  # as kept on disk
        assert other.oracle.next_action() is None
    finally:
        env.close()
        other.close()


# Ways back.


@pytest.mark.parametrize(
    ("task_id", "on_the_way", "mistakes"),
    [
        ("find-plant/0", 3, ["teleport to bathroom"]),
        ("find-plant/0", 5, ["put down flower pot 6", "teleport to foundry"]),
        ("boil/0", 5, ["put down thermometer", "close cupboard", "move metal pot to cupboard"]),
        ("boil/0", 7, ["deactivate sink", "pick up metal pot", "pour metal pot into sink"]),
        ("use-thermometer/0", 9, ["put down thermometer", "teleport to outside"]),
        ("power-component/0", 5, ["connect battery cathode to black wire terminal 2"]),
        ("power-component/0", 6, ["disconnect battery"]),
        ("grow-plant/0", 3, ["move seed jar to cupboard", "teleport to bedroom"]),
        ("boil/0", 10, ["reset task"]),
        ("chemistry-mix-paint-secondary-color/0", 3, ["pour jug into table"]),
        ("test-conductivity-of-unknown-substances/0", 8, ["move table to hallway"]),
        ("identify-life-stages-2/2", 4, ["close door to foundry"]),
    ],
)
def test_mistakes_are_made_good(env: SciWorldEnv, task_id: str, on_the_way: int, mistakes: list[str]) -> None:
    begin(env, task_id)
    plan = env.oracle.plan()
    assert plan is not None
    for action in [*plan[:on_the_way], *mistakes]:
        env.step(action)
    back = env.oracle.plan()
    assert back is not None
    assert follow(env, back)


def test_a_detour_does_not_shorten_the_plan(env: SciWorldEnv) -> None:
    begin(env, "boil/0", "teleport to kitchen", "look around")
    plan = env.oracle.plan()
    rest = env.oracle.plan(after=["teleport to bedroom"])
    assert plan is not None
    assert rest is not None
    assert len(rest) > len(plan)
    assert rest[0] == "teleport to kitchen"


def test_steps_in_another_order_count_as_done(env: SciWorldEnv) -> None:
    begin(env, "boil/0", "teleport to kitchen", "look around")
    plan = env.oracle.plan()
    assert plan is not None
    assert plan[:2] == ["pick up thermometer", "open cupboard"]
    rest = env.oracle.plan(after=["open cupboard"])
    assert rest is not None
    assert len(rest) == len(plan) - 1
    assert "open cupboard" not in rest


def test_there_is_no_way_after_a_fatal_focus(env: SciWorldEnv) -> None:
    begin(env, "find-plant/0", "focus on picture")
    assert env.oracle.plan() is None
    assert env.oracle.next_action() is None


def test_an_unwanted_question_is_taken_back_and_a_wanted_one_answered(env: SciWorldEnv) -> None:
    begin(env, "grow-plant/0")
    plan = env.oracle.plan()
    assert plan is not None
    asked = plan.index("0")
    for action in plan[:asked]:
        observation, *_ = env.step(action)
    assert observation.startswith("Ambiguous request")
    assert env.oracle.next_action() == "0"
    assert env.oracle.understood(CANCEL)

    begin(env, "grow-plant/0", *plan[: asked - 1])
    observation, *_ = env.step("move seed jar to flower pot 2")
    begin(env, "grow-plant/0", *plan[: asked - 1], "pick up apple seed")
    back = env.oracle.plan()
    assert back is not None
    assert follow(env, back)


def test_the_same_plan_in_another_environment(env: SciWorldEnv, cache: Path) -> None:
    mistakes = ("teleport to kitchen", "pick up lighter", "open freezer", "teleport to bathroom")
    begin(env, "boil/0", *mistakes)
    plan = env.oracle.plan()
    other = SciWorldEnv(max_steps=None)
    try:
        begin(other, "find-animal/0")
        other.oracle.plan()
        begin(other, "boil/0", *mistakes)
        assert other.oracle.plan() == plan
    finally:
        other.close()


# What else it is asked.


def test_understood(env: SciWorldEnv) -> None:
    begin(env, "find-plant/0")
    assert env.oracle.understood("open door to kitchen")
    assert env.oracle.understood("WAIT1")
    assert not env.oracle.understood("fly to the moon")
    assert not env.oracle.understood("")


@pytest.mark.parametrize(
    "action", ["look around", "look at table", "Examine  ice", "read recipe", "inventory", "open fridge"]
)
def test_informative(env: SciWorldEnv, action: str) -> None:
    assert env.oracle.is_informative(action)


@pytest.mark.parametrize(
    "action", ["pick up fork", "close fridge", "wait", "focus on ice", "", "lookout", "teleport to kitchen"]
)
def test_not_informative(env: SciWorldEnv, action: str) -> None:
    assert not env.oracle.is_informative(action)


def test_asked_before_the_first_episode() -> None:
    env = SciWorldEnv()
    try:
        with pytest.raises(ResetNeeded, match=r"call reset\(\) before asking the oracle"):
            env.oracle.plan()
    finally:
        env.close()


def test_no_simulator_is_started_before_it_is_needed() -> None:
    env = SciWorldEnv()
    try:
        assert env.oracle.planner.simulator.started is False
        env.reset(seed=0)
        assert env.oracle.is_informative("look around")
        assert env.oracle.planner.simulator.started is False
    finally:
        env.close()


# Thoughts, and the world as the oracle knows it.


@pytest.mark.parametrize("task_id", ["boil/0", "find-animal/0", "power-component/0", "lifespan-longest-lived/0"])
def test_thoughts_are_plain_first_person_and_repeatable(env: SciWorldEnv, task_id: str) -> None:
    begin(env, task_id)
    told = set()
    while action := env.oracle.next_action():
        words = env.oracle.thought(action)
        assert words == env.oracle.thought(action)
        assert re.match(r"[A-Z].*[.?]$", words)
        assert not re.search(r"[{}\n]|\b(gold|oracle|plan|simulator|None)\b|Action:| {2}", words)
        told.add(words)
        env.step(action)
    assert len(told) >= 2


def test_the_house_is_as_drawn(env: SciWorldEnv) -> None:
    begin(env, "find-plant/0")
    for room, others in DOORS.items():
        look, *_ = env.step(f"teleport to {room}") and env.step("look around")
        assert set(re.findall(r"A door to the (.+?) \(", look)) == set(others)
