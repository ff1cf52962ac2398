"""Teachers: who judges each action of an agent.

``OracleTeacher`` asks the world itself; the others ask a language model. None of these modules imports the client of an
endpoint: it is imported when a model is first asked.
"""

from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.hybrid import HybridTeacher
from step_envs.wrappers.teachers.openai import OpenAITeacher
from step_envs.wrappers.teachers.oracle import OracleTeacher
from step_envs.wrappers.teachers.self_teacher import SelfTeacher

__all__ = ["HybridTeacher", "OpenAITeacher", "OracleTeacher", "SelfTeacher", "Teacher", "TeacherContext"]
