"""The explorer: it wins, and it cannot know what it has not seen."""

import random
from statistics import fmean

import pytest
from alfworld_original import commands
from alfworld_small import engine, play, splits_of_games

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.expert import explore, next_step
from step_envs.alfworld.games.goal import LOOK, SIMPLE, TASK_TYPES, TWO
from step_envs.alfworld.tasks import GeneratedTasks
from step_envs.alfworld.thoughts import write_thought


def length(game: Engine, limit: int = 50) -> int | None:
    """Play the explorer to the end; None where it needs more than ``limit`` steps."""
    for count in range(1, limit + 1):
        step = next_step(game)
        assert step is not None
        game.step(step.action)
        assert game.accepted, step
        if game.won:
            return count
    return None


def test_it_opens_and_looks_before_it_takes():
    game = engine(
        ("Fridge@1+", "CounterTop@2", "Desk@3"),
        ("Apple:Fridge", "Mug:CounterTop"),
        task=(SIMPLE, "Apple", "CounterTop"),
    )
    assert explore(game) == [
        "go to fridge 1",
        "open fridge 1",
        "take apple 1 from fridge 1",
        "go to countertop 1",
        "move apple 1 to countertop 1",
    ]
    assert next_step(game).reason.kind == "search first"
    play(game, "go to fridge 1")
    assert next_step(game).reason.kind == "search open"


def test_it_remembers_where_it_saw_the_second_one():
    furniture, things = ("Desk@1", "Drawer@2+", "Shelf@3"), ("Pen:Desk", "Pen:Desk", "Book:Shelf")
    game = engine(furniture, things, task=(TWO, "Pen", "Drawer"))
    play(game, "go to desk 1")
    assert explore(game) == [
        "take pen 2 from desk 1",
        "go to drawer 1",
        "open drawer 1",
        "move pen 2 to drawer 1",
        "go to desk 1",
        "take pen 1 from desk 1",
        "go to drawer 1",
        "move pen 1 to drawer 1",
    ]


def test_it_does_not_say_that_it_found_none_when_it_looks_for_the_second():
    game = engine(("Desk@1", "Drawer@2+", "Shelf@3"), ("Pen:Desk", "Pen:Shelf"), task=(TWO, "Pen", "Drawer"))
    play(game, "go to desk 1", "take pen 2 from desk 1", "go to drawer 1", "open drawer 1", "move pen 2 to drawer 1")
    step = next_step(game)
    assert step is not None and step.action == "go to shelf 1"
    for seed in "abcdefgh":
        assert "second pen" in write_thought(step.reason, seed)


def test_it_looks_at_what_stands_at_the_same_place():
    game = engine(("Shelf1@1", "Shelf2@1", "Safe@2"), ("Vase:Shelf1",), task=(SIMPLE, "Vase", "Safe"))
    assert explore(game)[:3] == ["go to shelf 1", "examine shelf 2", "take vase 1 from shelf 2"]
    play(game, "go to shelf 1")
    assert next_step(game).reason.kind == "search here"


def test_it_puts_down_what_it_does_not_need():
    game = engine(
        ("Desk@1", "Shelf@2", "Sofa@3"), ("Book:Desk", "Vase:Shelf", "DeskLamp:Desk"), task=(LOOK, "Book", "DeskLamp")
    )
    play(game, "go to shelf 1", "take vase 1 from shelf 1")
    plan = explore(game)
    assert plan is not None and plan[0] == "move vase 1 to shelf 1"


def hidden_change(game: Engine, rng: random.Random) -> Engine:
    """Make a game that looks the same so far: what is in receptacles that were never seen is shuffled among them."""
    other = Engine(game.game)
    other.load(game.save())
    unseen = [r for r in range(len(game.contents)) if r not in game.seen]
    things = [o for r in unseen for o in game.contents[r] if o not in game.moved]
    for r in unseen:
        other.contents[r] = {o for o in game.contents[r] if o in game.moved}
    for o in things:
        other.contents[rng.choice(unseen)].add(o)
    return other


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_it_cannot_tell_apart_what_it_has_not_seen(task_type):
    tasks = GeneratedTasks()
    compared = 0
    for seed in range(6):
        rng = random.Random(seed)
        game = Engine(tasks.game(f"generated/{task_type}/{seed}"))
        for command in commands(game, rng, 30):
            step = next_step(game)
            if step is not None:
                for _ in range(3):
                    other = hidden_change(game, rng)
                    if not other.won:
                        assert next_step(other) == step
                        compared += 1
            game.step(step.action if step is not None and rng.random() < 0.5 else command)
    assert compared > 100


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_it_wins_generated_games(task_type):
    tasks = GeneratedTasks()
    names = [name for name in tasks.ids("valid_unseen") if tasks.type_of(name) == task_type]
    lengths = [length(Engine(tasks.game(name))) for name in names]
    assert sum(count is not None for count in lengths) >= 0.95 * len(names)


def test_its_thoughts_are_varied_and_always_the_same():
    tasks = GeneratedTasks()

    def thoughts(seed: int) -> list[str]:
        game, said = Engine(tasks.game(f"generated/{TWO}/{seed}")), []
        while (step := next_step(game)) is not None:
            said.append(write_thought(step.reason, game.game.task + step.action))
            game.step(step.action)
        return said

    first = [thoughts(seed) for seed in range(10)]
    assert first == [thoughts(seed) for seed in range(10)]
    everything = [sentence for said in first for sentence in said]
    assert len(set(everything)) > 0.7 * len(everything)
    assert all(sentence[0].isupper() and sentence.endswith((".", "?")) for sentence in everything)


@pytest.mark.parity
@pytest.mark.slow
def test_it_wins_at_least_99_percent_of_official_games_within_50_steps(official, record_property):
    for split in splits_of_games(official):
        taken: dict[str, list[int]] = {task_type: [] for task_type in TASK_TYPES}
        optimal: dict[str, list[int]] = {task_type: [] for task_type in TASK_TYPES}
        lost = 0
        for name in official.ids(split):
            game = Engine(official.game(name))
            count = length(game)
            lost += count is None
            taken[official.type_of(name)].append(count or 50)
            optimal[official.type_of(name)].append(len(game.game.walkthrough))
        assert lost <= 0.01 * len(official.ids(split))
        record_property(f"{split}: not won within 50 steps", lost)
        for task_type in TASK_TYPES:
            lengths = f"optimum {fmean(optimal[task_type]):.2f}, explorer {fmean(taken[task_type]):.2f}"
            record_property(f"{split}: {task_type}", lengths)
