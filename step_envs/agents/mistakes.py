"""The mistakes of a half-trained agent, made from what a world would accept now.

Words that no world knows ("take the gizmo") would be the easiest mistakes to make, and the least useful: a teacher sees
them at once, and a correction of them teaches nothing about the task. So a mistake is an action that the world carries
out, and that is wrong all the same: by the oracle, the goal is no nearer after it. That is asked of the oracle, because
the text of an action does not tell: another mug may be as good, and a later step may just as well be taken now.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from step_envs.core import TextEnv

MistakeKind = Literal["wrong object", "wrong place", "too early", "undone work", "repeated step", "invalid text"]
"""``wrong object``: the right thing done to another object; in WebShop another product, option or search. ``wrong place``:
a move to another place. ``too early``: a later step of the plan, before one that it needs. ``undone work``: puts back,
closes or returns. ``repeated step``: the last step again. ``invalid text``: what the world does not understand."""

_WEIGHTS: dict[MistakeKind, float] = {
    "wrong object": 0.25,
    "wrong place": 0.15,
    "too early": 0.25,
    "undone work": 0.25,
    "repeated step": 0.05,
    "invalid text": 0.05,
}
"""How often a kind is tried first. Worlds seldom understand the last two, so these are rare, and they come last where the
kind that was drawn is not possible in a state."""
KINDS: tuple[MistakeKind, ...] = tuple(_WEIGHTS)

_TRIES = 3
"""Actions of a kind that are tried out, before another kind is tried: in ScienceWorld each takes the oracle a moment."""
_NOT_THINGS = ("gizmo", "widget", "that thing", "stuff")


def draw_mistake(
    world: TextEnv, planned: str, earlier: Sequence[str], previous: str | None, rng: np.random.Generator
) -> tuple[MistakeKind, str]:
    """Choose a wrong action for the current state.

    Args:
        world: The world, with a running episode; it is left in the state it is in.
        planned: The oracle's next action.
        earlier: The actions of the episode so far, the first one first.
        previous: The agent's own last action, for a repetition; None at the beginning.
        rng: Decides the kind and the action.

    Returns:
        The kind of mistake and the action. Where nothing that the world accepts is wrong, it is ``invalid text``.
    """
    plan = world.oracle.plan() or [planned]
    order = [KINDS[i] for i in rng.choice(len(KINDS), size=len(KINDS), replace=False, p=list(_WEIGHTS.values()))]
    first = order[0]
    # False comes before True, and otherwise the order stays as it was drawn.
    order.sort(key=lambda kind: (kind != first, kind == "invalid text", kind == "repeated step"))
    for kind in order:
        if kind == "invalid text":
            break
        options = [previous or ""] if kind == "repeated step" else _candidates(world, kind, planned, plan, earlier)
        for index in rng.permutation(len(options))[:_TRIES]:
            action = options[index]
            if action and action != planned and is_wrong(world, action, plan):
                return kind, action
    return "invalid text", invalid_text(world.verb_of(planned), rng)


def _candidates(
    world: TextEnv, kind: MistakeKind, planned: str, plan: Sequence[str], earlier: Sequence[str]
) -> list[str]:
    """List admissible actions that may be a mistake of one kind."""
    # Where the agent is by its last move, it cannot go wrongly: that would only repeat a step.
    last_move = next((action for action in reversed(earlier) if world.is_move(action)), None)
    others = [action for action in world.admissible_actions() if action not in (planned, last_move)]
    if kind == "wrong place":
        return [action for action in others if world.is_move(action) and not _undoes(world, action, earlier)]
    if kind == "undone work":
        return [action for action in others if _undoes(world, action, earlier)]
    # To look at something is no mistake, so it would not be one of another object either.
    acts = [action for action in others if not world.oracle.is_informative(action)]
    if kind == "too early":
        return [action for action in acts if action in plan[1:]]
    # On the way to another place, the wrong thing is done with what happens to be here.
    verbs = {world.verb_of(action) for action in (plan if world.is_move(planned) else [planned])}
    alike = [action for action in acts if world.verb_of(action) in verbs and not world.is_move(action)]
    return [*(action for action in alike if action not in plan), *world.vaguer(planned)]


def _undoes(world: TextEnv, action: str, earlier: Sequence[str]) -> bool:
    """Return True if an action returns to a place or takes back what was done."""
    if world.is_move(action) and action in earlier:
        return True
    return any(world.takes_back(action, before) for before in earlier)


def is_wrong(world: TextEnv, action: str, plan: Sequence[str]) -> bool:
    """Return True if the goal is no nearer after an action, or out of reach.

    Args:
        world: The world, in the state before it.
        action: The action.
        plan: The oracle's plan from that state.
    """
    rest = world.oracle.plan(after=[action])
    return rest is None or len(rest) >= len(plan)


def invalid_text(verb: str, rng: np.random.Generator) -> str:
    """Make an action that no world understands."""
    return f"{verb} the {_NOT_THINGS[int(rng.integers(len(_NOT_THINGS)))]}"
