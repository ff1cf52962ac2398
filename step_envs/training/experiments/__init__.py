"""The three stages of STeP as one resumable experiment: ``run`` plays, trains, evaluates and reports a ``Preset``."""

from step_envs.training.experiments.presets import PRESETS, Preset, preset

__all__ = ["PRESETS", "Preset", "preset"]
