"""The PDDL problem of a game: the facts at the start and the goal, read from text and checked.

A problem is a thousand plain facts and one formula. To read everything as nested expressions, the obvious way, is slow. So
the facts are split by a regular expression, and only the goal is read as an expression.
"""

import re
from typing import NamedTuple

from step_envs.alfworld.games.pddl import Expression, read_expression, strip_comments


class ProblemError(ValueError):
    """A PDDL problem is malformed; the message is a clause that says how."""


SIGNATURES: dict[str, tuple[str, ...]] = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "inreceptacle": ("object", "receptacle"),
    "inreceptacleobject": ("object", "object"),
    "receptacletype": ("receptacle", "rtype"),
    "objecttype": ("object", "otype"),
    "cancontain": ("rtype", "otype"),
    **dict.fromkeys(("openable", "opened"), ("receptacle",)),
    **dict.fromkeys(
        ("pickupable", "cleanable", "heatable", "coolable", "sliceable", "toggleable", "isreceptacleobject"),
        ("object",),
    ),
    **dict.fromkeys(("isclean", "ishot", "iscool", "issliced", "istoggled", "ison"), ("object",)),
    **dict.fromkeys(("moveable", "isreceptacleobjectfull"), ("object",)),
}
"""Predicate -> kinds of its arguments. The official domains declare the last row, but no rule uses it."""

_FACT = re.compile(r"\(([^()]*)\)")
_OBJECTS = re.compile(r"\(:objects\b([^()]*)\)")
_INIT = re.compile(r"\(:init\b")
_GOAL = re.compile(r"\(:goal\b")


class Problem(NamedTuple):
    """A PDDL problem.

    Attributes:
        facts: Predicate -> the arguments of each of its facts, lower case.
        goal: The expression ``(:goal ...)``.
    """

    facts: dict[str, list[list[str]]]
    goal: Expression


def read_problem(text: str) -> Problem:
    """Split a PDDL problem into facts and goal, and check every fact against its predicate and the declared names.

    Raises:
        ProblemError: The problem is malformed.
    """
    text = strip_comments(text)
    objects, init, goal = _OBJECTS.search(text), _INIT.search(text), _GOAL.search(text)
    for section, found in (("(:objects ...)", objects), ("(:init ...)", init), ("(:goal ...)", goal)):
        if found is None:
            raise ProblemError(f"the PDDL problem has no section {section}: it is cut short or damaged")
    assert objects and init and goal
    if not objects.end() <= init.start() < goal.start():
        raise ProblemError("the sections of the PDDL problem are not in the order objects, init, goal")
    declared = _read_declarations(objects[1])
    pieces = _FACT.split(text[init.end() : goal.start()])
    rest = "".join(pieces[::2]).strip()
    if rest != ")":
        raise ProblemError(
            f"the facts under (:init ...) are not a list of plain facts: found {rest[:40]!r} between them"
        )
    facts: dict[str, list[list[str]]] = {name: [] for name in SIGNATURES}
    # Official files repeat every canContain fact for each receptacle; check each distinct fact once.
    for fact in dict.fromkeys(pieces[1::2]):
        words = fact.split()
        written = " ".join(words)
        name = words.pop(0) if words else ""
        signature = SIGNATURES.get(name)
        if signature is None:
            raise ProblemError(f"the fact ({written}) has a predicate that the engine does not know")
        if len(words) != len(signature):
            raise ProblemError(f"the fact ({written}) should have {len(signature)} arguments")
        for word, kind in zip(words, signature, strict=True):
            if word not in declared[kind]:
                raise ProblemError(f"the fact ({written}) names {word!r}, which is not declared as {kind}")
        facts[name].append(words)
    try:
        formula = read_expression(text[goal.start() :])
    except ValueError as error:
        raise ProblemError(f"the goal cannot be read: {error}") from error
    return Problem(facts, formula)


def _read_declarations(text: str) -> dict[str, set[str]]:
    declared: dict[str, set[str]] = {
        kind: set() for kind in ("agent", "location", "receptacle", "object", "rtype", "otype")
    }
    names: list[str] = []
    words = iter(text.split())
    for word in words:
        if word != "-":
            names.append(word)
            continue
        kind = next(words, "")
        if kind not in declared:
            raise ProblemError(f"the PDDL problem declares {', '.join(names[:3])} to be of the unknown kind {kind!r}")
        declared[kind].update(names)
        names = []
    if names:
        raise ProblemError(f"the PDDL problem declares {names[0]!r} without a kind")
    return declared
