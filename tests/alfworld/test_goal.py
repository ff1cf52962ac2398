"""Compiled goals against the general evaluator of their formulas, in thousands of states."""

import random

import pytest
from alfworld_facts import EngineFacts
from alfworld_original import commands
from alfworld_small import engine

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.goal import TASK_TYPES, UnknownGoalError, compile_goal, evaluate, goal_formula, make_goal
from step_envs.alfworld.games.pddl import read_expression
from step_envs.alfworld.planning.errands import shortest_plan
from step_envs.alfworld.tasks import GeneratedTasks


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_a_goal_is_recognised_by_its_formula(task_type):
    goal = make_goal(task_type, "mugtype", "desktype")
    assert compile_goal(read_expression(goal_formula(goal))) == goal


@pytest.mark.parametrize(
    "text", ["(:goal (and))", "(:goal (holds agent1 apple))", "(:goal (and (objecttype ?o appletype)))", "x"]
)
def test_another_formula_is_no_goal(text):
    with pytest.raises(UnknownGoalError):
        compile_goal(read_expression(text))


@pytest.mark.parametrize(
    "text", ["x", "(:goal)", "(:goal x)", "(:goal (exists ?o (holds agent1 ?o)))", "(:wish (and))", "(:goal ((and)))"]
)
def test_the_evaluator_refuses_what_is_no_formula(text):
    with pytest.raises(ValueError, match=r"This is no|These are no"):
        evaluate(read_expression(text), EngineFacts(engine()))


def agree(game: Engine, rng: random.Random, steps: int) -> int:
    """Play at random, every now and then along the shortest plan, and compare in every state."""
    won = 0
    for command in commands(game, rng, steps):
        plan = shortest_plan(game) if rng.random() < 0.6 else None
        game.step(plan[0] if plan else command)
        assert game.won == evaluate(game.game.goal_formula, EngineFacts(game))
        won += game.won
    return won


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_compiled_goals_hold_when_their_formula_does(task_type):
    tasks = GeneratedTasks()
    won = sum(agree(Engine(tasks.game(f"generated/{task_type}/{seed}")), random.Random(seed), 25) for seed in range(4))
    assert won > 0


@pytest.mark.parity
@pytest.mark.slow
def test_compiled_goals_of_official_games(official):
    names = official.ids("valid_unseen")[::7]
    assert sum(agree(Engine(official.game(name)), random.Random(name), 30) for name in names) > len(names)
