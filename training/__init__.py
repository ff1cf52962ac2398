"""What becomes of trajectories: filters, exact masks, data sets, fine-tuning, evaluation, and the three stages of STeP."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from step_envs.training.behaviour import Behaviour
    from step_envs.training.comparison import Comparison, compare
    from step_envs.training.dataset import DatasetReport, build_dataset, mix
    from step_envs.training.evaluate import EvalConfig, Evaluation
    from step_envs.training.filters import Selection, halve_tasks, select
    from step_envs.training.finetune import FinetuneConfig
    from step_envs.training.masking import masked_messages
    from step_envs.training.recovery import Recovery, recover
    from step_envs.training.tokens import Sample, TrajectoryEncoder, tokenize_trajectory

# Looked up on first use, so that who only filters does not wait for what only training needs. The functions finetune and
# evaluate are in the modules of their names.
_LAZY = {
    "Behaviour": "step_envs.training.behaviour",
    "Comparison": "step_envs.training.comparison",
    "DatasetReport": "step_envs.training.dataset",
    "EvalConfig": "step_envs.training.evaluate",
    "Evaluation": "step_envs.training.evaluate",
    "FinetuneConfig": "step_envs.training.finetune",
    "Recovery": "step_envs.training.recovery",
    "Sample": "step_envs.training.tokens",
    "Selection": "step_envs.training.filters",
    "TrajectoryEncoder": "step_envs.training.tokens",
    "compare": "step_envs.training.comparison",
    "recover": "step_envs.training.recovery",
    "build_dataset": "step_envs.training.dataset",
    "halve_tasks": "step_envs.training.filters",
    "masked_messages": "step_envs.training.masking",
    "mix": "step_envs.training.dataset",
    "select": "step_envs.training.filters",
    "tokenize_trajectory": "step_envs.training.tokens",
}

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
    "halve_tasks",
    "masked_messages",
    "mix",
    "recover",
    "select",
    "tokenize_trajectory",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
