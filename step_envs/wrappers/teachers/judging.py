"""Asking a teacher for a verdict: its correction must be admissible, and it is asked once more if it is not.

A correction that the world refuses would be trained on as if it were right. So every verdict, from whatever teacher, is
checked here against the world before it counts.
"""

import re
from contextlib import nullcontext
from dataclasses import replace

from step_envs.core import TextEnv
from step_envs.errors import TeacherError
from step_envs.replies import short_quote
from step_envs.trajectory import Verdict
from step_envs.wrappers.backtracking import world_at
from step_envs.wrappers.teachers.base import Teacher, TeacherContext

_WORD = re.compile(r"[^\W_]+")
_EMPTY_WORDS = frozenset(
    ["a", "an", "the", "to", "in", "on", "of", "for", "from", "with", "into", "onto", "at", "and", "or", "it"]
)
_PRESENT = {"went": "go", "going": "go", "took": "take", "taken": "take", "taking": "take", "moving": "move"} | {
    "bought": "buy",
    "chose": "choose",
    "using": "use",
    "used": "use",
    "putting": "put",
    "heating": "heat",
}
"""Forms of verbs that do not begin with the verb -> the verb."""


def judge(teacher: Teacher, context: TeacherContext) -> Verdict:
    """Have a teacher judge an action.

    Args:
        teacher: The teacher.
        context: The action; its world is left in the state it is in.

    Returns:
        The verdict, its correction spelled as the world accepts it, with what all questions cost together; ``unknown`` if
        the teacher gives none, or twice a correction that cannot be carried out.

    Raises:
        TypeError: The teacher returned something other than a ``Verdict``.
    """
    first = _ask(teacher, context)
    checked = _with_admissible_correction(first, context)
    if checked is not None:
        return checked
    complaint = f"The corrected action {first.corrected_action!r} is not admissible in this state."
    second = _ask(teacher, replace(context, complaint=complaint))
    usage = [verdict.usage for verdict in (first, second) if verdict.usage is not None]
    paid = sum(usage[1:], usage[0]) if usage else None
    checked = _with_admissible_correction(second, context)
    if checked is None:
        reason = f"The corrected action {second.corrected_action!r} is not admissible, even after asking again."
        return Verdict(status="unknown", reason=reason, usage=paid)
    return checked.model_copy(update={"usage": paid})


def what_is_not_said(words: str, action: str | None, corrected_action: str) -> str | None:
    """Check that a reflection speaks of the step it corrects, because "The task is wrong." would be trained like any other.

    Args:
        words: Error, reason and reflection.
        action: The wrong action; None if the reply held none.
        corrected_action: The action to take instead.

    Returns:
        What is wrong, in one sentence; None if the words name one of the two actions or a thing in them.
    """
    step = short_quote(action) if action is not None else "action reply format"
    named = {word for word in _WORD.findall(f"{step} {corrected_action}".lower()) if word not in _EMPTY_WORDS}
    said = {_PRESENT.get(word, word) for word in _WORD.findall(words.lower())}
    if not named or any(word in said or any(_same_stem(word, one) for one in said) for word in named):
        return None
    return f"It does not speak of the step: name the action {step!r}, or a thing in it, and what to do instead."


def _same_stem(word: str, said: str) -> bool:
    """Return True for ``open`` and ``opened``, ``mugs`` and ``mug``."""
    shorter, longer = sorted((word, said), key=len)
    return len(shorter) > 2 and longer.startswith(shorter) and len(longer) - len(shorter) <= 3


def one_line(text: str) -> str:
    """Put a text on one line, with single spaces."""
    return " ".join(text.split())


def _ask(teacher: Teacher, context: TeacherContext) -> Verdict:
    try:
        verdict = teacher.judge(context)
    except TeacherError as error:
        return Verdict(status="unknown", reason=str(error))
    if not isinstance(verdict, Verdict):
        raise TypeError(f"A teacher returns a Verdict, {type(teacher).__name__} returned {verdict!r}.")
    return verdict


def _with_admissible_correction(verdict: Verdict, context: TeacherContext) -> Verdict | None:
    """Return the verdict with its correction spelled as the world accepts it; None if the world does not accept it."""
    if verdict.status != "error":
        return verdict
    world = context.env
    with world_at(world, context.point_before) if verdict.undo else nullcontext():
        action = _admissible_spelling(verdict.corrected_action or "", world)
    return None if action is None else verdict.model_copy(update={"corrected_action": action})


def _admissible_spelling(written: str, world: TextEnv) -> str | None:
    plain = one_line(written)
    if world.accepts(plain):
        return plain
    # White space can be part of an action (options of real shops contain no-break spaces), and a reader cannot see which
    # kind it is.
    return next((action for action in world.admissible_actions() if one_line(action) == plain), None)
