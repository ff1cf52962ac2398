"""The house and what a look around says of it: where the agent is, which doors are shut, what lies in what."""

import re
from collections import deque

DOORS: dict[str, tuple[str, ...]] = {
    "hallway": ("kitchen", "greenhouse", "workshop", "living room", "bedroom", "art studio"),
    "kitchen": ("hallway", "outside", "bathroom"),
    "outside": ("kitchen", "greenhouse", "foundry"),
    "greenhouse": ("hallway", "outside"),
    "workshop": ("hallway",),
    "living room": ("hallway",),
    "bedroom": ("hallway",),
    "art studio": ("hallway",),
    "bathroom": ("kitchen",),
    "foundry": ("outside",),
}
"""Room -> rooms behind its doors. The house is the same in all tasks."""

_ROOM = re.compile(r"This (?:room|outside location) is called the ([^.]+)\.")
_SHUT_DOOR = re.compile(r"A door to the ([^(\n]+?) \(that is closed\)")
_ARTICLE = re.compile(r"^(?:a )?substance called |^(?:an?|the|some) ", re.IGNORECASE)


def room_of(look: str) -> str:
    """Name the room that a look around shows; empty where it shows none."""
    found = _ROOM.match(look)
    return found[1] if found else ""


def route(look: str, room: str) -> list[str]:
    """Give the rooms to pass through on foot, the goal included.

    Args:
        look: A look around where the agent is.
        room: Where to go.

    Returns:
        The rooms in order; empty where the agent is there already or there is no such room.
    """
    start = room_of(look)
    ways: dict[str, list[str]] = {start: []}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for there in DOORS.get(here, ()):
            if there not in ways:
                ways[there] = [*ways[here], there]
                queue.append(there)
    return ways.get(room, [])


def door_is_shut(look: str, room: str) -> bool:
    """Say whether the door to a room is closed, by a look around on this side of it."""
    return room in _SHUT_DOOR.findall(look)


def holder_of(thing: str, look: str) -> str | None:
    """Name what holds a thing in the room, by a look around.

    Returns:
        The innermost container or surface; ``""`` where the thing stands in the room itself; None where it is not seen.
    """
    for line in look.split("You also see:", 1)[0].splitlines()[1:]:
        holder = _holder_in_line(thing.lower(), line.strip())
        if holder is not None:
            return holder
    return None


def _holder_in_line(thing: str, line: str) -> str | None:
    head, colon, inside = line.partition(" is: ")
    owner = _name(re.split(r"[.,(]", head, maxsplit=1)[0])
    if not colon:
        return _holder_in_list(thing, line, "")
    return "" if owner == thing else _holder_in_list(thing, inside.rstrip(". "), owner)


def _holder_in_list(thing: str, text: str, owner: str) -> str | None:
    """Search a list such as ``a bowl (containing a red apple, a banana), a drawer``."""
    owners, word = [owner], ""
    for char in text + ",":
        if char not in "(),":
            word += char
            continue
        name = _name(word)
        if name == thing or name.startswith((f"{thing} in the ", f"dead {thing}")):
            return owners[-1]
        if char == "(":
            owners.append(name)
        elif char == ")" and len(owners) > 1:
            owners.pop()
        word = ""
    return None


def _name(words: str) -> str:
    words = words.strip()
    if words.startswith("containing "):
        words = words.removeprefix("containing ")
    while (shorter := _ARTICLE.sub("", words)) != words:
        words = shorter
    return words.strip().lower()
