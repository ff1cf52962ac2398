"""What becomes of trajectories: filters, exact masks, data sets, fine-tuning, evaluation, and the three stages of STeP."""

from step_envs.training.behaviour import Behaviour
from step_envs.training.comparison import Comparison, compare
from step_envs.training.dataset import DatasetReport, build_dataset, mix
from step_envs.training.evaluation import EvalConfig, Evaluation, evaluate
from step_envs.training.filters import Selection, halve_tasks, select
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.masking import masked_messages
from step_envs.training.recovery import Recovery, recover
from step_envs.training.tokens import Sample, TrajectoryEncoder, tokenize_trajectory

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
