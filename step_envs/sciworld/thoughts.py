"""Words a thought for an action: one or two plain first-person sentences, as an agent would write them in ReAct text.

An action alone does not say why it is taken. So the case (travel, heat, fill, ...) is chosen from the action together with
the actions before and after it, and a template of that case is filled in. The template is chosen by a hash of the state, so
that thoughts vary and yet are the same whenever they are asked for.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from step_envs.sciworld.planning.plan_executor import CANCEL
from step_envs.sciworld.planning.rooms import DOORS
from step_envs.sciworld.planning.steps import ActionKind, action_kind, normalize
from step_envs.sciworld.planning.thought_templates import GOALS, PURPOSES, REASONS_TO_WAIT, THOUGHT_TEMPLATES

_PLACE = re.compile(rf" in (inventory|{'|'.join(DOORS)})\b")
_STAGE = re.compile(r" in the (seed|seedling|adult|reproducing|juvenile|hatchling|egg) stage\b.*")
_TERMINAL = re.compile(r"^(.+) terminal (\d)$")
_PART = re.compile(r"^(battery|.+ (?:panel|generator|engine|turbine)) (anode|cathode)$")
_INSIDE = re.compile(r" (in|on) (?!the |with )")
_ON_THE_WAY = (ActionKind.TRAVEL, ActionKind.LOOK, ActionKind.WAIT, ActionKind.ANSWER)
_SETS_DOWN = ("drop ", "put down ")
_NO_USE = (*_SETS_DOWN, "pick up ", "focus on ")
_NOT_NAMES = {"pick", "move", "pour", "activate", "deactivate", "connect", "into", "substance", "unknown", "containing"}
_HEATERS = ("stove", "oven", "blast furnace", "fire pit", "hot plate", "lighter")
_COOLERS = ("freezer", "fridge", "ultra low temperature freezer")
_THERMAL_TASKS = ("boil", "melt", "freeze", "change-", "measure-")


@dataclass(frozen=True, slots=True)
class ThoughtContext:
    """The facts that a thought depends on.

    Attributes:
        task: Task name.
        action: The action to be taken.
        coming: The actions planned after it, as far as known.
        past: The actions before it.
        room: Where the agent is.
        seed: Chooses among the templates of a case: the same seed gives the same words.
    """

    task: str
    action: str
    coming: Sequence[str]
    past: Sequence[str]
    room: str
    seed: str


def word(context: ThoughtContext) -> str:
    """Word the reason for an action."""
    return _fill_in(context, *_case(context, _spaced(context.action)))


def word_search(context: ThoughtContext, room: str, thing: str | None) -> str:
    """Word the reason for going to a room that was not seen yet, or towards it.

    Args:
        context: The action and what is around it.
        room: The room to look at.
        thing: What is looked for; None if it has no name that an agent could know.
    """
    if thing is None:
        return _fill_in(context, "search", {"to": to(room)})
    return _fill_in(context, "search thing", {"to": to(room), "thing": the(thing)})


def word_briefly(goal: str, action: str, search: tuple[str, str | None] | None) -> str:
    """Word a thought in few words: the goal, and what is done next.

    Args:
        goal: The goal in few words.
        action: The action to be taken.
        search: What a movement looks for, if it does: the room to look at, and the thing, as ``word_search`` takes them.
    """
    if search is None:
        return f"Goal: {goal}; {_spaced(action)}."
    room, thing = search
    if thing is None:
        return f"Goal: {goal}; not seen yet, try {room}."
    name = plain(thing)
    place = goal.lower().find(name.lower())
    # In the goal's own letters: "unknown substance B".
    return f"Goal: {goal}; no {name if place < 0 else goal[place : place + len(name)]} yet, try {room}."


def _fill_in(context: ThoughtContext, case: str, words: dict[str, str]) -> str:
    templates = THOUGHT_TEMPLATES[case]
    digest = hashlib.sha256(f"{context.seed} {_spaced(context.action)}".encode("utf-8", "surrogatepass")).digest()
    sentence = templates[digest[0] % len(templates)].format(goal=GOALS[context.task], **words)
    return sentence[:1].upper() + sentence[1:]


def _spaced(action: str) -> str:
    """Return an action in single spaces, its verb in lower case; names keep their case ("unknown substance B")."""
    verb, _, rest = " ".join(action.split()).partition(" ")
    return f"{verb.lower()} {rest}".strip()


def _case(context: ThoughtContext, text: str) -> tuple[str, dict[str, str]]:
    """Return the name of the case in ``THOUGHT_TEMPLATES``, and the words to fill in."""
    kind = action_kind(text)
    if text == CANCEL:
        return "cancel", {}
    if kind is ActionKind.ANSWER:
        return "answer", {"number": text}
    if kind is ActionKind.TRAVEL:
        return _travel(context, text)
    if kind is ActionKind.WAIT:
        return "wait", {"reason": _reason_to_wait(context)}
    for verb, describe in _VERBS:
        if text == verb or text.startswith(f"{verb} "):
            return describe(context, text.removeprefix(verb).strip())
    return "other", {"doing": _purpose(text)}


def _travel(context: ThoughtContext, text: str) -> tuple[str, dict[str, str]]:
    room = re.sub(r"^(go to|go|teleport to|teleport|open door to|close door to) ", "", text)
    if text.startswith("close"):
        bees = context.task.startswith(("grow-", "mendelian-"))
        return ("close door" if bees else "close"), {"room": the(room), "thing": f"the door to {the(room)}"}
    if text.startswith("open"):
        return "open door", {"room": the(room)}
    following = next((action for action in context.coming if action_kind(action) is not ActionKind.LOOK), None)
    if following is not None and action_kind(following) is ActionKind.TRAVEL and following.startswith(("go", "open")):
        return "pass through", {"room": the(room)}
    aim = next((a for a in context.coming if action_kind(a) not in _ON_THE_WAY and not a.startswith(_SETS_DOWN)), None)
    if aim is None:
        return "travel on", {"room": the(room), "to": to(room)}
    been = any(normalize(action) in (f"go to {room}", f"teleport to {room}") for action in context.past)
    return ("travel back" if been else "travel"), {"to": to(room), "at": at(room), "purpose": _purpose(_spaced(aim))}


def _look(context: ThoughtContext, thing: str) -> tuple[str, dict[str, str]]:
    thing = re.sub(r"^(at|in) ", "", thing)
    if thing == "around":
        last = normalize(context.past[-1]) if context.past else ""
        waited = action_kind(last) in (ActionKind.WAIT, ActionKind.WATER)
        return ("look again" if waited else "look around"), {"at": at(context.room or "room")}
    if plain(thing) == "stopwatch":
        return "read time", {}
    if "inclined plane" in thing:
        return "watch block", {"thing": the(thing)}
    return "examine", {"thing": the(thing)}


def _open(context: ThoughtContext, thing: str) -> tuple[str, dict[str, str]]:
    goes_in = next((a for a in context.coming[:4] if a.startswith("move ") and a.endswith(f" to {thing}")), None)
    if goes_in is not None:
        return "open to put", {"thing": the(thing), "other": the(_halves(goes_in.removeprefix("move "))[0])}
    if thing == "bee hive":
        return "open hive", {}
    return "open", {"thing": the(thing)}


def _pick_up(context: ThoughtContext, thing: str) -> tuple[str, dict[str, str]]:
    core = _words(thing)
    uses = (
        a for a in context.coming if core & _words(a) and action_kind(a) not in (ActionKind.LOOK, ActionKind.TRAVEL)
    )
    used = next((a for a in uses if not a.startswith(_NO_USE)), None)
    if used is None:
        return "take", {"thing": the(thing)}
    return "take to", {"thing": the(thing), "purpose": _purpose(_spaced(used)).replace(the(thing), "it")}


def _focus(context: ThoughtContext, thing: str) -> tuple[str, dict[str, str]]:
    last = not any(action.startswith("focus ") for action in context.coming)
    first = not any(normalize(action).startswith("focus ") for action in context.past)
    words = {"thing": the(thing)}
    if context.task.startswith("lifespan"):
        longest = "longest" in context.task and (first or "shortest" not in context.task)
        return "focus lifespan", words | {"extreme": "longest" if longest else "shortest"}
    if context.task.startswith("inclined") or (last and thing.endswith("box")):
        return "focus answer", words
    if context.task.startswith("identify"):
        return "focus stage", words
    return "focus", words


def _move(context: ThoughtContext, rest: str) -> tuple[str, dict[str, str]]:
    thing, place = _halves(rest)
    words = {"thing": the(thing), "place": the(place)}
    if place.endswith("box"):
        measured = context.task.startswith(("use-thermometer", "test-conductivity"))
        return ("sort by result" if measured else "put in box"), words
    if place.endswith(_COOLERS):
        return "cool", words
    if place.endswith(_HEATERS):
        return "heat", words
    if place == "sink":
        return "fill", words
    if "flower pot" in place:
        return "plant", words
    if "inclined plane" in place:
        return "slide", words
    return "move", words


def _switch_on(context: ThoughtContext, thing: str) -> tuple[str, dict[str, str]]:
    thing = plain(thing)
    case = "time" if thing == "stopwatch" else "water on" if thing == "sink" else "switch on"
    if case == "switch on" and thing.endswith(_HEATERS):
        case = "heat on"
    return case, {"thing": the(thing)}


def _switch_off(context: ThoughtContext, thing: str) -> tuple[str, dict[str, str]]:
    thing = plain(thing)
    case = "time off" if thing == "stopwatch" else "water off" if thing == "sink" else "switch off"
    return case, {"thing": the(thing)}


def _pour(context: ThoughtContext, rest: str) -> tuple[str, dict[str, str]]:
    thing, place = _halves(rest)
    case = "pour paint" if "paint" in rest and "paint" in context.task else "pour"
    return ("water plant" if "flower pot" in place else case), {"thing": the(thing), "place": the(place)}


def _use(context: ThoughtContext, rest: str) -> tuple[str, dict[str, str]]:
    tool, _, target = rest.partition(" on ")
    if plain(tool) == "thermometer":
        case = "measure on" if context.task.startswith(_THERMAL_TASKS) else "measure"
        return case, {"thing": the(target)}
    return "use", {"thing": the(tool), "target": the(target) if target else "what I am working on"}


def _connect(context: ThoughtContext, rest: str) -> tuple[str, dict[str, str]]:
    one, _, other = rest.partition(" to ")
    return "connect", {"one": the(one), "other": the(other)}


def _simple(case: str) -> Callable[[ThoughtContext, str], tuple[str, dict[str, str]]]:
    return lambda context, rest: (case, {"thing": the(rest)})


_VERBS: tuple[tuple[str, Callable[[ThoughtContext, str], tuple[str, dict[str, str]]]], ...] = (
    ("look", _look),
    ("examine", _look),
    ("read", _simple("read")),
    ("inventory", lambda context, rest: ("inventory", {})),
    ("task", lambda context, rest: ("task", {})),
    ("reset task", lambda context, rest: ("reset task", {})),
    ("open", _open),
    ("close", _simple("close")),
    ("pick up", _pick_up),
    ("put down", _simple("put down")),
    ("drop", _simple("put down")),
    ("focus on", _focus),
    ("move", _move),
    ("activate", _switch_on),
    ("deactivate", _switch_off),
    ("pour", _pour),
    ("mix", _simple("mix")),
    ("use", _use),
    ("connect", _connect),
    ("disconnect", _simple("disconnect")),
)


def _reason_to_wait(context: ThoughtContext) -> str:
    if context.task.startswith(("boil", "melt", "freeze", "change-", "measure-")):
        placed = [normalize(action) for action in context.past if normalize(action).startswith(("move ", "activate "))]
        cold = any(action.endswith(_COOLERS) for action in placed[-1:])
        return REASONS_TO_WAIT["cool" if cold else "heat"]
    for family in ("grow", "mendelian", "identify", "test-conductivity", "power"):
        if context.task.startswith(family):
            return REASONS_TO_WAIT[family]
    return REASONS_TO_WAIT["any"]


def _purpose(text: str) -> str:
    """Return the purpose of an action, as words that follow "to"."""
    for verb, phrase in PURPOSES:
        if text.startswith(f"{verb} "):
            rest = text.removeprefix(f"{verb} ")
            if "{place}" in phrase:
                thing, place = _halves(rest)
                return phrase.format(thing=the(thing), place=the(place))
            return phrase.format(thing=the(rest.split(" on ", 1)[-1] if verb == "use thermometer" else rest))
    return text


def _halves(rest: str) -> tuple[str, str]:
    """Split ``metal pot in kitchen to sink`` into what is moved and where to."""
    for word in (" into ", " to ", " in ", " on "):
        thing, found, place = rest.rpartition(word)
        if found:
            return thing, place
    return rest, "where it belongs"


def _words(action: str) -> set[str]:
    """Return the words that name the thing of an action, without verbs and general words."""
    words = plain(normalize(action)).split()
    return {word for word in words if len(word) > 3} - _NOT_NAMES if len(words) > 2 else set(words)


def plain(name: str) -> str:
    """Return a thing's name without its place, and without immediate repetitions of a word."""
    name = _STAGE.sub("", _PLACE.sub("", name.strip()))
    words = name.split()
    return " ".join(word for i, word in enumerate(words) if i == 0 or word != words[i - 1])


def the(name: str) -> str:
    """Return a thing's name with its article."""
    name = plain(name)
    if not name or name == "outside" or name.startswith(("the ", "what ", "where ")):
        return name
    name = _TERMINAL.sub(r"terminal \2 of the \1", name)
    name = _PART.sub(r"\2 of the \1", name)
    return "the " + _INSIDE.sub(r" \1 the ", name)


def to(room: str) -> str:
    """Return a room as the goal of a movement: ``to the kitchen``, ``outside``."""
    return "outside" if room == "outside" else f"to {the(room)}"


def at(room: str) -> str:
    """Return a room as a place: ``in the kitchen``, ``out here``."""
    return "out here" if room == "outside" else f"in {the(room)}"
