"""The conformance kit for environments: ``check_text_env`` checks everything that the contract promises."""

from step_envs.testing.conformance import check_text_env
from step_envs.testing.garbled import garbled_snapshots
from step_envs.testing.plays import ODD_ACTIONS, ConformanceError, play, script

__all__ = ["ODD_ACTIONS", "ConformanceError", "check_text_env", "garbled_snapshots", "play", "script"]
