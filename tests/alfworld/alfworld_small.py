"""Small households made by hand, for tests that need to know every corner of them."""

import json
from collections.abc import Sequence

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.agentgym import AGENTGYM_SPLITS
from step_envs.alfworld.games.game import read_game
from step_envs.alfworld.games.goal import SIMPLE
from step_envs.alfworld.games.releases import household_domain, household_grammar
from step_envs.alfworld.generation.household import Furniture, Household, Item, Layout
from step_envs.alfworld.generation.writer import write_problem
from step_envs.alfworld.tasks import OfficialTasks


def splits_of_games(tasks: OfficialTasks) -> list[str]:
    """List the splits that hold games of their own; AgentGym's list games of other splits a second time."""
    return [split for split in tasks.splits if split not in AGENTGYM_SPLITS]


def game_file(
    furniture: Sequence[str] = ("CounterTop@1", "Fridge@2+", "Microwave@3+", "Sink_SinkBasin@4", "Desk@5"),
    things: Sequence[str] = ("Apple:Fridge", "Knife:CounterTop", "DeskLamp:Desk", "Mug:CounterTop"),
    *,
    task: tuple[str, str, str] = (SIMPLE, "Apple", "CounterTop"),
    facts: Sequence[str] = (),
    without: Sequence[str] = (),
) -> dict[str, object]:
    """Make the fields of a game file.

    Args:
        furniture: Types, each with its place (``@1``) and ``+`` where it can be opened; a number between type and place
            keeps two of a type apart. Their ids are ``<type><number>_bar_0``.
        things: Types, each with the id of its receptacle without ``_bar_0``, or nothing where it stands by itself.
        task: Task type, target and place.
        facts: Further facts of the problem.
        without: Facts to leave out.
    """
    pieces = {}
    for entry in furniture:
        name, _, rest = entry.partition("@")
        kind = name.rstrip("0123456789").rpartition("_")[2]
        identity = f"{name.replace('_', '_bar_')}" if "_" in name else f"{kind}_bar_{name.removeprefix(kind) or 0}"
        pieces[name] = Furniture(identity, kind, f"loc_bar_{rest.rstrip('+')}", rest.endswith("+"), (0.0, 0.0, 0.0))
    items = []
    for number, entry in enumerate(things):
        kind, _, home = entry.partition(":")
        piece = pieces[home] if home else None
        items.append(Item(f"{kind}_bar_{number}", kind, piece, piece.place if piece else "loc_bar_1", False))
    layout = Layout("kitchen", 0, tuple(pieces.values()), "loc_bar_0")
    household = Household(task[0], 0, layout, tuple(items), task[1], task[2], "do it.")
    problem = write_problem(household)
    for fact in without:
        assert f"({fact})" in problem, fact
        problem = problem.replace(f"({fact})", "")
    added = "".join(f"({fact})\n" for fact in facts)
    problem = problem.replace("(:init\n", f"(:init\n{added}")
    return {
        "pddl_domain": household_domain(),
        "grammar": household_grammar().replace('"TASK"', '"Your task is to: do it."'),
        "pddl_problem": problem,
        "solvable": True,
    }


def engine(*args: Sequence[str], put_alias: bool = False, **kwargs: object) -> Engine:
    """Make an engine on a household made by ``game_file``."""
    return Engine(read_game(json.dumps(game_file(*args, **kwargs)), "small"), put_alias=put_alias)  # type: ignore[arg-type]


def play(game: Engine, *commands: str) -> str:
    """Play commands and give the last answer; all of them must be accepted."""
    answer = ""
    for command in commands:
        answer = game.step(command)
        assert game.accepted, command
    return answer
