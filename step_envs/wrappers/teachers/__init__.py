"""Teachers: who judges each action."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.oracle import OracleTeacher

if TYPE_CHECKING:
    from step_envs.wrappers.teachers.hybrid import HybridTeacher
    from step_envs.wrappers.teachers.openai import OpenAITeacher
    from step_envs.wrappers.teachers.self_teacher import SelfTeacher

__all__ = ["HybridTeacher", "OpenAITeacher", "OracleTeacher", "SelfTeacher", "Teacher", "TeacherContext"]

# Looked up on first use: who teaches with the oracle need not wait for what talks to endpoints.
_LAZY = {
    "HybridTeacher": "step_envs.wrappers.teachers.hybrid",
    "OpenAITeacher": "step_envs.wrappers.teachers.openai",
    "SelfTeacher": "step_envs.wrappers.teachers.self_teacher",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
