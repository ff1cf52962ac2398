"""The configuration of a training: which trajectories are trained on, how they are masked, and how the model is trained."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from step_envs.store import read_trajectories
from step_envs.training.filters import Selection, select
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.masking import Masking, check_masking
from step_envs.training.tokens import Thoughts


class TrainConfig(FinetuneConfig):
    """Everything that a training is started with; kept as ``train.json`` beside the checkpoint.

    Attributes:
        runs: Run folders or trajectory files to train on.
        model: Checkpoint to start from: a folder, or a name on the hub.
        download: Download the model if it is not on this machine.
        chat_template: File with the chat template to train with; None is the model's own.
        template_options: Variables of the chat template, e.g. ``{"enable_thinking": False}``; written into the template
            that is saved with the result.
        thoughts: ``text`` trains ``Thought: ...`` as it is; ``section`` puts it where the template has thoughts.
        masking: How error turns are trained on; see ``masked_messages``.
        error_weight: Weight of error turns under the mask ``partial``, from 0 to 1.
        min_score: Drop trajectories with a lower final score.
        max_errors: Drop trajectories with more error turns; None is the environment's own number.
        allow_unknown: Keep trajectories with a step on which the teacher gave no verdict.
    """

    runs: tuple[Path, ...] = Field(min_length=1)
    model: str
    download: bool = False
    chat_template: Path | None = None
    template_options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    thoughts: Thoughts = "text"
    masking: Annotated[Masking, BeforeValidator(check_masking)] = "partial"
    error_weight: float = Field(0.0, ge=0, le=1)
    min_score: float = 1.0
    max_errors: int | None = Field(None, ge=0)
    allow_unknown: bool = False

    def select(self) -> Selection:
        """Read the trajectories of all runs and keep those that pass the filters.

        Raises:
            StoreError: A run cannot be read.
        """
        return select(
            (trajectory for run in self.runs for trajectory in read_trajectories(run)),
            min_score=self.min_score,
            max_errors=self.max_errors,
            allow_unknown=self.allow_unknown,
        )

    def finetune_config(self) -> FinetuneConfig:
        """Return the part of the configuration that ``finetune`` takes."""
        return FinetuneConfig(**{name: getattr(self, name) for name in FinetuneConfig.model_fields})
