"""Making teachers from a line of text: ``oracle``, ``openai:model=...,base_url=...``, ``my_module.MyTeacher``."""

from typing import Any

from step_envs.specs import make_from_spec
from step_envs.wrappers.teachers.base import Teacher

TEACHERS = {
    "chat": "step_envs.wrappers.teachers.openai:OpenAITeacher",  # as an agent of this kind is called
    "hybrid": "step_envs.wrappers.teachers.hybrid:HybridTeacher",
    "local": "step_envs.agents.local.local_teacher:LocalTeacher",
    "openai": "step_envs.wrappers.teachers.openai:OpenAITeacher",
    "oracle": "step_envs.wrappers.teachers.oracle:OracleTeacher",
    "step_reward": "step_envs.credit.step_reward_teacher:StepRewardTeacher",
    "self": "step_envs.wrappers.teachers.self_teacher:SelfTeacher",
}
"""Name of each built-in teacher -> its module and class."""


def make_teacher(spec: str, **further: Any) -> Teacher:
    """Make a teacher from ``name`` or ``name:option=value,...``.

    Args:
        spec: The specification. A teacher of your own is named by its module and class, ``my_module.MyTeacher``.
        **further: Arguments in addition to those of the specification, e.g. ``chat=`` for the teacher ``self``.

    Raises:
        UnknownNameError: There is no such teacher.
        ValueError: An option is malformed or unknown to the teacher, or the named object is no teacher.
    """
    teacher = make_from_spec(spec, TEACHERS, "teacher", **further)
    if not isinstance(teacher, Teacher):
        raise ValueError(  # noqa: TRY004  (it is the user's words that are wrong)
            f"The teacher {spec!r} is a {type(teacher).__name__}, not a step_envs.wrappers.teachers.Teacher."
        )
    return teacher
