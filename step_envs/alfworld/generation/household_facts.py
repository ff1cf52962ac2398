"""The facts of a generated household: what its game file lists under ``:init``, as predicates with arguments.

A household becomes a game in two ways: as the text of a game file, which the original engine reads too, and at once, as the
game that reading this text would give. Both take the facts from here, so that they cannot differ.
"""

from collections.abc import Iterable
from functools import lru_cache

from step_envs.alfworld.games.goal import Goal, goal_formula
from step_envs.alfworld.games.pddl import Expression, read_expression
from step_envs.alfworld.games.problem import SIGNATURES, Problem
from step_envs.alfworld.generation.household import Household
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

_PROPERTIES = {
    "cleanable": CLEANABLE,
    "heatable": HEATABLE,
    "coolable": COOLABLE,
    "sliceable": SLICEABLE,
    "toggleable": TOGGLEABLE,
    "isReceptacleObject": VESSELS,
}
"""Predicate -> types of things of which it is true."""

_ACCEPTED = {name: tuple(sorted(accepted)) for name, accepted in ACCEPTS.items()}

Fact = tuple[str, ...]
"""A predicate and its arguments, spelled as in official files."""


def household_facts(household: Household) -> list[Fact]:
    """List the facts at the start of a household's game, in the order of its game file."""
    furniture, items = household.layout.furniture, household.items
    facts: list[Fact] = [("atLocation", "agent1", household.layout.start)]
    for piece in furniture:
        facts.append(("receptacleType", piece.id, f"{piece.type}Type"))
        facts.append(("receptacleAtLocation", piece.id, piece.place))
        if piece.openable:
            facts.append(("openable", piece.id))
    for item in items:
        facts.append(("objectType", item.id, f"{item.type}Type"))
        facts.append(("objectAtLocation", item.id, item.place))
        facts += [(predicate, item.id) for predicate in _properties_of(item.type)]
        if item.home is not None:
            facts.append(("inReceptacle", item.id, item.home.id))
        if item.inside is not None:
            facts.append(("inReceptacleObject", item.id, item.inside))
        if item.cold:
            facts.append(("isCool", item.id))
    present = {item.type for item in items}
    for name in sorted({piece.type for piece in furniture}):
        facts += [("canContain", f"{name}Type", f"{thing}Type") for thing in _ACCEPTED[name] if thing in present]
    return facts


def household_problem(household: Household, facts: Iterable[Fact]) -> Problem:
    """Return the problem of a household, as ``games.problem.read_problem`` would read it from the game file.

    Args:
        household: The household.
        facts: Its ``household_facts``.
    """
    grouped: dict[str, list[list[str]]] = {name: [] for name in SIGNATURES}
    can_contain = grouped["cancontain"]
    for fact in facts:
        if fact[0] == "canContain":
            can_contain.append(_lower_arguments(fact))
        else:
            grouped[fact[0].lower()].append([word.lower() for word in fact[1:]])
    return Problem(grouped, _formula(household.goal))


@lru_cache(maxsize=4096)
def _lower_arguments(fact: Fact) -> list[str]:
    """Return the arguments of a fact in lower case; for facts about types, which thousands of households share and nobody changes."""
    return [word.lower() for word in fact[1:]]


@lru_cache(maxsize=1024)
def _properties_of(thing: str) -> tuple[str, ...]:
    """Return the predicates that are true of all things of a type."""
    fixed = () if thing in FIXED else ("pickupable",)
    return (*(predicate for predicate, types in _PROPERTIES.items() if thing in types), *fixed)


@lru_cache(maxsize=1024)
def _formula(goal: Goal) -> Expression:
    """Return the formula of a goal; households share it, nobody changes it."""
    return read_expression(goal_formula(goal))
