"""Asking a teacher for a verdict: its correction must be admissible, and it is asked once more if it is not.

A correction that the world refuses would be trained on as if it were right. So every verdict, from whatever teacher, is
checked here against the world before it counts.
"""

from contextlib import nullcontext
from dataclasses import replace

from step_envs.core import TextEnv
from step_envs.errors import TeacherError
from step_envs.trajectory import Verdict
from step_envs.wrappers.backtracking import world_at
from step_envs.wrappers.teachers.base import Teacher, TeacherContext


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
    with world_at(world, context.before) if verdict.undo else nullcontext():
        action = _admissible_spelling(verdict.corrected_action or "", world)
    return None if action is None else verdict.model_copy(update={"corrected_action": action})


def _admissible_spelling(written: str, world: TextEnv) -> str | None:
    plain = one_line(written)
    if world.accepts(plain):
        return plain
    # White space can be part of an action (options of real shops contain no-break spaces), and a reader cannot see which
    # kind it is.
    return next((action for action in world.admissible_actions() if one_line(action) == plain), None)
