"""How to take back what an action did, read from what the engine answered to it."""

import re
from collections.abc import Sequence

from step_envs.sciworld.planning.replay_simulator import Moment
from step_envs.sciworld.planning.rooms import DOORS, holder_of
from step_envs.sciworld.planning.steps import Step

_MOVED = re.compile(r"(?:\(disconnecting .+?\))?You move the (?P<thing>.+) to the (?P<place>.+?)\.$")
_POURED = re.compile(r"You pour the contents of the (?P<thing>.+) into the (?P<place>.+?)\.")
_SPILT = re.compile(r"You pour the (?P<thing>.+) into the (?P<place>.+?)\.")
_DUNKED = re.compile(r"You dunk the (?P<thing>.+) into the (?P<place>.+?)\.")
_SWITCHED = re.compile(r"The (?P<thing>.+) is now (?P<state>open|closed|activated|deactivated)\.")
_CONNECTED = re.compile(r"(?P<one>.+) is now connected to (?P<other>.+)")
_DISCONNECTED = re.compile(r"(?P<thing>.+) has been disconnected")
_OPPOSITE = {"open": "close", "closed": "open", "activated": "deactivate", "deactivated": "activate"}


def undo(action: str, before: Moment, after: Moment) -> list[list[Step]]:
    """Give the steps that take an action back.

    Args:
        action: What was done.
        before: What there was to see before it.
        after: What there was to see after it.

    Returns:
        Steps to try, those together that make no sense alone; none where the action had no effect or there is no way to
        take it back.
    """
    observation = after.reply.observation
    if moved := _MOVED.search(observation):
        return [*_fetch(moved["thing"], moved["place"], before), _steps(before, _move_back(moved["thing"], before))]
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
    """Name the things that an answer of the engine says something was done to."""
    for pattern in (_MOVED, _POURED, _SPILT, _DUNKED):
        if found := pattern.search(observation):
            return [found["thing"].lower(), found["place"].lower()]
    if found := _SWITCHED.search(observation) or _DISCONNECTED.search(observation):
        return [found["thing"].lower()]
    return connected(observation)


def connected(observation: str) -> list[str]:
    """Name the components that were just connected; none where nothing was."""
    found = _CONNECTED.search(observation)
    if found is None:
        return []
    return [part.split(" on ")[-1].strip().lower() for part in (found["one"], found["other"])]


def disconnected(observation: str) -> list[str]:
    """Name the component that was just disconnected; none where none was."""
    found = _DISCONNECTED.search(observation)
    return [] if found is None else [found["thing"].strip().lower()]


def _fetch(thing: str, place: str, before: Moment) -> list[list[Step]]:
    """Bring a thing back that went through a door."""
    if place not in DOORS or place == before.room:
        return []
    return [[Step(f"move {thing} to {before.room}", place, "", 1, 0, soft=True)]]


def _move_back(thing: str, before: Moment) -> list[str]:
    if _carried(thing, before.inventory):
        return [f"pick up {thing}"]
    holder = holder_of(thing, before.look)
    if holder:
        return [f"move {thing} to {holder}"]
    return [f"pick up {thing}", f"put down {thing}"]


def _carried(thing: str, inventory: str) -> bool:
    return re.search(rf"\b{re.escape(thing.lower())}\b", inventory.lower()) is not None


def _steps(before: Moment, actions: Sequence[str]) -> list[Step]:
    # Soft: what cannot be taken back may not matter.
    return [Step(action, before.room, "", 1, 0, soft=True) for action in actions]
