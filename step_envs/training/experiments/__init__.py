"""The three stages of STeP as one resumable experiment: ``runner.run`` collects, trains, evaluates and reports.

The way through it: ``experiment_config`` (all settings) and ``presets`` (those that come with the package); ``worlds``
(what differs between worlds) and ``arms`` (what is compared); ``step_plan`` (the steps), ``folders`` (where their files
lie), ``stages`` (what they do), ``training_data`` (what arms are trained on), ``runner`` (several steps at once),
``estimate`` (how long that takes); then ``seed_records``, ``episode_figures``, ``arm_comparisons`` and ``seed_statistics``
(what came out, and what may be claimed), ``report``, ``report_text`` and ``plots``. ``claim_simulation`` measures how often
the claims are wrong.
"""

from step_envs.training.experiments.experiment_config import ExperimentConfig
from step_envs.training.experiments.presets import PRESETS, preset

__all__ = ["PRESETS", "ExperimentConfig", "preset"]
