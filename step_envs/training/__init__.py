"""Training: filter trajectories, mask turns, build data sets, fine-tune and evaluate models.

A reader can follow the data in this order: ``filters``, ``masking``, ``tokens``, ``windowing``, ``dataset``,
``finetuning``, ``evaluation``, ``comparison``. ``recipes`` has a file for each method of the family; those that need more
than fine-tuning have a folder: ``preferences`` (pairs), ``distillation``, ``progress`` (SPA-RL's estimator).
``experiments`` runs recipes as the arms of one comparison.
"""

from step_envs.training.behaviour import Behaviour
from step_envs.training.comparison import Comparison, compare
from step_envs.training.dataset import DatasetReport, build_dataset, mix
from step_envs.training.distillation.config import DistillationConfig, IterationFigures
from step_envs.training.distillation.on_policy import demonstrations, distill
from step_envs.training.distillation.privileged_context import (
    PrivilegedReport,
    PrivilegedRow,
    privileged_rows,
    read_privileged,
)
from step_envs.training.evaluation import EvalConfig, Evaluation, evaluate
from step_envs.training.filters import Selection, halve_tasks, select
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.masking import masked_messages
from step_envs.training.preferences.pair_data import PairReport, PreferencePair, read_pairs, write_pairs
from step_envs.training.preferences.pairs import step_pairs, trajectory_pairs
from step_envs.training.preferences.reply_pairs import reply_pair
from step_envs.training.preferences.tuning import PreferenceConfig, encode_pairs, preference_tune
from step_envs.training.progress.training import ProgressConfig, train_progress_estimator
from step_envs.training.recovery import Recovery, recover
from step_envs.training.tokens import Sample, TrajectoryEncoder, tokenize_trajectory
from step_envs.training.train_config import TrainConfig

__all__ = [
    "Behaviour",
    "Comparison",
    "DatasetReport",
    "DistillationConfig",
    "EvalConfig",
    "Evaluation",
    "FinetuneConfig",
    "IterationFigures",
    "PairReport",
    "PreferenceConfig",
    "PreferencePair",
    "PrivilegedReport",
    "PrivilegedRow",
    "ProgressConfig",
    "Recovery",
    "Sample",
    "Selection",
    "TrainConfig",
    "TrajectoryEncoder",
    "build_dataset",
    "compare",
    "demonstrations",
    "distill",
    "encode_pairs",
    "evaluate",
    "finetune",
    "halve_tasks",
    "masked_messages",
    "mix",
    "preference_tune",
    "privileged_rows",
    "read_pairs",
    "read_privileged",
    "recover",
    "reply_pair",
    "select",
    "step_pairs",
    "tokenize_trajectory",
    "train_progress_estimator",
    "trajectory_pairs",
    "write_pairs",
]
