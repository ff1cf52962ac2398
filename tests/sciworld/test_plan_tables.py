"""The plans that come with the package: what they hold, when they are used, and that the planner computes the same."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.java.jars import engine_digest
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.gold_plans import GoldPlanCache
from step_envs.sciworld.planning.plan_compression import extract_steps
from step_envs.sciworld.planning.plan_tables import (
    TABLES,
    KnownPlan,
    PlanEntry,
    PlanTable,
    pack_table,
    shipped_plan,
)
from step_envs.sciworld.planning.planner import Planner
from step_envs.sciworld.planning.steps import ActionKind, PlanStep
from step_envs.sciworld.tasks import ETO_SPLITS, SCIWORLD_TASKS, TASK_TYPES

QUICK = ("find-", "lifespan-", "power-component")
NO_SOLUTION = ["look around", "wait1", "teleport to kitchen"]


def shipped_variations(simplification: str, task: str) -> list[int]:
    return [i for i in range(TASK_TYPES[task].variations) if shipped_plan(ActionHistory(task, i, simplification, ()))]


# The format.

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
entries = texts.map(PlanEntry) | st.tuples(texts, texts, texts, st.booleans()).map(PlanEntry._make)
plans = st.dictionaries(
    st.sampled_from(list(TASK_TYPES)).flatmap(
        lambda task: st.tuples(st.just(task), st.integers(0, TASK_TYPES[task].variations - 1))
    ),
    st.lists(entries, max_size=6).map(lambda listed: KnownPlan(tuple(listed))),
    max_size=12,
)


@given(plans)
def test_a_table_gives_back_what_was_put_in(known: dict[tuple[str, int], KnownPlan]) -> None:
    packed = pack_table("easy", "0" * 64, known)
    table = PlanTable(packed)
    assert {key: table.plan(*key) for key in known} == known
    assert {(task, i) for task, variations in table.tasks.items() for i in variations} == set(known)
    assert table.plan("boil", 29) == known.get(("boil", 29))
    # The same plans give the same bytes, in whatever order they were computed.
    assert pack_table("easy", "0" * 64, dict(reversed(known.items()))) == packed


def test_a_table_fits_one_engine_and_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack_table("easy", engine_digest(), {})
    assert PlanTable(packed).fits(engine_digest())
    assert not PlanTable(packed).fits("0" * 64)
    monkeypatch.setattr("step_envs.sciworld.planning.plan_tables.VERSION", 0)
    assert not PlanTable(packed).fits(engine_digest())


# What is shipped.


def test_the_shipped_tables_are_small_and_hold_every_variation() -> None:
    contents = [files("step_envs.sciworld").joinpath(f"data/plans_{name}.xz").read_bytes() for name in TABLES]
    assert sum(map(len, contents)) < 1_000_000
    easy, eto = map(PlanTable, contents)
    wanted = {task_id for split in SCIWORLD_TASKS.splits for task_id in SCIWORLD_TASKS.ids(split)}
    played_by_eto = {task_id for split in ETO_SPLITS for task_id in SCIWORLD_TASKS.ids(split)}
    for table, tasks in ((easy, wanted), (eto, played_by_eto)):
        assert {f"{task}/{i}" for task, variations in table.tasks.items() for i in variations} == tasks


def test_there_is_no_table_for_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    first = shipped_variations("easy", "find-plant")[0]
    assert shipped_plan(ActionHistory("find-plant", first, "easy", ()))
    assert shipped_plan(ActionHistory("find-plant", first, "", ())) is None
    assert shipped_plan(ActionHistory("find-plant", first, "easy,openContainers", ())) is None
    monkeypatch.setattr("step_envs.sciworld.planning.plan_tables.engine_digest", lambda: "0" * 64)
    assert shipped_plan(ActionHistory("find-plant", first, "easy", ())) is None


# What an environment does with them.


@pytest.fixture(scope="module")
def env() -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None)
    yield env
    env.close()


def test_a_plan_and_its_thoughts_start_no_second_engine(env: SciWorldEnv) -> None:
    env.reset(options={"task_id": "power-component/0"})
    plan = env.oracle.plan()
    assert plan
    assert env.oracle.distance() == len(plan)
    while action := env.oracle.next_action():
        assert env.oracle.thought(action)
        *_, info = env.step(action.upper())
        plan = plan[1:]
        # The last plan is that of a task that is done: none is left to look up.
        assert not plan or env.oracle.plan() == plan
        if not plan:
            break
        assert not env.oracle.planner.simulator.started
    assert info["success"]
    assert env.oracle.distance() == 0


@pytest.mark.slow
def test_off_the_plan_the_way_back_is_the_one_without_a_table(env: SciWorldEnv) -> None:
    computed = Planner(None, 60.0, tables=False)
    try:
        for task_id, count, mistakes in (
            ("find-plant/0", 3, ["teleport to bathroom"]),
            ("power-component/0", 5, ["connect battery cathode to black wire terminal 2"]),
            ("chemistry-mix-paint-secondary-color/0", 3, ["pour jug into table"]),
        ):
            env.reset(options={"task_id": task_id})
            plan = env.oracle.plan()
            assert plan
            for action in [*plan[:count], *mistakes]:
                env.step(action)
            assert env.oracle.plan() == computed.plan(env.history)
    finally:
        computed.close()


def test_distance_is_none_where_no_way_is_known(env: SciWorldEnv) -> None:
    env.reset(options={"task_id": "find-plant/0"})
    assert env.oracle.distance(after=["focus on picture"]) is None
    before = env.snapshot()
    left = env.oracle.distance()
    assert left is not None
    env.step("teleport to bathroom")
    assert env.oracle.distance(before) == left


def test_a_variation_without_a_plan_behaves_as_without_a_table(
    env: SciWorldEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    table = PlanTable(pack_table("easy", engine_digest(), {("find-plant", 77): KnownPlan(())}))
    monkeypatch.setattr("step_envs.sciworld.planning.plan_tables._shipped_table", lambda simplification: table)
    env.reset(options={"task_id": "find-plant/77"})
    GoldPlanCache("gold").write(env.history, NO_SOLUTION)
    assert env.oracle.plan() is None
    assert env.oracle.distance() is None
    # And one that is not in the table is computed.
    env.reset(options={"task_id": "find-plant/78"})
    plan = env.oracle.plan()
    assert plan
    assert env.oracle.planner.simulator.started


@pytest.mark.slow
def test_the_stock_backend_computes_its_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    env: Any = gym.make("STeP-SciWorld-v0", backend="stock")
    try:
        env.reset(options={"task_id": "find-non-living-thing/0"})
        known = shipped_plan(env.unwrapped.history)
        assert known is not None
        assert env.unwrapped.oracle.plan() == known.actions
        assert env.unwrapped.oracle.planner.simulator.started
    finally:
        env.close()


# The sample: what is shipped is what the planner computes.


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    planner = Planner(None, 600.0, tables=False)
    yield planner
    planner.close()


def as_replanning_reads_it(step: PlanStep) -> PlanStep:
    """Leave out what replanning does not read, see ``KnownPlan.steps``."""
    read = step.answer is not None or step.kind is ActionKind.ACT
    return replace(step, ticks=0, score=0, start=0, observation=step.observation if read else "")


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=() if task.startswith(QUICK) else pytest.mark.slow) for task in TASK_TYPES]
)
@pytest.mark.parametrize("simplification", TABLES)
def test_a_sample_of_the_shipped_plans_is_computed_again(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simplification: str, task: str
) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    shipped = shipped_variations(simplification, task)
    # Another one in each version of the tables; always the same one for the same table.
    for variation in random.Random(json.dumps([task, simplification, shipped])).sample(shipped, min(1, len(shipped))):
        start = ActionHistory(task, variation, simplification, ())
        known = shipped_plan(start)
        assert known is not None
        assert known.actions == planner.plan_from_start(start)
        if known.actions:
            assert known.steps == list(
                map(as_replanning_reads_it, extract_steps(planner.simulator, start, known.actions))
            )
