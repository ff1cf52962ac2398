"""The map of the house, and what a look around says about it: the agent's room, closed doors, and which thing holds which.

The engine can print its whole world as JSON, but only for its present state and through a file. A look around is remembered
for every state anyway, and says enough.
"""

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
"""Room -> the rooms behind its doors. The house is the same in all tasks."""

_ROOM = re.compile(r"This (?:room|outside location) is called the ([^.]+)\.")
_SHUT_DOOR = re.compile(r"A door to the ([^(\n]+?) \(that is closed\)")
_ARTICLE = re.compile(r"^(?:a )?substance called |^(?:an?|the|some) ", re.IGNORECASE)


def room_of(look: str) -> str:
    """Return the name of the room that a look around shows; empty if the text is no look around."""
    found = _ROOM.match(look)
    return found[1] if found else ""


def route(look: str, room: str) -> list[str]:
    """Return the rooms to walk through, the goal included.

    Args:
        look: A look around where the agent is.
        room: Where to go.

    Returns:
        The rooms in order; empty if the agent is there already or there is no such room.
    """
    start = room_of(look)
    routes: dict[str, list[str]] = {start: []}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for there in DOORS.get(here, ()):
            if there not in routes:
                routes[there] = [*routes[here], there]
                queue.append(there)
    return routes.get(room, [])


def door_is_shut(look: str, room: str) -> bool:
    """Return True if a look around shows a closed door to a room."""
    return room in _SHUT_DOOR.findall(look)


def holder_of(thing: str, look: str) -> str | None:
    """Return the name of what holds a thing, by a look around.

    Returns:
        The innermost container or surface; ``""`` if the thing stands in the room itself; None if it is not seen.
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
