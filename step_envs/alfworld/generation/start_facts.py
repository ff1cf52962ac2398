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

_CAN_CONTAIN = {
    name: [(thing, f"canContain {name}Type {thing}Type") for thing in sorted(accepted)]
    for name, accepted in ACCEPTS.items()
}
"""Receptacle type -> type of each thing that may be put there, and the fact that says so."""


def household_facts(household: Household) -> list[str]:
    """List the facts at the start of a household's game, in the order and the spelling of its game file.

    Returns:
        Predicate and arguments of each, with a space between them: ``openable Fridge_bar_1``.
    """
    furniture, items = household.layout.furniture, household.items
    facts = [f"atLocation agent1 {household.layout.start}"]
    for piece in furniture:
        facts.append(f"receptacleType {piece.id} {piece.type}Type")
        facts.append(f"receptacleAtLocation {piece.id} {piece.place}")
        if piece.openable:
            facts.append(f"openable {piece.id}")
    for item in items:
        facts.append(f"objectType {item.id} {item.type}Type")
        facts.append(f"objectAtLocation {item.id} {item.place}")
        facts += [f"{predicate} {item.id}" for predicate in _properties_of(item.type)]
        if item.home is not None:
            facts.append(f"inReceptacle {item.id} {item.home.id}")
        if item.inside is not None:
            facts.append(f"inReceptacleObject {item.id} {item.inside}")
        if item.cold:
            facts.append(f"isCool {item.id}")
    present = {item.type for item in items}
    for name in sorted({piece.type for piece in furniture}):
        facts += [fact for thing, fact in _CAN_CONTAIN[name] if thing in present]
    return facts


def household_problem(household: Household, facts: Iterable[str]) -> Problem:
    """Return the problem of a household, as ``games.problem.read_problem`` would read it from the game file.

    Args:
        household: The household.
        facts: Its ``household_facts``.
    """
    grouped: dict[str, list[list[str]]] = {name: [] for name in SIGNATURES}
    can_contain = grouped["cancontain"]
    for fact in "\n".join(facts).lower().split("\n"):
        if fact.startswith("cancontain "):
            can_contain.append(_arguments(fact))
        else:
            predicate, *words = fact.split(" ")
            grouped[predicate].append(words)
    return Problem(grouped, _formula(household.goal))


@lru_cache(maxsize=2048)
def _arguments(fact: str) -> list[str]:
    """Return the arguments of a fact about types, which thousands of households share and nobody changes."""
    return fact.split(" ")[1:]


@lru_cache(maxsize=1024)
def _properties_of(thing: str) -> tuple[str, ...]:
    """Return the predicates that are true of all things of a type."""
    fixed = () if thing in FIXED else ("pickupable",)
    return (*(predicate for predicate, types in _PROPERTIES.items() if thing in types), *fixed)


@lru_cache(maxsize=1024)
def _formula(goal: Goal) -> Expression:
    """Return the formula of a goal; households share it, nobody changes it."""
    return read_expression(goal_formula(goal))
