"""Names things in the oracle's actions as brief texts show them.

The engine's own solutions use any of its names for a thing: ``egg butterfly egg in inventory`` for what a look around shows
as ``butterfly egg``. A very small model can only copy. The engine understands the names that it shows, as long as they are
unambiguous, so an action can use them. Whether one is understood is seen by trying it out; that is up to the caller.
"""

import re
from collections.abc import Callable
from typing import Final

from step_envs.sciworld.brief_texts import write_brief_look, write_brief_observation
from step_envs.sciworld.planning.replay_simulator import StateView
from step_envs.sciworld.planning.rooms import DOORS

_PLACE: Final = re.compile(rf"(?: in (?:inventory|{'|'.join(DOORS)}))+$")
# Not "connect": it names parts of things, such as an anode, that no look around shows.
_VERB: Final = re.compile(
    r"(?P<verb>pick up|put down|focus on|look at|look in|move|pour|use|mix|open|close|activate|"
    r"deactivate|examine|read|drop|eat|dunk|flush) (?P<rest>.+)",
    re.IGNORECASE,
)
_POURED: Final = re.compile(rf"(.+? in (?:inventory|{'|'.join(DOORS)})) in (.+)")
_BETWEEN: Final = {"move": (" to ",), "pour": (" into ",), "use": (" on ",), "dunk": (" into ",)}
_STATES: Final = re.compile(
    r"(?: (?:open|closed|on|ed|seed|seedling|adult|reproducing|juvenile|hatchling|baby|tall|short))+$"
)
_PARTS: Final = re.compile(r"\||:|,| containing | and ")


def names_things(action: str) -> bool:
    """Return True if an action names things, so that it may have other wordings."""
    return _VERB.fullmatch(action) is not None


def brief_wording(action: str, view: StateView) -> str:
    """Return an action with the names that are seen.

    Args:
        action: An action of the oracle.
        view: What can be seen in the state in which it is taken.
    """
    found = _VERB.fullmatch(action)
    if found is None:
        return action
    seen = f"{write_brief_look(view.look, doors=False)} | {write_brief_observation(view.inventory, doors=False)}"
    verb, rest = found["verb"], found["rest"]
    if verb.lower() == "pour" and " into " not in rest:
        # "pour cup in kitchen in cup in table": only a room tells where the second name begins.
        poured = _POURED.fullmatch(rest)
        return f"pour {_brief_name(poured[1], seen)} in {_brief_name(poured[2], seen)}" if poured else action
    between = next((word for word in _BETWEEN.get(verb.lower(), ()) if word in rest), None)
    if between is None:
        return f"{verb} {_brief_name(rest, seen)}"
    first, _, second = rest.rpartition(between)
    return f"{verb} {_brief_name(first, seen)}{between}{_brief_name(second, seen)}"


def _brief_name(name: str, seen: str) -> str:
    """Return the name under which a thing is seen; the same name where none is found.

    Args:
        name: The engine's name for it.
        seen: The room and the inventory, in brief.
    """
    bare = _PLACE.sub("", name)
    words = " " + " ".join(re.sub(r"[|:,]", " ", seen).split()) + " "
    place = words.lower().find(f" {bare.lower()} ")
    if place >= 0:
        return words[place + 1 : place + 1 + len(bare)]  # in the letters in which it is seen
    # "short height pea plant in the adult stage in flower pot 9": what it is in is another thing.
    thing = bare.partition(" in ")[0].lower()
    # "cup containing blue paint" is a cup, not a paint.
    head = thing.partition(" containing ")[0]
    names = sorted({_STATES.sub("", part.strip()) for part in _PARTS.split(seen)} - {""}, key=lambda n: (-len(n), n))
    fits: tuple[Callable[[str], bool], ...] = (
        lambda shown: thing.startswith(f"{shown} "),
        lambda shown: head.endswith(f" {shown}"),
        lambda shown: set(head.split()) == set(shown.split()),
    )
    return next((shown for fit in fits for shown in names if fit(shown.lower())), name)
