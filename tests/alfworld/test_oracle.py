"""The shortest plans: against breadth-first search on small households, and against the official walkthroughs."""

import random
import sys
from collections import deque

import pytest
from alfworld_original import commands
from alfworld_small import engine, play, splits_of_games

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.goal import CLEAN, COOL, HEAT, LOOK, SIMPLE, TASK_TYPES, TWO
from step_envs.alfworld.planning.errands import explain_action, shortest_plan
from step_envs.alfworld.tasks import GeneratedTasks
from step_envs.alfworld.thoughts import explain_off_plan, write_thought

HOUSES = {
    SIMPLE: (
        ("Cabinet1@1+", "Cabinet2@1+", "Desk@2", "Shelf@3"),
        ("Book:Cabinet1", "Book:Desk", "Vase:Shelf"),
        (SIMPLE, "Book", "Shelf"),
    ),
    LOOK: (
        ("Drawer1@1+", "Desk@2", "Shelf@1"),
        ("Book:Drawer1", "DeskLamp:Desk", "Vase:Shelf"),
        (LOOK, "Book", "DeskLamp"),
    ),
    CLEAN: (
        ("Sink_SinkBasin@1", "Cabinet1@2+", "Cabinet2@1", "CounterTop@3"),
        ("Mug:Cabinet1", "Mug:Cabinet2", "Egg:CounterTop"),
        (CLEAN, "Mug", "Cabinet"),
    ),
    HEAT: (
        ("Microwave@1+", "Fridge@2+", "CounterTop@3"),
        ("Egg:Fridge", "Mug:CounterTop", "Egg:Microwave"),
        (HEAT, "Egg", "Microwave"),
    ),
    COOL: (
        ("Fridge@2+", "CounterTop@3", "Microwave@2+"),
        ("Egg:Microwave", "Mug:CounterTop"),
        (COOL, "Egg", "CounterTop"),
    ),
    TWO: (
        ("Desk@1", "Drawer1@1+", "Drawer2@2+"),
        ("Pen:Desk", "Pen:Drawer1", "Pen:Drawer2", "Vase:Desk"),
        (TWO, "Pen", "Drawer"),
    ),
}


def key(game: Engine) -> tuple[object, ...]:
    contents = tuple(map(frozenset, game.contents))
    states = tuple(map(frozenset, (game.opened, game.clean, game.hot, game.cool, game.toggled)))
    return (game.location, game.held, contents, *states)


def searched_length(game: Engine) -> int:
    """Find the length of a shortest plan by trying everything."""
    imagined = Engine(game.game)
    imagined.load(game.save())
    if imagined.won:
        return 0
    queue, known = deque([(imagined.save(), 0)]), {key(imagined)}
    while queue:
        saved, length = queue.popleft()
        imagined.load(saved)
        for command in imagined.admissible():
            if command.startswith(("look", "inventory", "help", "examine", "slice")):
                continue
            imagined.load(saved)
            imagined.step(command)
            if imagined.won:
                return length + 1
            if key(imagined) not in known:
                known.add(key(imagined))
                queue.append((imagined.save(), length + 1))
    raise AssertionError("no plan")


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_no_plan_is_shorter(task_type):
    furniture, things, task = HOUSES[task_type]
    rng = random.Random(task_type)
    for _ in range(6):
        game = engine(furniture, things, task=task)
        for command in commands(game, rng, rng.randrange(12)):
            game.step(command)
        plan = shortest_plan(game)
        assert plan is not None and len(plan) == searched_length(game), (game.save(), plan)
        play(game, *plan)
        assert game.won


def test_things_in_two_receptacles():
    # Taken from one, cleaned, and still in the other: there is nothing to put.
    furniture, things, task = HOUSES[CLEAN]
    game = engine(furniture, things, task=task, facts=["inReceptacle Mug_bar_0 Cabinet_bar_2"])
    plan = shortest_plan(game)
    assert plan is not None and len(plan) == searched_length(game)
    furniture, things, task = HOUSES[TWO]
    game = engine(furniture, things, task=task, facts=["inReceptacle Pen_bar_0 Drawer_bar_1"])
    play(game, "go to desk 1", "take pen 3 from desk 1")
    plan = shortest_plan(game)
    assert plan is not None and len(plan) == searched_length(game)


def test_there_may_be_no_way_left():
    game = engine(things=("Egg:Fridge", "Apple:Fridge"), without=["objectType Egg_bar_0 EggType"])
    play(game, "go to fridge 1", "open fridge 1", "take egg 1 from fridge 1")
    assert shortest_plan(game) is None  # nothing accepts what it holds, and it has no other hand


def test_plans_do_not_change_the_game():
    game = engine()
    before = game.save(), game.admissible()
    assert shortest_plan(game) == [
        "go to fridge 1",
        "open fridge 1",
        "take apple 1 from fridge 1",
        "go to countertop 1",
        "move apple 1 to countertop 1",
    ]
    assert (game.save(), game.admissible()) == before


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_every_step_of_a_plan_has_a_reason(task_type):
    tasks = GeneratedTasks()
    sentences = set()
    for seed in range(12):
        game = Engine(tasks.game(f"generated/{task_type}/{seed}"))
        while not game.won:
            plan = shortest_plan(game)
            assert plan
            why = explain_action(game, plan[0])
            assert why is not None
            sentence = write_thought(why, f"{seed}{plan[0]}")
            assert sentence[0].isupper() and sentence[-1] == "." and "{" not in sentence and "  " not in sentence
            sentences.add(sentence)
            game.step(plan[0])
    assert len(sentences) > 30


def test_steps_off_the_plan_have_a_thought_too():
    game = engine()
    for action in (*game.admissible(), "", "dance", "put mug 1 in/on desk 1", "slice apple 1 with knife 1"):
        assert write_thought(explain_off_plan(action), action).endswith((".", "!"))
        if action not in (shortest_plan(game) or [])[:1]:
            assert explain_action(game, action) is None


def test_a_plan_is_derived_and_not_searched_for():
    """A search over the states of a household would call functions by the hundred thousand."""
    tasks = GeneratedTasks()
    games = [Engine(tasks.game(name)) for name in tasks.ids("valid_unseen")[:60]]
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for game in games:
            shortest_plan(game)
    finally:
        sys.setprofile(None)
    assert calls / len(games) < 600  # 59 when this was written


@pytest.mark.parity
@pytest.mark.slow
def test_the_oracle_wins_all_official_games_as_fast_as_their_walkthroughs(official):
    for split in splits_of_games(official):
        for name in official.ids(split):
            game = Engine(official.game(name))
            plan = shortest_plan(game)
            assert plan is not None and len(plan) == len(game.game.walkthrough), name
            play(game, *plan)
            assert game.won, name


@pytest.mark.parity
def test_the_oracle_finds_its_way_back_from_anywhere(official):
    for name in official.ids("valid_unseen")[::5]:
        game, rng = Engine(official.game(name)), random.Random(name)
        for command in commands(game, rng, 25):
            game.step(command)
        plan = shortest_plan(game)
        assert plan is not None, name
        play(game, *plan)
        assert game.won, name
