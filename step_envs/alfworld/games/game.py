"""One household as its game file describes it: the furniture, the things, where they are at the start, and the task.

``read_game`` reads a ``game.tw-pddl`` into a ``Game``, which never changes. A misread file would be played with wrong facts
and nobody would notice. So everything is checked, and a file that the engine cannot play exactly is refused with one
sentence that names the file and the reason.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from step_envs.alfworld.games.goal import Goal, UnknownGoalError, compile_goal
from step_envs.alfworld.games.pddl import Expression
from step_envs.alfworld.games.problem import SIGNATURES, Problem, ProblemError, read_problem
from step_envs.alfworld.games.releases import Release, UnknownReleaseError, recognise_release
from step_envs.errors import DataError
from step_envs.file_reading import check_json

_NAMES_OF_THINGS = [
    (predicate, index)
    for predicate, kinds in SIGNATURES.items()
    for index, kind in enumerate(kinds)
    if kind == "object"
]
"""Predicate and index of every argument that names a thing."""

OTHER_ENGINE = 'the original engine may play it: make the environment with backend="textworld"'


class Receptacle(NamedTuple):
    """A piece of furniture or an appliance, which things can be in or on."""

    id: str
    name: str
    type: str
    location: int
    openable: bool


class Thing(NamedTuple):
    """An object, which can be in or on a receptacle. The flags say what can be done with it."""

    id: str
    name: str
    type: str
    pickupable: bool
    cleanable: bool
    heatable: bool
    coolable: bool
    sliceable: bool
    toggleable: bool
    holds_things: bool


@dataclass(frozen=True)
class Game:
    """A household and its task. Receptacles, things and locations are numbered in the order of their ids.

    Attributes:
        source: Where it was read from, for messages.
        release: The release whose rules and wording it has.
        task: The sentence ``Your task is to: ...``.
        goal: What must hold to win.
        goal_formula: The goal as the file writes it.
        walkthrough: The solution in the file; empty if it has none.
        receptacles: All receptacles, by id.
        things: All objects, by id.
        locations: Ids of the places where the agent can stand.
        location_names: Their display names (``loc 7``).
        accepts: Receptacle type -> types of things that may be put there.
        start: The agent's location at the start.
        contents: Receptacle -> things in it at the start.
        places: (thing, location) facts at the start. They are separate from ``contents`` and can disagree with it.
        inside: Thing -> things inside it; no command changes this.
        opened, clean, hot, cool, sliced, toggled: Receptacles and things in that state at the start.
        digest: SHA-256 of the game file, in hexadecimal.
    """

    source: str
    release: Release
    task: str
    goal: Goal
    goal_formula: Expression
    walkthrough: tuple[str, ...]
    receptacles: tuple[Receptacle, ...]
    things: tuple[Thing, ...]
    locations: tuple[str, ...]
    location_names: tuple[str, ...]
    accepts: Mapping[str, frozenset[str]]
    start: int
    contents: tuple[frozenset[int], ...]
    places: frozenset[tuple[int, int]]
    inside: Mapping[int, tuple[int, ...]]
    opened: frozenset[int] = frozenset()
    clean: frozenset[int] = frozenset()
    hot: frozenset[int] = frozenset()
    cool: frozenset[int] = frozenset()
    sliced: frozenset[int] = frozenset()
    toggled: frozenset[int] = frozenset()
    digest: str = ""

    @property
    def instruction(self) -> str:
        """The task without its preamble, such as "put a clean bowl in cabinet"."""
        return self.task.removeprefix("Your task is to: ")

    @cached_property
    def receptacle_names(self) -> tuple[str, ...]:
        """Receptacle -> display name."""
        return tuple(receptacle.name for receptacle in self.receptacles)

    @cached_property
    def things_with_article(self) -> tuple[str, ...]:
        """Thing -> display name with its article, ``a mug 1``."""
        return tuple(f"a {thing.name}" for thing in self.things)

    @cached_property
    def receptacle_by_name(self) -> dict[str, int]:
        """Display name -> receptacle."""
        return {receptacle.name: r for r, receptacle in enumerate(self.receptacles)}

    @cached_property
    def thing_by_name(self) -> dict[str, int]:
        """Display name -> thing."""
        return {thing.name: o for o, thing in enumerate(self.things)}

    @cached_property
    def receptacles_at(self) -> tuple[tuple[int, ...], ...]:
        """Location -> receptacles there."""
        here: list[list[int]] = [[] for _ in self.locations]
        for r, receptacle in enumerate(self.receptacles):
            here[receptacle.location].append(r)
        return tuple(map(tuple, here))

    @cached_property
    def things_of_type(self) -> dict[str, tuple[int, ...]]:
        """Type -> things."""
        grouped: defaultdict[str, list[int]] = defaultdict(list)
        for o, thing in enumerate(self.things):
            grouped[thing.type].append(o)
        return {name: tuple(things) for name, things in grouped.items()}

    @cached_property
    def receptacles_of_type(self) -> dict[str, tuple[int, ...]]:
        """Type -> receptacles."""
        grouped: defaultdict[str, list[int]] = defaultdict(list)
        for r, receptacle in enumerate(self.receptacles):
            grouped[receptacle.type].append(r)
        return {name: tuple(receptacles) for name, receptacles in grouped.items()}


def read_game(text: str | bytes, source: str) -> Game:
    """Read a game file and check it.

    Args:
        text: The contents of a ``game.tw-pddl``: JSON with ``pddl_domain``, ``grammar``, ``pddl_problem`` and, in newer
            releases, ``solvable`` and ``walkthrough``.
        source: Its path or name, for messages.

    Returns:
        The household and its task.

    Raises:
        DataError: The file is malformed, belongs to no known release, or has a goal that is none of the six kinds; the
            message names the file and the reason.
    """
    written = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        check_json(written)
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: this is not valid JSON ({error}); the file is damaged, fetch it again.") from error
    if not isinstance(fields, dict):
        raise DataError(f"{source}: a game file holds a JSON object, this one a {type(fields).__name__}.")
    for key in ("pddl_domain", "grammar", "pddl_problem"):
        if not isinstance(fields.get(key), str):
            raise DataError(
                f"{source}: the key {key!r} is missing or no text; the file is no ALFWorld game or damaged."
            )
    if fields.get("solvable", True) is not True:
        raise DataError(f"{source}: the file itself says that this game cannot be solved ('solvable' is not true).")
    walkthrough = fields.get("walkthrough") or []
    if not isinstance(walkthrough, list) or not all(isinstance(command, str) for command in walkthrough):
        raise DataError(f"{source}: 'walkthrough' is not a list of commands.")
    try:
        release, sentence = recognise_release(fields["pddl_domain"], fields["grammar"])
    except UnknownReleaseError as error:
        raise DataError(f"{source}: {error}, so the native engine refuses it; {OTHER_ENGINE}.") from error
    try:
        problem = read_problem(fields["pddl_problem"])
        digest = hashlib.sha256(written).hexdigest()
        return build_game(source, release, sentence, problem, walkthrough=tuple(walkthrough), digest=digest)
    except UnknownGoalError as error:
        raise DataError(f"{source}: {error}, so the native engine refuses it; {OTHER_ENGINE}.") from error
    except ProblemError as error:
        raise DataError(f"{source}: {error}.") from error


def display_names(ids: Iterable[str]) -> dict[str, str]:
    """Compute display names as the original engine does.

    The name is the part of the id before ``_bar_`` (followed by ``basin`` if the id contains that word) and a number. Of
    the ids that share a name, sorted as strings, the first gets the highest number.

    Args:
        ids: Ids of all entities that occur in facts, lower case.

    Returns:
        Id -> display name.
    """
    ordered = sorted(ids)
    bases = {}
    for name in ordered:
        base, bar, _ = name.partition("_bar_")
        if bar:
            bases[name] = f"{base}basin" if "basin" in name else base
    left = Counter(bases.values())
    names = {}
    for name, base in bases.items():
        names[name] = f"{base} {left[base]}"
        left[base] -= 1
    return names


def build_game(
    source: str,
    release: Release,
    task: str,
    problem: Problem,
    *,
    goal: Goal | None = None,
    walkthrough: tuple[str, ...] = (),
    digest: str = "",
) -> Game:
    """Build a game from the facts of its problem.

    Args:
        source: See ``Game``, like the other arguments.
        release: The release.
        task: The sentence ``Your task is to: ...``.
        problem: The facts and the goal as a formula.
        goal: The goal, where it is known; None recognises the formula.
        walkthrough: The solution.
        digest: SHA-256 of the game file.

    Raises:
        ProblemError: The facts contradict one another.
        UnknownGoalError: The goal is none of the six kinds.
    """
    facts = problem.facts
    receptacle_type = _one_each(facts["receptacletype"], "type")
    thing_type = _one_each(facts["objecttype"], "type")
    standing = _one_each(facts["receptacleatlocation"], "location")
    if len(facts["atlocation"]) != 1:
        raise ProblemError(f"the agent must be in one place at the start, it is in {len(facts['atlocation'])}")
    # A cracked egg or a sliced apple can have no type: it can be taken, but no receptacle accepts it.
    named = {words[index] for predicate, index in _NAMES_OF_THINGS for words in facts[predicate]}
    receptacle_ids, thing_ids = sorted(receptacle_type), sorted(named)
    location_ids = sorted(
        {place for name in ("receptacleatlocation", "objectatlocation", "atlocation") for _, place in facts[name]}
    )
    receptacle_number = {name: i for i, name in enumerate(receptacle_ids)}
    thing_number = {name: i for i, name in enumerate(thing_ids)}
    location_number = {name: i for i, name in enumerate(location_ids)}
    for name in receptacle_ids:
        if name not in standing:
            raise ProblemError(f"the receptacle {name!r} stands nowhere")
    names = display_names([*receptacle_ids, *thing_ids, *location_ids])

    def receptacle(name: str) -> int:
        if name not in receptacle_number:
            raise ProblemError(f"the receptacle {name!r} has no type")
        return receptacle_number[name]

    def things(predicate: str) -> frozenset[int]:
        return frozenset(thing_number[words[0]] for words in facts[predicate])

    openable = {receptacle(words[0]) for words in facts["openable"]}
    pickupable, cleanable, heatable = things("pickupable"), things("cleanable"), things("heatable")
    coolable, sliceable, toggleable = things("coolable"), things("sliceable"), things("toggleable")
    holds_things = things("isreceptacleobject")
    contents: list[set[int]] = [set() for _ in receptacle_ids]
    for inner, outer in facts["inreceptacle"]:
        contents[receptacle(outer)].add(thing_number[inner])
    inside: defaultdict[int, list[int]] = defaultdict(list)
    for inner, outer in facts["inreceptacleobject"]:
        inside[thing_number[outer]].append(thing_number[inner])
    accepts: defaultdict[str, set[str]] = defaultdict(set)
    for receptacle_kind, thing_kind in facts["cancontain"]:
        accepts[receptacle_kind].add(thing_kind)
    game_receptacles = tuple(
        Receptacle(
            name, names.get(name, f"{name} "), receptacle_type[name], location_number[standing[name]], r in openable
        )
        for r, name in enumerate(receptacle_ids)
    )
    game_things = tuple(
        Thing(
            name,
            names.get(name, f"{name} "),
            thing_type.get(name, ""),
            o in pickupable,
            o in cleanable,
            o in heatable,
            o in coolable,
            o in sliceable,
            o in toggleable,
            o in holds_things,
        )
        for o, name in enumerate(thing_ids)
    )
    return Game(
        source=source,
        release=release,
        task=task,
        goal=compile_goal(problem.goal) if goal is None else goal,
        goal_formula=problem.goal,
        walkthrough=walkthrough,
        receptacles=game_receptacles,
        things=game_things,
        locations=tuple(location_ids),
        location_names=tuple(names.get(name, f"{name} ") for name in location_ids),
        accepts={kind: frozenset(kinds) for kind, kinds in accepts.items()},
        start=location_number[facts["atlocation"][0][1]],
        contents=tuple(map(frozenset, contents)),
        places=frozenset((thing_number[o], location_number[place]) for o, place in facts["objectatlocation"]),
        inside={outer: tuple(sorted(inner)) for outer, inner in inside.items()},
        opened=frozenset(receptacle(words[0]) for words in facts["opened"]),
        clean=things("isclean"),
        hot=things("ishot"),
        cool=things("iscool"),
        sliced=things("issliced"),
        toggled=things("istoggled"),
        digest=digest,
    )


def _one_each(facts: list[list[str]], what: str) -> dict[str, str]:
    values = dict(facts)
    if len(values) != len(facts):
        twice = next(name for name, count in Counter(name for name, _ in facts).items() if count > 1)
        raise ProblemError(f"{twice!r} has more than one {what}")
    return values
