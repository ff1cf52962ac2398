"""Words a thought: one plain first-person sentence that says why a step is taken, for ReAct text.

Planner and explorer give a ``Reason``; this file turns it into a sentence. A model that is trained on one wording learns
the wording, so there are several for each kind of reason. The task and the step decide which one is used: the same step of
the same task always has the same thought, in any process. The brief style has one wording and repeats the goal, so that a
very small model finds everything close by that decides its next words.
"""

import zlib
from dataclasses import dataclass

from step_envs.alfworld.games.goal import Goal

_WORDINGS: dict[str, tuple[str, ...]] = {
    # Looking for something whose place is not known.
    "search first": (
        "First I need to find {a_thing}. A good place to begin is {receptacle}.",
        "I have to find {a_thing}. I'd expect one {on_kind}, so I'll begin with {receptacle}.",
        "The task needs {a_thing}, and I don't know where one is. I'll start at {receptacle}.",
    ),
    "search": (
        "I haven't found {a_thing} yet. Let me check {receptacle}.",
        "Still no {thing}. There may be one {on_kind}, so I'll try {receptacle} next.",
        "Where else could {a_thing} be? I'll have a look at {receptacle}.",
        "I'm still looking for {a_thing}, and {receptacle} is worth a look.",
        "Not here. {receptacle} is the next place where I'd look for {a_thing}.",
    ),
    "search open": (
        "{receptacle} is closed, and there may be {a_thing} inside, so I'll open it.",
        "I can't see into {receptacle} while it is closed. Let me open it and look for {a_thing}.",
        "There could be {a_thing} in there, so I'll open {receptacle}.",
    ),
    "search here": (
        "{receptacle} is right in front of me too, so I'll see whether there is {a_thing}.",
        "Before I walk on, I should look at {receptacle} for {a_thing}.",
    ),
    # Getting something whose place is known.
    "fetch": (
        "I know that {item} is {on_receptacle}, so I'll go there to get it.",
        "{item} will do, and it is {on_receptacle}. I'll go and fetch it.",
        "The {thing} I need, {item}, is {on_receptacle}, so that's where I go now.",
    ),
    "fetch open": (
        "{item} is inside {receptacle}, so I have to open it first.",
        "To get at {item} I need to open {receptacle}.",
    ),
    "take": (
        "Here is {item}, just what I'm looking for. I'll take it.",
        "{item} is what the task asks for, so I'll pick it up.",
        "I can see {item} here. I'll take it from {receptacle}.",
    ),
    # Changing its state.
    "treat go": (
        "Now that I have {item}, I have to {verb} it, and I can do that at {receptacle}.",
        "{item} still has to be {done}. I'll bring it to {receptacle}.",
        "The task wants the {thing} {state}, so next I go to {receptacle} to {verb} it.",
    ),
    "treat": (
        "I'm at {receptacle} with {item} in my hand, so I can {verb} it now.",
        "This is where I can {verb} {item}, as the task asks.",
        "Before I put {item} away it has to be {state}, so I'll {verb} it here.",
    ),
    # Bringing it to where it belongs.
    "bring": (
        "I have {item}, and it belongs {on_receptacle}. I'll go there.",
        "{item} is ready, so I'll carry it to {receptacle}.",
        "All that's left for {item} is to bring it to {receptacle}.",
    ),
    "bring open": (
        "{receptacle} is closed, so I must open it before I can put {item} inside.",
        "I'll open {receptacle} so that I can put {item} there.",
    ),
    "put": (
        "This is where {item} should end up, so I'll put it {on_receptacle}.",
        "I'm at {receptacle} and holding {item}; putting it down here is what the task asks for.",
        "I can put {item} {on_receptacle} now.",
    ),
    # Holding it under a lamp.
    "lamp go": (
        "I'm holding {item}; now I need light, and {lamp} is {on_receptacle}.",
        "Next I go to {receptacle}, because {lamp} is there to look at {item} with.",
        "To examine {item} I need {lamp}, which stands {on_receptacle}.",
    ),
    "lamp use": (
        "{lamp} is right here, so I'll turn it on to look at {item}.",
        "With {item} in my hand, I only have to switch on {lamp}.",
        "Time to turn on {lamp} and look at {item} in its light.",
    ),
    # Getting rid of what is in the way.
    "clear go": (
        "I'm carrying {item}, which I don't need now. I'll leave it {on_receptacle}.",
        "My hand isn't free: {item} is in it. {receptacle} is a good place to leave it.",
    ),
    "clear open": (
        "I want to leave {item} in {receptacle}, so I have to open that first.",
        "{item} can stay in {receptacle}, once that is open.",
    ),
    "clear": (
        "I need a free hand, so I'll leave {item} {on_receptacle}.",
        "{item} is not what I need now, so I'll put it down here.",
    ),
    # Steps that are on no plan.
    "off go": ("I'll go to {receptacle} and see what is there.", "Let me have a look at {receptacle}."),
    "off open": ("I wonder what is in {receptacle}; I'll open it.", "Let me open {receptacle} and look inside."),
    "off close": ("I'm done with {receptacle}, so I'll close it.",),
    "off take": ("I'll take {item}; it may be of use.",),
    "off put": ("I'll put {item} down.",),
    "off look": ("I should look around to see where I am.", "Let me look at what is in front of me."),
    "off inventory": ("I should check what I'm carrying.",),
    "off help": ("Let me see which commands I can use.",),
    "off examine": ("I'll take a closer look at {item}.",),
    "off other": ("I'll try this and see whether it helps with the task.", "This might bring me closer to the goal."),
}

_BRIEF: dict[str, str] = {
    "search first": "no {thing} yet, try {receptacle}",
    "search": "no {thing} yet, try {receptacle}",
    "search open": "no {thing} yet, open {receptacle}",
    "search here": "no {thing} yet, look at {receptacle}",
    "fetch": "{item} is {on_receptacle}",
    "fetch open": "{item} is {on_receptacle}, open it",
    "take": "{item} is here, take it",
    "treat go": "{item} is in hand, {verb} it at {receptacle}",
    "treat": "{item} is in hand, {verb} it",
    "bring": "{item} is in hand, go to {receptacle}",
    "bring open": "{item} is in hand, open {receptacle}",
    "put": "{item} is in hand, put it {on_receptacle}",
    "lamp go": "{item} is in hand, go to {receptacle}",
    "lamp use": "{item} is in hand, use {lamp}",
    "clear go": "{item} is not needed, go to {receptacle}",
    "clear open": "{item} is not needed, open {receptacle}",
    "clear": "{item} is not needed, put it {on_receptacle}",
    "off go": "see what is {on_receptacle}",
    "off open": "see what is {on_receptacle}",
    "off close": "close {receptacle}",
    "off take": "take {item}",
    "off put": "put {item} down",
    "off look": "look around",
    "off inventory": "see what is in hand",
    "off help": "see what can be done",
    "off examine": "look at {item}",
    "off other": "try something",
}

_INSIDE = frozenset(
    {
        "bathtubbasin",
        "cabinet",
        "drawer",
        "fridge",
        "garbagecan",
        "laundryhamper",
        "microwave",
        "safe",
        "sinkbasin",
        "toaster",
    }
)
"""Receptacles that things are "in"; things are "on" all others."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason for a step.

    Attributes:
        kind: Kind of reason, a key of the tables of wordings.
        item, receptacle, thing, lamp, verb, state: What the sentence names; empty if the kind does not need it. ``thing``
            is a type in words; ``item``, ``receptacle`` and ``lamp`` are display names such as ``mug 1``.
    """

    kind: str
    item: str = ""
    receptacle: str = ""
    thing: str = ""
    lamp: str = ""
    verb: str = ""
    state: str = ""


def write_thought(reason: Reason, seed: str) -> str:
    """Write a thought in one of several wordings.

    Args:
        reason: Why the step is taken.
        seed: Decides the wording; the same text always gives the same one.
    """
    wordings = _WORDINGS[reason.kind]
    sentence = _fill(wordings[zlib.crc32(seed.encode(errors="surrogatepass")) % len(wordings)], reason)
    return ". ".join(f"{part[:1].upper()}{part[1:]}" for part in sentence.split(". "))


def write_brief_thought(reason: Reason, goal: Goal) -> str:
    """Write the goal and a brief thought: ``Goal: hot egg in fridge; egg 1 is here, take it.``."""
    thing, place = (name.removesuffix("type") for name in (goal.target, goal.place))
    how = "two" if goal.count > 1 else goal.state
    where = f"under {place}" if goal.needs_light else f"{_preposition(place)} {place}"
    return f"Goal: {f'{how} ' if how else ''}{thing} {where}; {_fill(_BRIEF[reason.kind], reason)}."


def _fill(wording: str, reason: Reason) -> str:
    kind = reason.receptacle.rpartition(" ")[0]
    return wording.format(
        item=reason.item or "it",
        receptacle=reason.receptacle,
        on_receptacle=f"{_preposition(kind)} {reason.receptacle}",
        on_kind=f"{_preposition(kind)} {_article(kind)} {kind}",
        thing=reason.thing,
        a_thing=f"{_article(reason.thing)} {reason.thing}",
        lamp=reason.lamp,
        verb=reason.verb,
        done={"clean": "cleaned", "heat": "heated", "cool": "cooled"}.get(reason.verb, ""),
        state=reason.state,
    )


def _preposition(kind: str) -> str:
    return "in" if kind in _INSIDE else "on"


def _article(noun: str) -> str:
    return "an" if noun[:1] in "aeiou" else "a"


def explain_off_plan(action: str) -> Reason:
    """Give a reason for a step that is on no plan, from the words of the action alone."""
    verb, _, rest = action.strip().partition(" ")
    if verb == "go":
        return Reason("off go", receptacle=rest.removeprefix("to "))
    if verb in ("open", "close"):
        return Reason(f"off {verb}", receptacle=rest)
    if verb == "take":
        return Reason("off take", item=rest.partition(" from ")[0])
    if verb in ("move", "put"):
        return Reason("off put", item=rest.partition(" to ")[0].partition(" in/on ")[0])
    if verb == "examine":
        return Reason("off examine", item=rest)
    return Reason(f"off {verb}" if f"off {verb}" in _WORDINGS else "off other")
