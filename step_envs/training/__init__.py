"""Training: filter trajectories, mask turns, build data sets, fine-tune and evaluate models.

A reader can follow the data in this order: ``filters``, ``masking``, ``tokens``, ``windowing``, ``dataset``,
``finetuning``, ``evaluation``, ``comparison``; ``experiments`` runs all of it as the three stages of STeP.
"""

from step_envs.training.behaviour import Behaviour
from step_envs.training.comparison import Comparison, compare
from step_envs.training.dataset import DatasetReport, build_dataset, mix
from step_envs.training.evaluation import EvalConfig, Evaluation, evaluate
from step_envs.training.filters import Selection, halve_tasks, select
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.masking import masked_messages
from step_envs.training.recovery import Recovery, recover
from step_envs.training.tokens import Sample, TrajectoryEncoder, tokenize_trajectory
from step_envs.training.train_config import TrainConfig

__all__ = [
    "Behaviour",
    "Comparison",
    "DatasetReport",
    "EvalConfig",
    "Evaluation",
    "FinetuneConfig",
    "Recovery",
    "Sample",
    "Selection",
    "TrainConfig",
    "TrajectoryEncoder",
    "build_dataset",
    "compare",
    "evaluate",
    "finetune",
    "halve_tasks",
    "masked_messages",
    "mix",
    "recover",
    "select",
    "tokenize_trajectory",
]
