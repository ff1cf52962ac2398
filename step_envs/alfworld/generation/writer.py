"""Turns generated households into games: as the files of an official game, and as the game that the native engine plays.

Written as a game file, a household is loaded by the original engine too, read by the same parser as official games, and
checked like them. To play it, the text is not needed: ``make_game`` gives the game that reading the file would give, in a
tenth of the time, and the tests compare the two.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.game import Game, build_game
from step_envs.alfworld.games.goal import LOOK, goal_formula
from step_envs.alfworld.games.releases import HOUSEHOLD_RELEASE, household_domain, household_grammar
from step_envs.alfworld.generation.household import Household
from step_envs.alfworld.generation.start_facts import household_facts, household_problem
from step_envs.alfworld.generation.task_ids import make_task_id, split_of_seed
from step_envs.alfworld.planning.errands import shortest_plan

_NAMED_RECEPTACLES = frozenset({"SinkBasin", "Microwave", "Fridge"})
_NAMED_THINGS = frozenset({"Knife", "ButterKnife"})
"""Types that the rules name: the original planner needs them declared even where the household has none of them."""


def write_problem(household: Household) -> str:
    """Write the PDDL problem of a household."""
    return _problem_text(household, household_facts(household))


def _problem_text(household: Household, facts: Sequence[str]) -> str:
    furniture, items = household.layout.furniture, household.items
    receptacle_types = sorted({piece.type for piece in furniture} | _NAMED_RECEPTACLES)
    thing_types = sorted({item.type for item in items} | _NAMED_THINGS)
    places = sorted({household.layout.start, *(f.place for f in furniture), *(i.place for i in items)})
    declarations = ["agent1 - agent"]
    declarations += [f"{name}Type - rtype" for name in receptacle_types]
    declarations += [f"{name}Type - otype" for name in thing_types]
    declarations += [f"{piece.id} - receptacle" for piece in furniture]
    declarations += [f"{item.id} - object" for item in items]
    declarations += [f"{place} - location" for place in places]
    lines = [f"(define (problem {household.task_type}_{household.seed})", "  (:domain alfred)", "  (:objects"]
    lines += [f"    {declaration}" for declaration in declarations]
    lines += ["  )", "  (:init"]
    lines += [f"    ({fact})" for fact in facts]
    lines += ["  )", f"  {goal_formula(household.goal)}", ")"]
    return "\n".join(lines) + "\n"


def make_game(household: Household) -> Game:
    """Make the game of a household: what ``read_game`` would read from the text that ``write_game`` writes.

    Raises:
        ValueError: The household cannot be solved.
    """
    name = make_task_id(household.task_type, household.seed, household.size)
    facts = household_facts(household)
    problem = household_problem(household, facts)
    game = build_game(name, HOUSEHOLD_RELEASE, _task_sentence(household), problem, goal=household.goal)
    plan = shortest_plan(Engine(game))
    if not plan:
        raise ValueError(f"The household {name} cannot be solved, or is solved before anything is done.")
    # All households begin with the same 30 kB of rules, which are hashed once.
    digest = _file_frame().hashed_rules.copy()
    digest.update(_text_after_rules(household, facts, plan).encode())
    return replace(game, walkthrough=tuple(plan), digest=digest.hexdigest())


def write_game(household: Household) -> str:
    """Write a household as the text of a ``game.tw-pddl``, with a shortest plan as its walkthrough.

    Raises:
        ValueError: The household cannot be solved.
    """
    return _file_frame().rules + _text_after_rules(
        household, household_facts(household), make_game(household).walkthrough
    )


class _FileFrame(NamedTuple):
    """The text around what differs between the files of households.

    Attributes:
        rules: The beginning of all files, up to the task sentence.
        hashed_rules: A running SHA-256 that has read the rules; copy it before it reads on.
        after_task: The text between task sentence and problem.
    """

    rules: str
    hashed_rules: "hashlib._Hash"
    after_task: str


@lru_cache(maxsize=1)
def _file_frame() -> _FileFrame:
    before, _, after = json.dumps(household_grammar()).partition(_escaped("TASK"))
    rules = f'{{"pddl_domain": {json.dumps(household_domain())}, "grammar": {before}'
    return _FileFrame(rules, hashlib.sha256(rules.encode()), after)


def _text_after_rules(household: Household, facts: Sequence[str], walkthrough: Sequence[str]) -> str:
    return (
        f"{_escaped(_task_sentence(household))}{_file_frame().after_task}, "
        f'"pddl_problem": {json.dumps(_problem_text(household, facts))}, "solvable": true, '
        f'"walkthrough": {json.dumps(list(walkthrough))}}}'
    )


def _escaped(text: str) -> str:
    """Write a text as JSON within a text in JSON: the grammar is JSON and one of the file's values."""
    return json.dumps(json.dumps(text))[1:-1]


def _task_sentence(household: Household) -> str:
    return f"Your task is to: {household.sentence}"


def write_traj_data(household: Household) -> str:
    """Write the text of a household's ``traj_data.json``, which the original package's collector and expert read."""
    look = household.task_type == LOOK
    return json.dumps(
        {
            "task_type": household.task_type,
            "pddl_params": {
                "mrecep_target": "",
                "object_sliced": False,
                "object_target": household.target,
                "parent_target": "" if look else household.place,
                "toggle_target": household.place if look else "",
            },
            "turk_annotations": {"anns": [{"task_desc": household.sentence}]},
            "scene": {
                "scene_num": household.layout.number,
                "floor_plan": f"{household.layout.room} {household.layout.number}",
            },
        }
    )


def write_household(household: Household, folder: Path) -> Path:
    """Write a household into a data folder, where both the original package and this one find it.

    Args:
        household: The household.
        folder: The folder that ``ALFWORLD_DATA`` names.

    Returns:
        Path of the ``game.tw-pddl``.
    """
    task = f"{household.task_type}-{household.target}-None-{household.place}-{household.layout.number}"
    # A full and a small household of one seed can have the same task in the same room, so the folder names the size.
    origin = make_task_id(household.task_type, household.seed, household.size).partition("/")[0]
    trial = folder / "json_2.1.1" / split_of_seed(household.seed) / task / f"trial_{origin}_{household.seed}"
    trial.mkdir(parents=True, exist_ok=True)
    (trial / "traj_data.json").write_text(write_traj_data(household), encoding="utf-8")
    game = trial / "game.tw-pddl"
    game.write_text(write_game(household), encoding="utf-8")
    return game
