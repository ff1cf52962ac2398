"""How a teacher is asked: its correction must be admissible, and it is asked once more if it is not."""

from dataclasses import replace

from step_envs.errors import TeacherError
from step_envs.trajectory import Verdict
from step_envs.wrappers.teachers.base import Teacher, TeacherContext


def judge(teacher: Teacher, context: TeacherContext) -> Verdict:
    """Have a teacher judge an action.

    Args:
        teacher: Who judges.
        context: What is judged; its world is left in the state it is in.

    Returns:
        The verdict, with what both askings cost; ``unknown`` where the teacher has none, or none that can be carried out.
    """
    first = _ask(teacher, context)
    if not _misguided(first, context):
        return first
    complaint = f"The corrected action {first.corrected_action!r} is not admissible in this state."
    second = _ask(teacher, replace(context, complaint=complaint))
    usage = [verdict.usage for verdict in (first, second) if verdict.usage is not None]
    paid = sum(usage[1:], usage[0]) if usage else None
    if _misguided(second, context):
        reason = f"The corrected action {second.corrected_action!r} is not admissible, even after asking again."
        return Verdict(status="unknown", reason=reason, usage=paid)
    return second.model_copy(update={"usage": paid})


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


def _misguided(verdict: Verdict, context: TeacherContext) -> bool:
    if verdict.status != "error":
        return False
    world, action = context.env, one_line(verdict.corrected_action or "")
    if not verdict.undo:
        return not world.accepts(action)
    now = world.snapshot()
    world.restore(context.before)
    accepted = world.accepts(action)
    world.restore(now)
    return not accepted
