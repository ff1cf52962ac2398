"""An expert that does not know where things are before it has seen them: it visits likely rooms and looks around.

The planner knows the whole house, so its plans go straight to things that nobody could know to be there. A model that
imitates them learns to guess. This expert follows the same plans, but checks each step against what the episode has shown
(observations only, and the rooms that the task names). Before it goes to an unseen room for a thing that it has not seen
either, it visits the rooms where a person would look first for such a thing. Before it acts on a thing that it has not
seen, it looks around. Then it plans again from there.

Its step is a function of the actions so far, so it can continue an episode that another agent began. What the thing is that
the task needs, and what to do with it, it takes from the plan.
"""

import re
from typing import NamedTuple

from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.plan_executor import can_teleport
from step_envs.sciworld.planning.planner import Planner
from step_envs.sciworld.planning.replay_simulator import StateView
from step_envs.sciworld.planning.rooms import DOORS, door_is_shut, room_of, route
from step_envs.sciworld.planning.steps import ActionKind, action_kind, normalize

_LIKELY_ROOMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"paint|paper|wood cup", ("art studio",)),
    (r"battery|wire|bulb|buzzer|motor|switch|electric|generator|solar|turbine|\bengine", ("workshop", "outside")),
    (r"seed|soil|plant|tree|flower|bee\b|hive|shovel|living", ("greenhouse", "outside")),
    (r"animal|egg|bird|butterfly|frog|turtle|beaver|mouse|rabbit|wolf|bear", ("outside", "greenhouse")),
    (r"furnace|forge", ("foundry",)),
    (r"axe|fire pit|wood$", ("outside",)),
    (r"stopwatch|inclined|block", ("workshop", "living room", "bedroom")),
    (r"toilet|bath", ("bathroom",)),
    (r"book|bed|picture", ("living room", "bedroom")),
    (r"", ("kitchen",)),
)
"""Pattern of a thing's name -> the rooms where a person looks for it first."""

_ALL_ROOMS = (
    "kitchen", "living room", "bedroom", "workshop", "bathroom",
    "art studio", "greenhouse", "outside", "foundry", "hallway",
)  # fmt: skip
"""The order of the rooms that are left when the likely ones were visited."""

_SOUGHT: tuple[tuple[tuple[str, ...], str], ...] = (
    (("find-animal", "lifespan-", "identify-life-stages-1"), "animal"),
    (("find-non-living",), "any thing"),
    (("find-living", "find-plant", "identify-life-stages-2", "grow-", "mendelian-"), "plant"),
)
"""Tasks that ask for any thing of a kind: there the name of the thing in the plan says more than an agent can know."""

_TOOLS = re.compile(
    r"(thermometer|stopwatch|shovel|axe|lighter|(metal|ceramic|glass|tin|wood)? ?(pot|cup|jar|jug|bowl)|stove|oven|sink|"
    r"freezer|fridge|cupboard|blast furnace|fire pit|battery|.*wire|bee hive)"
)
_VERB = re.compile(r"(pick up|put down|focus on|look (at|in)|\w+) ")
_BETWEEN = re.compile(r" (?:to|into|on|in) ")
_UNTOLD = frozenset(
    ("agent", "anode", "cathode", "gas", "inventory", "liquid", "room", "solid", "stage", "substance", "terminal")
)
"""Words in the names of things that a look around does not print with them."""


class Search(NamedTuple):
    """What a movement of the explorer looks for.

    Attributes:
        room: The room to be looked at.
        thing: The thing that it has not seen yet; None if it has no name that an agent can know.
    """

    room: str
    thing: str | None


class ExplorerStep(NamedTuple):
    """An action of the explorer.

    Attributes:
        action: The action.
        search: What it looks for, if the action goes to a room that was not seen yet.
    """

    action: str
    search: Search | None = None


def next_step(planner: Planner, state: ActionHistory) -> ExplorerStep | None:
    """Decide the next step by what the episode has shown so far.

    Args:
        planner: Plans, and knows what was seen in each state.
        state: The episode so far.

    Returns:
        The step; None if the task is done, or if no plan leads to success.
    """
    now = planner.simulator.observe(state)
    if now.solved or now.reply.done:
        return None
    knowledge = _Knowledge(planner.simulator.observe_all(state), planner.simulator.task_description(state))
    if now.room not in knowledge.rooms and not now.asks_which_object:
        return ExplorerStep("look around")
    plan = planner.plan(state)
    if not plan:
        return None
    if now.asks_which_object:
        return ExplorerStep(plan[0])
    room, action = _destination(plan)
    if room is not None and room != now.room:
        needed = knowledge.unseen_things(action)
        if needed and room not in knowledge.rooms:
            return _search(planner, state, knowledge, room, needed) or ExplorerStep(plan[0])
    elif (
        action_kind(plan[0]) is ActionKind.ACT
        and knowledge.unseen_things(plan[0])
        # Only once: some names of the engine are not shown by any look around.
        and not (state.actions and normalize(state.actions[-1]) == "look around")
    ):
        return ExplorerStep("look around")
    return ExplorerStep(plan[0])


def explore(planner: Planner, state: ActionHistory, limit: int = 500) -> list[str] | None:
    """Imagine the explorer's whole way from a state.

    Args:
        planner: Plans, and knows what was seen in each state.
        state: The episode so far.
        limit: Steps after which it gives up.

    Returns:
        Its actions up to success; None if it does not succeed.
    """
    start = len(state.actions)
    while not planner.simulator.observe(state).solved:
        step = next_step(planner, state)
        if step is None or len(state.actions) - start >= limit:
            return None
        state = state.then(step.action)
    return list(state.actions[start:])


class _Knowledge:
    """What an agent can know: the observations of the episode, and the words of the task.

    Attributes:
        rooms: The rooms that it has looked around in.
    """

    def __init__(self, views: list[StateView], instruction: str) -> None:
        observations = [view.reply.observation for view in views]
        self.rooms = {room_of(observation) for observation in observations} - {""}
        self._instruction = instruction.lower()
        self._seen_words = {word for text in observations for word in _words_of(text.lower())}

    def unseen_things(self, action: str) -> list[str]:
        """Return the names in an action that no observation has shown."""
        return [name for name in _names_in(action) if not _words_of(name) - _UNTOLD <= self._seen_words]

    def is_told(self, name: str) -> bool:
        """Return True if the task itself names a thing or a room."""
        return _words_of(name) <= _words_of(self._instruction)


def _destination(plan: list[str]) -> tuple[str | None, str]:
    """Return the room that a plan travels to first, if it does, and the first action that is done there."""
    room = None
    for action in plan:
        if action_kind(action) not in (ActionKind.TRAVEL, ActionKind.LOOK):
            return room, action
        place = re.fullmatch(r"(?:go|teleport) to (.+)", normalize(action))
        if place and place[1] in DOORS:
            room = place[1]
    return room, ""


def _search(
    planner: Planner, state: ActionHistory, knowledge: _Knowledge, goal: str, needed: list[str]
) -> ExplorerStep | None:
    """Return the step to the likeliest room that was not seen, at last to the room where the plan goes.

    Args:
        planner: Plans.
        state: The episode so far.
        knowledge: What the agent knows.
        goal: The room where the plan goes.
        needed: The things that the plan needs there and that were not seen.

    Returns:
        The step; None if no plan is known after it.
    """
    kind = next((kind for tasks, kind in _SOUGHT if state.task.startswith(tasks)), None)
    named = [thing for thing in needed if knowledge.is_told(thing) or _TOOLS.fullmatch(thing)]
    thing = named[0] if named and kind is None else None
    likely = next(rooms for pattern, rooms in _LIKELY_ROOMS if re.search(pattern, kind or needed[0]))
    order = [goal] if knowledge.is_told(goal) else list(dict.fromkeys((*likely, *_ALL_ROOMS)))
    look = planner.simulator.observe(state).look
    for room in order[: order.index(goal) + 1]:
        if room not in knowledge.rooms:
            action = _action_towards(state, look, room)
            # A detour can cost the task, e.g. if a substance cools down meanwhile.
            if planner.plan(state.then(action)):
                return ExplorerStep(action, Search(room, thing))
    return None


def _action_towards(state: ActionHistory, look: str, room: str) -> str:
    if can_teleport(state):
        return f"teleport to {room}"
    there = route(look, room)[0]
    return f"open door to {there}" if door_is_shut(look, there) else f"go to {there}"


def _names_in(action: str) -> list[str]:
    """Return the names of things in an action: ``metal pot`` and ``stove`` in ``move metal pot to stove``."""
    return _BETWEEN.split(_VERB.sub("", normalize(action), count=1))


def _words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]{3,}", text))
