"""What an agent in ScienceWorld would say to itself before an action: one or two plain first-person sentences."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from step_envs.sciworld.planning.plan_executor import CANCEL
from step_envs.sciworld.planning.rooms import DOORS
from step_envs.sciworld.planning.steps import Kind, kind_of, normal
from step_envs.sciworld.planning.thought_templates import GOALS, PURPOSES, REASONS_TO_WAIT, WORDINGS

_ASIDE = re.compile(rf" in (inventory|{'|'.join(DOORS)})\b")
_STAGE = re.compile(r" in the (seed|seedling|adult|reproducing|juvenile|hatchling|egg) stage\b.*")
_TERMINAL = re.compile(r"^(.+) terminal (\d)$")
_PART = re.compile(r"^(battery|.+ (?:panel|generator|engine|turbine)) (anode|cathode)$")
_INSIDE = re.compile(r" (in|on) (?!the |with )")
_BY_THE_WAY = (Kind.TRAVEL, Kind.LOOK, Kind.WAIT, Kind.ANSWER)
_SETS_DOWN = ("drop ", "put down ")
_NO_USE = (*_SETS_DOWN, "pick up ", "focus on ")
_NOT_NAMES = {"pick", "move", "pour", "activate", "deactivate", "connect", "into", "substance", "unknown", "containing"}
_HEATERS = ("stove", "oven", "blast furnace", "fire pit", "hot plate", "lighter")
_COOLERS = ("freezer", "fridge", "ultra low temperature freezer")
_THERMAL_TASKS = ("boil", "melt", "freeze", "change-", "measure-")


@dataclass(frozen=True, slots=True)
class Situation:
    """What a thought is about.

    Attributes:
        task: Task name.
        action: The action to be taken.
        coming: What is to be done after it, as far as known.
        past: What was done before it.
        room: Where the agent is.
        seed: Chooses between wordings: same seed, same words.
    """

    task: str
    action: str
    coming: Sequence[str]
    past: Sequence[str]
    room: str
    seed: str


def thought(situation: Situation) -> str:
    """Give the reason for an action, as an agent would put it."""
    text = _spaced(situation.action)
    case, words = _case(situation, text)
    wordings = WORDINGS[case]
    digest = hashlib.sha256(f"{situation.seed} {text}".encode()).digest()
    sentence = wordings[digest[0] % len(wordings)].format(goal=GOALS[situation.task], **words)
    return sentence[:1].upper() + sentence[1:]


def _spaced(action: str) -> str:
    """Give an action in single spaces, its verb in lower case; names keep theirs ("unknown substance B")."""
    verb, _, rest = " ".join(action.split()).partition(" ")
    return f"{verb.lower()} {rest}".strip()


def _case(situation: Situation, text: str) -> tuple[str, dict[str, str]]:
    """Choose the case, by its name in ``WORDINGS``, and what is filled in."""
    kind = kind_of(text)
    if text == CANCEL:
        return "cancel", {}
    if kind is Kind.ANSWER:
        return "answer", {"number": text}
    if kind is Kind.TRAVEL:
        return _travel(situation, text)
    if kind is Kind.WAIT:
        return "wait", {"reason": _reason_to_wait(situation)}
    for verb, describe in _VERBS:
        if text == verb or text.startswith(f"{verb} "):
            return describe(situation, text.removeprefix(verb).strip())
    return "other", {"doing": _purpose(text)}


def _travel(situation: Situation, text: str) -> tuple[str, dict[str, str]]:
    room = re.sub(r"^(go to|go|teleport to|teleport|open door to|close door to) ", "", text)
    if text.startswith("close"):
        bees = situation.task.startswith(("grow-", "mendelian-"))
        return ("close door" if bees else "close"), {"room": the(room), "thing": f"the door to {the(room)}"}
    if text.startswith("open"):
        return "open door", {"room": the(room)}
    following = next((action for action in situation.coming if kind_of(action) is not Kind.LOOK), None)
    if following is not None and kind_of(following) is Kind.TRAVEL and following.startswith(("go", "open")):
        return "pass through", {"room": the(room)}
    aim = next((a for a in situation.coming if kind_of(a) not in _BY_THE_WAY and not a.startswith(_SETS_DOWN)), None)
    if aim is None:
        return "travel on", {"room": the(room), "to": to(room)}
    been = any(normal(action) in (f"go to {room}", f"teleport to {room}") for action in situation.past)
    return ("travel back" if been else "travel"), {"to": to(room), "at": at(room), "purpose": _purpose(_spaced(aim))}


def _look(situation: Situation, thing: str) -> tuple[str, dict[str, str]]:
    thing = re.sub(r"^(at|in) ", "", thing)
    if thing == "around":
        last = normal(situation.past[-1]) if situation.past else ""
        waited = kind_of(last) in (Kind.WAIT, Kind.WATER)
        return ("look again" if waited else "look around"), {"at": at(situation.room or "room")}
    if plain(thing) == "stopwatch":
        return "read time", {}
    if "inclined plane" in thing:
        return "watch block", {"thing": the(thing)}
    return "examine", {"thing": the(thing)}


def _open(situation: Situation, thing: str) -> tuple[str, dict[str, str]]:
    goes_in = next((a for a in situation.coming[:4] if a.startswith("move ") and a.endswith(f" to {thing}")), None)
    if goes_in is not None:
        return "open to put", {"thing": the(thing), "other": the(_halves(goes_in.removeprefix("move "))[0])}
    if thing == "bee hive":
        return "open hive", {}
    return "open", {"thing": the(thing)}


def _pick_up(situation: Situation, thing: str) -> tuple[str, dict[str, str]]:
    core = _words(thing)
    uses = (a for a in situation.coming if core & _words(a) and kind_of(a) not in (Kind.LOOK, Kind.TRAVEL))
    used = next((a for a in uses if not a.startswith(_NO_USE)), None)
    if used is None:
        return "take", {"thing": the(thing)}
    return "take to", {"thing": the(thing), "purpose": _purpose(_spaced(used)).replace(the(thing), "it")}


def _focus(situation: Situation, thing: str) -> tuple[str, dict[str, str]]:
    last = not any(action.startswith("focus ") for action in situation.coming)
    first = not any(normal(action).startswith("focus ") for action in situation.past)
    words = {"thing": the(thing)}
    if situation.task.startswith("lifespan"):
        longest = "longest" in situation.task and (first or "shortest" not in situation.task)
        return "focus lifespan", words | {"extreme": "longest" if longest else "shortest"}
    if situation.task.startswith("inclined") or (last and thing.endswith("box")):
        return "focus answer", words
    if situation.task.startswith("identify"):
        return "focus stage", words
    return "focus", words


def _move(situation: Situation, rest: str) -> tuple[str, dict[str, str]]:
    thing, place = _halves(rest)
    words = {"thing": the(thing), "place": the(place)}
    if place.endswith("box"):
        measured = situation.task.startswith(("use-thermometer", "test-conductivity"))
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


def _switch_on(situation: Situation, thing: str) -> tuple[str, dict[str, str]]:
    thing = plain(thing)
    case = "time" if thing == "stopwatch" else "water on" if thing == "sink" else "switch on"
    if case == "switch on" and thing.endswith(_HEATERS):
        case = "heat on"
    return case, {"thing": the(thing)}


def _switch_off(situation: Situation, thing: str) -> tuple[str, dict[str, str]]:
    thing = plain(thing)
    case = "time off" if thing == "stopwatch" else "water off" if thing == "sink" else "switch off"
    return case, {"thing": the(thing)}


def _pour(situation: Situation, rest: str) -> tuple[str, dict[str, str]]:
    thing, place = _halves(rest)
    case = "pour paint" if "paint" in rest and "paint" in situation.task else "pour"
    return ("water plant" if "flower pot" in place else case), {"thing": the(thing), "place": the(place)}


def _use(situation: Situation, rest: str) -> tuple[str, dict[str, str]]:
    tool, _, target = rest.partition(" on ")
    if plain(tool) == "thermometer":
        case = "measure on" if situation.task.startswith(_THERMAL_TASKS) else "measure"
        return case, {"thing": the(target)}
    return "use", {"thing": the(tool), "target": the(target) if target else "what I am working on"}


def _connect(situation: Situation, rest: str) -> tuple[str, dict[str, str]]:
    one, _, other = rest.partition(" to ")
    return "connect", {"one": the(one), "other": the(other)}


def _simple(case: str) -> Callable[[Situation, str], tuple[str, dict[str, str]]]:
    return lambda situation, rest: (case, {"thing": the(rest)})


_VERBS: tuple[tuple[str, Callable[[Situation, str], tuple[str, dict[str, str]]]], ...] = (
    ("look", _look),
    ("examine", _look),
    ("read", _simple("read")),
    ("inventory", lambda situation, rest: ("inventory", {})),
    ("task", lambda situation, rest: ("task", {})),
    ("reset task", lambda situation, rest: ("reset task", {})),
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


def _reason_to_wait(situation: Situation) -> str:
    if situation.task.startswith(("boil", "melt", "freeze", "change-", "measure-")):
        placed = [normal(action) for action in situation.past if normal(action).startswith(("move ", "activate "))]
        cold = any(action.endswith(_COOLERS) for action in placed[-1:])
        return REASONS_TO_WAIT["cool" if cold else "heat"]
    for family in ("grow", "mendelian", "identify", "test-conductivity", "power"):
        if situation.task.startswith(family):
            return REASONS_TO_WAIT[family]
    return REASONS_TO_WAIT["any"]


def _purpose(text: str) -> str:
    """Say what an action is for, after "to"."""
    for verb, phrase in PURPOSES:
        if text.startswith(f"{verb} "):
            rest = text.removeprefix(f"{verb} ")
            if "{place}" in phrase:
                thing, place = _halves(rest)
                return phrase.format(thing=the(thing), place=the(place))
            return phrase.format(thing=the(rest.split(" on ", 1)[-1] if verb == "use thermometer" else rest))
    return text


def _halves(rest: str) -> tuple[str, str]:
    """Part ``metal pot in kitchen to sink`` into what is moved and where to."""
    for word in (" into ", " to ", " in ", " on "):
        thing, found, place = rest.rpartition(word)
        if found:
            return thing, place
    return rest, "where it belongs"


def _words(action: str) -> set[str]:
    """The words that name the thing an action is about; a color or a state alone does not."""
    words = plain(normal(action)).split()
    return {word for word in words if len(word) > 3} - _NOT_NAMES if len(words) > 2 else set(words)


def plain(name: str) -> str:
    """Give a thing's name without where it is, and no word twice running."""
    name = _STAGE.sub("", _ASIDE.sub("", name.strip()))
    words = name.split()
    return " ".join(word for i, word in enumerate(words) if i == 0 or word != words[i - 1])


def the(name: str) -> str:
    """Put the article before a thing's name."""
    name = plain(name)
    if not name or name == "outside" or name.startswith(("the ", "what ", "where ")):
        return name
    name = _TERMINAL.sub(r"terminal \2 of the \1", name)
    name = _PART.sub(r"\2 of the \1", name)
    return "the " + _INSIDE.sub(r" \1 the ", name)


def to(room: str) -> str:
    """Say where one goes."""
    return "outside" if room == "outside" else f"to {the(room)}"


def at(room: str) -> str:
    """Say where one is."""
    return "out here" if room == "outside" else f"in {the(room)}"
