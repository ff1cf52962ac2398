"""Checks whether the goal of a game holds in a state.

This is asked after every command, and a general evaluator of goal formulas would be slow. So each of the six kinds of
goal is checked directly; the tests compare the answers with ``goal.evaluate``, which follows the formula's definition.
"""

from collections.abc import Collection, Sequence

from step_envs.alfworld.games.game import Game
from step_envs.alfworld.games.goal import LOOK, TREATMENTS
from step_envs.alfworld.simulation.state import State


def find_goal_things(game: Game) -> tuple[int, ...]:
    """List the things that the goal may be reached with: those of its type that allow the treatment it asks for."""
    goal = game.goal
    candidates = game.things_of_type.get(goal.target, ())
    if goal.task_type in TREATMENTS:
        able = TREATMENTS[goal.task_type][0]
        return tuple(o for o in candidates if getattr(game.things[o], able))
    return candidates


def goal_holds(state: State, goal_things: Sequence[int]) -> bool:
    """Return True if the goal holds.

    Args:
        state: The household now.
        goal_things: What ``find_goal_things`` found in its game.
    """
    game, goal = state.game, state.game.goal
    if goal.task_type == LOOK:
        if state.held is None or game.things[state.held].type != goal.target:
            return False
        lamps = {o for o in state.toggled if game.things[o].type == goal.place}
        return any(not lamps.isdisjoint(state.contents[r]) for r in state.here())
    targets: Collection[int] = goal_things
    if goal.state is not None:
        in_state: set[int] = getattr(state, goal.state)
        targets = in_state.intersection(targets)
    if not targets:
        return False
    places = game.receptacles_of_type.get(goal.place, ())
    return any(sum(o in state.contents[r] for o in targets) >= goal.count for r in places)
