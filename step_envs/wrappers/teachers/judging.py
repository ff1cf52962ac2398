"""How a teacher is asked: its correction must be admissible, and it is asked once more if it is not."""

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
        teacher: Who judges.
        context: What is judged; its world is left in the state it is in.

    Returns:
        The verdict, its correction written as the world takes it, with what both askings cost; ``unknown`` where the
        teacher has none, or none that can be carried out.
    """
    first = _ask(teacher, context)
    settled = _settled(first, context)
    if settled is not None:
        return settled
    complaint = f"The corrected action {first.corrected_action!r} is not admissible in this state."
    second = _ask(teacher, replace(context, complaint=complaint))
    usage = [verdict.usage for verdict in (first, second) if verdict.usage is not None]
    paid = sum(usage[1:], usage[0]) if usage else None
    settled = _settled(second, context)
    if settled is None:
        reason = f"The corrected action {second.corrected_action!r} is not admissible, even after asking again."
        return Verdict(status="unknown", reason=reason, usage=paid)
    return settled.model_copy(update={"usage": paid})


def one_line(text: str) -> str:
    """Put a text on one line, in single spaces."""
    return " ".join(text.split())


def _ask(teacher: Teacher, context: TeacherContext) -> Verdict:
    try:
        verdict = teacher.judge(context)
    except TeacherError as error:
        return Verdict(status="unknown", reason=str(error))
    if not isinstance(verdict, Verdict):
        raise TypeError(f"A teacher returns a Verdict, {type(teacher).__name__} returned {verdict!r}.")
    return verdict


def _settled(verdict: Verdict, context: TeacherContext) -> Verdict | None:
    """Give a verdict whose correction is written as the world takes it; None where the world does not take it at all."""
    if verdict.status != "error":
        return verdict
    world = context.env
    with world_at(world, context.before) if verdict.undo else nullcontext():
        action = _spelled(verdict.corrected_action or "", world)
    return None if action is None else verdict.model_copy(update={"corrected_action": action})


def _spelled(written: str, world: TextEnv) -> str | None:
    plain = one_line(written)
    if world.accepts(plain):
        return plain
    # White space can belong to an action (an option of a real shop with a no-break space), and nobody sees which it is.
    return next((action for action in world.admissible_actions() if one_line(action) == plain), None)
