"""Writes generated households as the files of an official game.

The native engine could play the data as it is. Written as a game file, the same household is also loaded by the original
engine, read by the same parser as official games, and checked like them.
"""

import json
from pathlib import Path

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.game import read_game
from step_envs.alfworld.games.goal import LOOK, goal_formula
from step_envs.alfworld.games.releases import household_domain, household_grammar
from step_envs.alfworld.generation.household import Household
from step_envs.alfworld.generation.task_ids import make_task_id, split_of_seed
from step_envs.alfworld.generation.vocabulary import (
    ACCEPTS,
    CLEANABLE,
    COOLABLE,
    FIXED,
    HEATABLE,
    SLICEABLE,
    TOGGLEABLE,
    VESSELS,
)
from step_envs.alfworld.planning.errands import shortest_plan

# Predicate -> types of things of which it is true.
_PROPERTIES = {
    "cleanable": CLEANABLE,
    "heatable": HEATABLE,
    "coolable": COOLABLE,
    "sliceable": SLICEABLE,
    "toggleable": TOGGLEABLE,
    "isReceptacleObject": VESSELS,
}
# Types that the rules name: the original planner needs them declared even where the household has none of them.
_NAMED_RECEPTACLES = frozenset({"SinkBasin", "Microwave", "Fridge"})
_NAMED_THINGS = frozenset({"Knife", "ButterKnife"})


def write_problem(household: Household) -> str:
    """Write the PDDL problem of a household."""
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
    facts = [f"atLocation agent1 {household.layout.start}"]
    for piece in furniture:
        facts += [f"receptacleType {piece.id} {piece.type}Type", f"receptacleAtLocation {piece.id} {piece.place}"]
        if piece.openable:
            facts.append(f"openable {piece.id}")
    for item in items:
        facts += [f"objectType {item.id} {item.type}Type", f"objectAtLocation {item.id} {item.place}"]
        facts += [f"{predicate} {item.id}" for predicate, types in _PROPERTIES.items() if item.type in types]
        if item.type not in FIXED:
            facts.append(f"pickupable {item.id}")
        if item.home is not None:
            facts.append(f"inReceptacle {item.id} {item.home.id}")
        if item.inside is not None:
            facts.append(f"inReceptacleObject {item.id} {item.inside}")
        if item.cold:
            facts.append(f"isCool {item.id}")
    present = {item.type for item in items}
    for name in sorted({piece.type for piece in furniture}):
        facts += [f"canContain {name}Type {accepted}Type" for accepted in sorted(ACCEPTS[name] & present)]
    lines = [f"(define (problem {household.task_type}_{household.seed})", "  (:domain alfred)", "  (:objects"]
    lines += [f"    {declaration}" for declaration in declarations]
    lines += ["  )", "  (:init"]
    lines += [f"    ({fact})" for fact in facts]
    lines += ["  )", f"  {goal_formula(household.goal)}", ")"]
    return "\n".join(lines) + "\n"


def write_game(household: Household) -> str:
    """Write a household as the text of a ``game.tw-pddl``, with a shortest plan as its walkthrough.

    Raises:
        ValueError: The household cannot be solved.
    """
    fields = {
        "pddl_domain": household_domain(),
        "grammar": household_grammar().replace('"TASK"', json.dumps(f"Your task is to: {household.sentence}")),
        "pddl_problem": write_problem(household),
        "solvable": True,
    }
    name = make_task_id(household.task_type, household.seed, household.size)
    engine = Engine(read_game(json.dumps(fields), name))
    plan = shortest_plan(engine)
    if not plan:
        raise ValueError(f"The household {name} cannot be solved, or is solved before anything is done.")
    return json.dumps({**fields, "walkthrough": plan})


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
