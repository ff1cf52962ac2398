"""Lists the commands that are possible in a state, without trying them.

The rules of the commands themselves are in ``engine``; the tests compare the two. Most of a list is the same whenever the
agent stands at the same location (where it can go, what it can examine), so that part is kept.
"""

from collections.abc import MutableMapping

from step_envs.alfworld.simulation.state import State

KNIVES = frozenset({"knifetype", "butterknifetype"})
HEATERS = frozenset({"microwavetype"})
COOLERS = frozenset({"fridgetype"})


def possible_commands(state: State, standing: MutableMapping[int, list[str]]) -> list[str]:
    """List the commands that would be accepted, sorted as strings.

    Args:
        state: The household now.
        standing: Location -> commands that are always possible there; what is missing is added.
    """
    game, things, held = state.game, state.game.things, state.held
    if state.location not in standing:
        standing[state.location] = _standing_commands(state)
    commands = list(standing[state.location])
    for r in state.here():
        name = game.receptacle_names[r]
        accessible = True
        if game.receptacles[r].openable:
            accessible = r in state.opened
            commands.append(f"close {name}" if accessible else f"open {name}")
        contents = state.contents[r]
        if held is None:
            if accessible:
                commands += [f"take {things[o].name} from {name}" for o in contents if things[o].pickupable]
        else:
            if accessible and state.accepts(r, held):
                thing = things[held].name
                commands.append(f"put {thing} in/on {name}" if game.release.says_put else f"move {thing} to {name}")
            commands += _treatments(state, r, held)
        commands += [f"use {things[o].name}" for o in contents if things[o].toggleable]
    if held is not None:
        commands.append(f"examine {things[held].name}")
        if things[held].type in KNIVES:
            commands += [
                f"slice {things[o].name} with {things[held].name}"
                for o, place in state.places
                if place == state.location and things[o].sliceable
            ]
    return sorted(set(commands))


def _treatments(state: State, r: int, o: int) -> list[str]:
    thing, receptacle = state.game.things[o], state.game.receptacles[r]
    commands = []
    if thing.cleanable and receptacle.type in state.game.release.cleaning_types:
        commands.append(f"clean {thing.name} with {receptacle.name}")
    if thing.heatable and receptacle.type in HEATERS:
        commands.append(f"heat {thing.name} with {receptacle.name}")
    if thing.coolable and receptacle.type in COOLERS:
        commands.append(f"cool {thing.name} with {receptacle.name}")
    return commands


def _standing_commands(state: State) -> list[str]:
    """List the commands that are always possible at the agent's location."""
    here, names = state.here(), state.game.receptacle_names
    commands = [f"go to {name}" for r, name in enumerate(names) if r not in here]
    commands += [f"examine {names[r]}" for r in here]
    commands += ["inventory", "look"]
    if state.game.release.has_help:
        commands.append("help")
    return sorted(commands)
