"""Wrappers: the world as a chat, the record of an episode, the teacher that watches it."""

from step_envs.wrappers.react import ReActWrapper
from step_envs.wrappers.record import RecordTrajectory
from step_envs.wrappers.reply import Reply, parse_action
from step_envs.wrappers.teacher_monitor import TeacherMonitorWrapper

__all__ = ["ReActWrapper", "RecordTrajectory", "Reply", "TeacherMonitorWrapper", "parse_action"]
