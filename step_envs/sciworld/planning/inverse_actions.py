"""The steps that undo an action, derived from the engine's answer to it.

The engine has no undo, and the words of an action do not say what it did ("move jug" may pour, spill or fail). Its answer
does, so the inverse is read from there: a thing that was moved is moved back, what was opened is closed, and so on.
"""

import re
from collections.abc import Sequence

from step_envs.sciworld.planning.replay_simulator import StateView
from step_envs.sciworld.planning.rooms import DOORS, holder_of
from step_envs.sciworld.planning.steps import PlanStep

_MOVED = re.compile(r"(?:\(disconnecting .+?\))?You move the (?P<thing>.+) to the (?P<place>.+?)\.$")
_POURED = re.compile(r"You pour the contents of the (?P<thing>.+) into the (?P<place>.+?)\.")
_SPILT = re.compile(r"You pour the (?P<thing>.+) into the (?P<place>.+?)\.")
_DUNKED = re.compile(r"You dunk the (?P<thing>.+) into the (?P<place>.+?)\.")
_SWITCHED = re.compile(r"The (?P<thing>.+) is now (?P<state>open|closed|activated|deactivated)\.")
_CONNECTED = re.compile(r"(?P<one>.+) is now connected to (?P<other>.+)")
_DISCONNECTED = re.compile(r"(?P<thing>.+) has been disconnected")
_OPPOSITE = {"open": "close", "closed": "open", "activated": "deactivate", "deactivated": "activate"}


def invert_action(action: str, before: StateView, after: StateView) -> list[list[PlanStep]]:
    """Return steps that undo an action.

    Args:
        action: The action.
        before: What could be seen before it.
        after: What could be seen after it.

    Returns:
        Groups of steps to try; the steps of a group belong together. Empty if the action had no effect or cannot be undone.
    """
    observation = after.reply.observation
    if moved := _MOVED.search(observation):
        thing, place = moved["thing"], moved["place"]
        return [*_fetch_from_next_room(thing, place, before), _steps(before, _move_back(thing, before))]
    if poured := _POURED.search(observation) or _DUNKED.search(observation):
        return [_steps(before, [f"pour {poured['place']} into {poured['thing']}"])]
    if spilt := _SPILT.search(observation):
        holder = holder_of(spilt["thing"], before.look)
        return [_steps(before, [f"pour {spilt['place']} into {holder}"])] if holder else []
    if switched := _SWITCHED.search(observation):
        verb = _OPPOSITE[switched["state"]]
        door = action.lower().split(" to ", 1)[-1]
        thing = f"door to {door}" if switched["thing"] == "door" else switched["thing"]
        return [_steps(before, [f"{verb} {thing}"])]
    if _CONNECTED.search(observation):
        return [_steps(before, [f"disconnect {thing}"]) for thing in connected(observation)]
    return []


def things_touched(observation: str) -> list[str]:
    """Return the names of the things that were moved, poured, switched or connected, by the engine's answer."""
    for pattern in (_MOVED, _POURED, _SPILT, _DUNKED):
        if found := pattern.search(observation):
            return [found["thing"].lower(), found["place"].lower()]
    if found := _SWITCHED.search(observation) or _DISCONNECTED.search(observation):
        return [found["thing"].lower()]
    return connected(observation)


def connected(observation: str) -> list[str]:
    """Return the names of the components that were just connected; empty if none were."""
    found = _CONNECTED.search(observation)
    if found is None:
        return []
    return [part.split(" on ")[-1].strip().lower() for part in (found["one"], found["other"])]


def disconnected(observation: str) -> list[str]:
    """Return the name of the component that was just disconnected; empty if none was."""
    found = _DISCONNECTED.search(observation)
    return [] if found is None else [found["thing"].strip().lower()]


def _fetch_from_next_room(thing: str, place: str, before: StateView) -> list[list[PlanStep]]:
    """Bring a thing back that was moved into the next room."""
    if place not in DOORS or place == before.room:
        return []
    return [[PlanStep(f"move {thing} to {before.room}", place, "", 1, 0, soft=True)]]


def _move_back(thing: str, before: StateView) -> list[str]:
    if _carried(thing, before.inventory):
        return [f"pick up {thing}"]
    holder = holder_of(thing, before.look)
    if holder:
        return [f"move {thing} to {holder}"]
    return [f"pick up {thing}", f"put down {thing}"]


def _carried(thing: str, inventory: str) -> bool:
    return re.search(rf"\b{re.escape(thing.lower())}\b", inventory.lower()) is not None


def _steps(before: StateView, actions: Sequence[str]) -> list[PlanStep]:
    # Soft, because a plan may succeed even if an action cannot be undone.
    return [PlanStep(action, before.room, "", 1, 0, soft=True) for action in actions]
