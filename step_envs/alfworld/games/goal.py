"""Goals: what must hold to win.

Official games have six kinds of goal. ``compile_goal`` recognises the kind of a PDDL formula once, so that the engine can
check it with a few set operations after every command. ``evaluate`` follows the formula's definition; it is slow, and the
tests compare the engine with it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from step_envs.alfworld.games.pddl import Expression, read_expression, write_expression


class UnknownGoalError(ValueError):
    """A goal formula is none of the six kinds; the message is a clause that says so."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a task.

    Attributes:
        task_type: The official name of the task type.
        target: Type of the thing that the task asks for, e.g. ``mugtype``.
        place: Type of the receptacle that the thing must be brought to; in ``look_at_obj_in_light``, type of the lamp.
        state: State that the thing must have: ``clean``, ``hot``, ``cool`` or None.
        count: How many things are asked for; two must be brought to the same receptacle.
    """

    task_type: str
    target: str
    place: str
    state: str | None = None
    count: int = 1

    @property
    def needs_light(self) -> bool:
        """Whether the thing must be held under a lamp instead of being put somewhere."""
        return self.task_type == LOOK


SIMPLE = "pick_and_place_simple"
LOOK = "look_at_obj_in_light"
CLEAN = "pick_clean_then_place_in_recep"
HEAT = "pick_heat_then_place_in_recep"
COOL = "pick_cool_then_place_in_recep"
TWO = "pick_two_obj_and_place"

TASK_TYPES = (SIMPLE, LOOK, CLEAN, HEAT, COOL, TWO)
"""The official task types, in the order of their numbers 1 to 6."""

TREATMENTS = {CLEAN: ("cleanable", "clean"), HEAT: ("heatable", "hot"), COOL: ("coolable", "cool")}
"""Task type -> (property that the thing must have, state that it must be brought to)."""

_TREATED = """
    (:goal (and (exists (?r - receptacle) (exists (?o - object)
        (and ({able} ?o) (objecttype ?o {target}) (receptacletype ?r {place}) ({state} ?o) (inreceptacle ?o ?r))))))"""

_FORMULAS = {
    SIMPLE: """
    (:goal (and (exists (?r - receptacle) (exists (?o - object)
        (and (inreceptacle ?o ?r) (objecttype ?o {target}) (receptacletype ?r {place}))))))""",
    LOOK: """
    (:goal (and
        (exists (?ot - object ?r - receptacle ?a - agent ?l - location)
            (and (objecttype ?ot {place}) (toggleable ?ot) (istoggled ?ot) (receptacleatlocation ?r ?l)
                 (atlocation ?a ?l) (inreceptacle ?ot ?r)))
        (exists (?o - object ?a - agent) (and (objecttype ?o {target}) (holds ?a ?o)))))""",
    CLEAN: _TREATED.replace("{able}", "cleanable").replace("{state}", "isclean"),
    HEAT: _TREATED.replace("{able}", "heatable").replace("{state}", "ishot"),
    COOL: _TREATED.replace("{able}", "coolable").replace("{state}", "iscool"),
    TWO: """
    (:goal (and (exists (?r - receptacle) (exists (?o1 - object)
        (and (objecttype ?o1 {target}) (receptacletype ?r {place}) (inreceptacle ?o1 ?r)
             (exists (?o2 - object)
                 (and (not (= ?o1 ?o2)) (objecttype ?o2 {target}) (receptacletype ?r {place})
                      (inreceptacle ?o2 ?r))))))))""",
}


# Canonical form of each formula, with its two types left open -> task type.
_WRITTEN = {write_expression(read_expression(formula)): task_type for task_type, formula in _FORMULAS.items()}


def make_goal(task_type: str, target: str, place: str) -> Goal:
    """Make the goal of a task type.

    Args:
        task_type: A name from ``TASK_TYPES``.
        target: Type of the thing asked for, e.g. ``mugtype``.
        place: Type of the receptacle, or of the lamp.
    """
    state = TREATMENTS[task_type][1] if task_type in TREATMENTS else None
    return Goal(task_type, target, place, state, 2 if task_type == TWO else 1)


def goal_formula(goal: Goal) -> str:
    """Write a goal as the PDDL formula ``(:goal ...)`` that official files have for it."""
    return _FORMULAS[goal.task_type].format(target=goal.target, place=goal.place).strip()


def compile_goal(formula: Expression) -> Goal:
    """Recognise a goal formula.

    Args:
        formula: The expression ``(:goal ...)``, lower case.

    Returns:
        The goal, which names the kind and the types.

    Raises:
        UnknownGoalError: The formula is none of the six kinds.
    """
    atoms = list(_atoms(formula))
    thing_types = [atom[2] for atom in atoms if atom[0] == "objecttype" and len(atom) == 3]
    receptacle_types = [atom[2] for atom in atoms if atom[0] == "receptacletype" and len(atom) == 3]
    if thing_types:
        target = str(thing_types[-1])
        place = str(receptacle_types[0] if receptacle_types else thing_types[0])
        written = write_expression(formula).replace(f" {target})", " {target})").replace(f" {place})", " {place})")
        task_type = _WRITTEN.get(written)
        if task_type is not None:
            return make_goal(task_type, target, place)
    raise UnknownGoalError("the goal is none of the six that official games ask for")


def _atoms(formula: Expression) -> Iterator[list[Expression]]:
    if isinstance(formula, list):
        if formula and all(isinstance(part, str) for part in formula):
            yield formula
        for part in formula:
            yield from _atoms(part)


class Facts(Protocol):
    """The facts of a state, for the general evaluator."""

    def holds(self, predicate: str, arguments: Sequence[str]) -> bool:
        """Return True if a fact holds."""

    def names(self, kind: str) -> Sequence[str]:
        """List the ids of all entities of a kind."""


def evaluate(formula: Expression, facts: Facts) -> bool:
    """Evaluate a goal formula by its definition. This is slow, and the reference for the compiled goals.

    Args:
        formula: ``(:goal ...)`` with ``and``, ``or``, ``not``, ``exists``, ``=`` and plain facts.
        facts: The state in which to evaluate it.

    Raises:
        ValueError: The formula has another form.
    """
    if not isinstance(formula, list) or len(formula) != 2 or formula[0] != ":goal":
        raise ValueError(f"This is no goal: {formula!r}.")
    return _evaluate(formula[1], {}, facts)


def _evaluate(formula: Expression, bound: Mapping[str, str], facts: Facts) -> bool:
    if not isinstance(formula, list) or not formula or not isinstance(formula[0], str):
        raise ValueError(f"This is no formula: {formula!r}.")
    connective, parts = formula[0], formula[1:]
    if connective in _CONNECTIVES:
        return _CONNECTIVES[connective](_evaluate(part, bound, facts) for part in parts)
    if connective == "not":
        return not _evaluate(parts[0], bound, facts)
    if connective == "exists":
        return _exists(parts[0], parts[1], bound, facts)
    arguments = [bound.get(str(part), str(part)) for part in parts]
    if connective == "=":
        return arguments[0] == arguments[1]
    return facts.holds(connective, arguments)


_CONNECTIVES: dict[str, Callable[[Iterator[bool]], bool]] = {"and": all, "or": any}


def _exists(variables: Expression, formula: Expression, bound: Mapping[str, str], facts: Facts) -> bool:
    if not variables:
        return _evaluate(formula, bound, facts)
    if not isinstance(variables, list) or len(variables) < 3 or variables[1] != "-":
        raise ValueError(f"These are no typed variables: {variables!r}.")
    variable, kind = str(variables[0]), str(variables[2])
    return any(_exists(variables[3:], formula, {**bound, variable: name}, facts) for name in facts.names(kind))
