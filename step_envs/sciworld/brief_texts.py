"""The laboratory in brief: ``kitchen: counter: bowl containing apple and banana | fridge closed | thermometer | ...``.

A look around loses articles, the air, the agent, empty containers and what is merely switched off. With teleport it loses
the open doors too, and the first observation names the rooms instead. The engine understands the names as they are shown
here, so actions stay as they are; ``planning.brief_names`` makes the oracle use them.
"""

import re
from collections.abc import Callable
from typing import Final

from typing_extensions import override

from step_envs.brief_texts import BriefTexts, without_articles
from step_envs.sciworld.planning.rooms import DOORS
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD

_UNSAID: Final = frozenset(("", "agent", "air", "ground"))
"""Things that are in every room of their kind, and of no use for the tasks."""

_CONTAINING: Final = re.compile(r" \(containing ([^()]*)\)")
_SHORTER: Final = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\. (?:On|In) the [^:.\n]+ is: nothing", ""),
        (r" \(containing nothing\)", ""),
        (r"\. The [^.\n]+ door is (open|closed)", r" \1"),
        (r"\.? (?:On|In) the [^:.\n]+ is: ", ": "),
        (r", which is (?:turned off|deactivated|off)", ""),
        (r", which is (?:turned |activat(?=e))?(on|ed|open|closed)", r" \1"),
        (r", currently reading a temperature of -?\d+ degrees celsius", ""),
        (r" in the (\w+) stage", r" \1"),
        (r" with a (\w+) height", r" \1"),
        (r"\b(?:a )?substance called ", ""),
        (r"degrees celsius", "degrees"),
    )
)

_LOOK: Final = re.compile(r"This (?:room|outside location) is called the ([^.\n]+)\. [^:\n]*: ?\n")
_DOOR: Final = re.compile(r"A door to the ([^(\n]+) \(that is (open|closed)\)")
_ROOM_OF_CHOICE: Final = re.compile(r" \(in ([^,()]+)(?:, [^()]*)?\)")
_BOXES: Final = (
    r".*? is above (-?\d+)(?:\.0)? degrees celsius, (?:place it in|focus on) the (\w+ box)\. "
    r".*? is below [\d.-]+ degrees celsius, (?:place it in|focus on) the (\w+ box)\. "
    r"The boxes are located around the ([\w ]+)\."
)

_TASKS: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = tuple(
    (re.compile(pattern), task, goal)
    for pattern, task, goal in (
        (
            r"find a\(n\) ([\w -]+)\. First, focus on the thing\. Then, move it to the ([\w ]+) in the ([\w ]+)\.",
            r"find \1, focus on it, move it to \2 in \3",
            r"\1 to \2 in \3",
        ),
        (
            r"find the animal with the (longest|shortest) life span\. .* in the '([\w ]+)' location\. Focus .*",
            r"focus on animal with \1 life span in \2",
            r"animal with \1 life span in \2",
        ),
        (
            r"find the animal with the (longest) life span, then the (shortest) .* in the '([\w ]+)' location\.",
            r"focus on animal with \1 life span, then \2 life span, in \3",
            r"animal with \1 life span, then \2 life span, in \3",
        ),
        (
            rf"measure the temperature of ([\w ]+), which is located around the ([\w ]+)\. First,{_BOXES}",
            r"focus on thermometer, focus on \1 in \2, measure it, move it: above \3 to \4, below \3 to \5, boxes in \6",
            r"\1 above \3 to \4, below \3 to \5",
        ),
        (
            rf"measure the melting point of ([\w ]+), which is located around the ([\w ]+)\. First,{_BOXES}",
            r"focus on thermometer, focus on \1 in \2, measure melting point, focus on box: "
            r"above \3 \4, below \3 \5, boxes in \6",
            r"melting point of \1 above \3 is \4, below \3 is \5",
        ),
    )
)
"""Tasks whose sentences have a shorter form: the engine's words, the task in few words, the goal in fewer."""


def write_brief_task(instruction: str) -> str:
    """Write a task in few words: ``find animal, focus on it, move it to red box in kitchen``."""
    text = _task_of(instruction)
    for pattern, task, _ in _TASKS:
        if found := pattern.fullmatch(text):
            return found.expand(task)
    return _plain(text).rstrip(".")


def write_brief_goal(instruction: str) -> str:
    """Write what a task is about in still fewer words, for thoughts: ``animal to red box in kitchen``."""
    text = _task_of(instruction)
    for pattern, _, goal in _TASKS:
        if found := pattern.fullmatch(text):
            return found.expand(goal)
    return re.split(r"[.,] ", _plain(text))[0].rstrip(".")


def _task_of(instruction: str) -> str:
    return " ".join(instruction.split()).removeprefix("Task Description: ").removeprefix("Your task is to ")


def write_brief_look(look: str, *, doors: bool) -> str:
    """Write a look around in one line; another text comes back as it is.

    Args:
        look: What the engine shows.
        doors: Name the doors even if they are open.
    """
    found = _LOOK.match(look)
    if found is None:
        return look
    inside, _, beyond = look[found.end() :].partition("You also see:")
    things = [thing for line in inside.splitlines() if (thing := write_brief_thing(line)) not in _UNSAID]
    ways = [
        room if state == "open" else f"{room} closed"
        for room, state in _DOOR.findall(beyond)
        if doors or state == "closed"
    ]
    if ways:
        things.append(f"doors: {', '.join(ways)}")
    return f"{found[1]}: {' | '.join(things) or 'nothing'}"


def write_brief_thing(line: str) -> str:
    """Write a line that describes a thing in few words: ``fridge closed``, ``jug containing water``."""
    for pattern, form in _SHORTER:
        line = pattern.sub(form, line)
    count = 1
    while count:
        line, count = _CONTAINING.subn(lambda found: " containing " + found[1].replace(", ", " and "), line)
    return _plain(line).strip(" .")


def _plain(text: str) -> str:
    return " ".join(without_articles(text).replace("degrees celsius", "degrees").split())


def _list(found: re.Match[str]) -> str:
    things = (write_brief_thing(line) for line in found[2].splitlines())
    return f"{found[1]}: {', '.join(thing for thing in things if thing) or 'nothing'}"


def _question(found: re.Match[str]) -> str:
    choices = (_plain(_ROOM_OF_CHOICE.sub(r" in \1", line)) for line in found[1].splitlines() if line.strip())
    return f"which: {' | '.join(choice.replace(':', '', 1) for choice in choices)}"


_FORMS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), form)
    for pattern, form in (
        (r"You (?:teleport|move) to the ([\w ]+)\.", r"in \1"),
        (r"You move the ([^.\n]+) to the inventory\.", r"carrying \1"),
        (r"You move the ([^.\n]+) to the ([^.\n]+)\.", r"\1 is in \2"),
        (r"You focus on the ([^.\n]+)\.", r"focus on \1"),
        (r"The ([^.\n]+) is now (open|closed|activated|deactivated)\.", r"\1 is \2"),
        (r"the thermometer measures a temperature of (-?\d+) degrees celsius", r"\1 degrees"),
        (r"You decide to wait for (\d+) iterations\.", r"waited \1"),
        (r"You pour the contents of the ([^.\n]+) into the ([^.\n]+)\.", r"\1 is in \2"),
        (r"In your (inventory), you see:\n(.*)", _list),
        (r"Inside the ([^\n]+?) is: ?\n(.*)", _list),
        (r"Ambiguous request: [^\n]*:\n(.*)", _question),
    )
)


def write_brief_observation(text: str, *, doors: bool) -> str:
    """Write what the engine shows in few words.

    Args:
        text: The engine's answer.
        doors: Name the doors of a room even if they are open.
    """
    if text.startswith(NOT_UNDERSTOOD):
        return "Nothing happens."
    if text.startswith(("Task Description:", "Your task is to ")):
        return f"task: {write_brief_task(text)}"
    if _LOOK.match(text):
        return write_brief_look(text, doors=doors)
    for pattern, form in _FORMS:
        if found := pattern.fullmatch(text):
            return form(found) if callable(form) else found.expand(form)
    lines = (write_brief_thing(line) for line in text.splitlines())
    return " | ".join(line for line in lines if line)


class SciWorldBriefTexts(BriefTexts):
    """Says in few words what the laboratory says.

    Args:
        answer: Returns the engine's last answer; what else is shown is not the engine's, and is left as it is.
        teleports: Whether the agent can be in any room at once, so that doors do not matter.
    """

    def __init__(self, answer: Callable[[], str], *, teleports: bool) -> None:
        self._answer = answer
        self._teleports = teleports

    @override
    def instruction(self, text: str) -> str:
        return write_brief_task(text)

    @override
    def observation(self, text: str) -> str:
        return write_brief_observation(text, doors=not self._teleports) if text == self._answer() else text

    @override
    def first_observation(self, text: str, instruction: str) -> str:
        first = super().first_observation(text, instruction)
        if not self._teleports:
            return first
        task, _, around = first.partition("\n")
        return f"{task}\nrooms: {', '.join(DOORS)}\n{around}"
