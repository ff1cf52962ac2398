"""Answers that copies of an engine share are those that a fresh engine in the same state computes."""

import random

import pytest

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.expert import explore, next_step
from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.planning.errands import explain_action, shortest_plan
from step_envs.alfworld.simulation.state_memo import StateMemo
from step_envs.alfworld.tasks import GeneratedTasks


def fresh(engine: Engine) -> Engine:
    """Make an engine in the same state that knows no answers."""
    other = Engine(engine.game)
    other.load(engine.save())
    return other


def answers(engine: Engine) -> tuple[object, ...]:
    """Ask everything that is remembered about a state."""
    plan = shortest_plan(engine)
    why = explain_action(engine, plan[0]) if plan else None
    return engine.won, engine.admissible(), plan, why, next_step(engine), explore(engine)


@pytest.mark.parametrize("task_type", TASK_TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_shared_answers_are_those_of_a_fresh_engine(task_type, seed):
    rng = random.Random(f"{task_type}{seed}")
    engine = Engine(GeneratedTasks().game(f"generated/{task_type}/{seed}"))
    kept = []
    for _ in range(25):
        assert answers(engine) == answers(fresh(engine))
        plan = explore(engine) or ["look"]
        command = rng.choice([rng.choice(engine.admissible()), plan[0], "examine the gizmo"])
        before, imagined = engine.copy(), engine.copy()
        imagined.step(command)
        kept.append((before, before.save(), answers(before)))
        assert answers(imagined) == answers(fresh(imagined))
        assert imagined.step("look") == fresh(imagined).step("look")
        engine.step(command)
    for before, saved, said in kept:
        assert before.save() == saved and answers(before) == said == answers(fresh(before))


def test_copies_are_separate():
    engine = Engine(GeneratedTasks().game("generated/pick_and_place_simple/0"))
    start, twin = engine.save(), engine.copy()
    for command in shortest_plan(twin):
        twin.step(command)
    assert twin.won and not engine.won and engine.save() == start
    assert (twin.copy().last_command, twin.copy().accepted) == ("", True)


def test_an_answer_is_computed_once_for_all_copies_and_the_same_imagined_step():
    engine = Engine(GeneratedTasks().game("generated/pick_and_place_simple/0"))
    asked = []
    ask = lambda one: one.memo.answer("question", lambda: asked.append(1))  # noqa: E731
    command = shortest_plan(engine)[0]
    imagined = engine.copy()
    imagined.step(command)
    for one in (engine, engine.copy(), imagined):
        ask(one)
    assert len(asked) == 2
    engine.step(command)
    ask(engine)
    assert len(asked) == 2
    engine.step("inventory")
    ask(engine)
    assert len(asked) == 2
    engine.reset()
    ask(engine)
    assert len(asked) == 3


def test_none_is_an_answer_too():
    memo, asked = StateMemo(), []
    for _ in range(2):
        assert memo.answer("question", lambda: asked.append(1)) is None
    assert asked == [1]
