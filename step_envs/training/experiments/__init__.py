"""The three stages of STeP as one resumable experiment: ``runner.run`` collects, trains, evaluates and reports."""

from step_envs.training.experiments.presets import PRESETS, Preset, preset

__all__ = ["PRESETS", "Preset", "preset"]
