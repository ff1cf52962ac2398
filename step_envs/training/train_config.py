"""The configuration of a training: which trajectories are trained on, by which recipe, and how the model is trained."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from step_envs.loss_weights import Masking
from step_envs.store import read_trajectories
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.masking import check_masking
from step_envs.training.recipes import Material, Recipe, TrainingStart, make_recipe
from step_envs.training.tokens import Thoughts

_FILTERS = ("min_score", "max_errors", "allow_unknown")


class TrainConfig(FinetuneConfig):
    """Everything that a training is started with; kept as ``train.json`` beside the checkpoint.

    Attributes:
        runs: Run folders or trajectory files to train on.
        model: Checkpoint to start from: a folder, or a name on the hub.
        recipe: The method of training, as ``name`` or ``name:option=value,...``; see ``RECIPES``.
        download: Download the model if it is not on this machine.
        chat_template: File with the chat template to train with; None is the model's own.
        template_options: Variables of the chat template, e.g. ``{"enable_thinking": False}``; written into the template
            that is saved with the result.
        thoughts: ``text`` trains ``Thought: ...`` as it is; ``section`` puts it where the template has thoughts.
        masking: How error turns are trained on; see ``masked_messages``. None is the recipe's own, as for the next.
        error_weight: Weight of error turns under the mask ``partial``, from 0 to 1.
        min_score: Drop trajectories with a lower final score.
        max_errors: Drop trajectories with more error turns; None is the environment's own number.
        allow_unknown: Keep trajectories with a step on which the teacher gave no verdict.
        validation: Share of the tasks that is not trained on, and on which the loss is logged; ``seed`` decides which.
    """

    runs: tuple[Path, ...] = Field(min_length=1)
    model: str
    recipe: str = "step"
    download: bool = False
    chat_template: Path | None = None
    template_options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    thoughts: Thoughts = "text"
    masking: Annotated[Masking, BeforeValidator(check_masking)] | None = None
    error_weight: float | None = None
    min_score: float = 1.0
    max_errors: int | None = Field(None, ge=0)
    allow_unknown: bool = False
    validation: float = Field(0.0, ge=0, lt=1)

    def make_recipe(self) -> Recipe:
        """Make the recipe.

        Raises:
            UnknownNameError: There is no such recipe or mask.
            ValueError: One of its options does not fit.
        """
        made = self._made()
        unused = [name for name in _FILTERS if not made.filters and self._differs(name)]
        unused += ["thoughts"] if not made.writes_thoughts and self._differs("thoughts") else []
        if unused:
            raise ValueError(f"The recipe {made.name!r} does not know {', '.join(unused)}: leave it away.")
        if self.validation and not made.validates:
            raise ValueError(f"The recipe {made.name!r} {made.no_validation}: leave validation away.")
        return made

    def _differs(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def _made(self) -> Recipe:
        masks = {"masking": self.masking, "error_weight": self.error_weight}
        return make_recipe(self.recipe, **{name: value for name, value in masks.items() if value is not None})

    def read(self) -> Material:
        """Read the trajectories of all runs.

        Raises:
            StoreError: A run cannot be read.
        """
        return Material.of(trajectory for run in self.runs for trajectory in read_trajectories(run))

    def start(self, model: Path, tokenizer: Any) -> TrainingStart:
        """Return what the training starts from.

        Args:
            model: Folder of the checkpoint.
            tokenizer: Its tokenizer, with the chat template to train with.
        """
        settings = self.model_dump(include=set(FinetuneConfig.model_fields), exclude_unset=True)
        return TrainingStart(
            model=model,
            tokenizer=tokenizer,
            config=FinetuneConfig.model_validate(settings),
            thoughts=self.thoughts,
            min_score=self.min_score,
            max_errors=self.max_errors,
            allow_unknown=self.allow_unknown,
            validation=self.validation,
        )
