"""The interface of a recipe, and the two kinds that most are: training on trajectories, and on preference pairs."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from typing_extensions import override

from step_envs.errors import DataError
from step_envs.loss_weights import Masking
from step_envs.options import NamesOptions
from step_envs.training.dataset import DatasetReport, build_dataset
from step_envs.training.filters import Selection, select
from step_envs.training.finetuning import RECORD as FINETUNE_RECORD
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.recipes.material import Material
from step_envs.training.tokens import Thoughts
from step_envs.training.trainer_setup import TrainerConfig, TrainerRecord
from step_envs.training.validation import split_tasks
from step_envs.trajectory import Trajectory


class Watch(NamedTuple):
    """What a training tells while it runs.

    Attributes:
        on_trainer: Called with each trainer before it starts, e.g. to add a callback.
        on_line: Called with a sentence on what has been done, by trainings that are not one trainer's work.
    """

    on_trainer: Callable[[Any], object] = lambda trainer: None
    on_line: Callable[[str], object] = lambda line: None


@dataclass(frozen=True)
class RecipeCard:
    """What a method is, in the words of ``docs/family.md``.

    Attributes:
        title: Its name in the field.
        paper: arXiv number of the paper that it follows; empty for a plain baseline.
        signal: What tells a good step from a bad one.
        data: What it is trained on.
        loss: What is minimised, and over which tokens.
        difference: What is done differently here than in the paper or its code; empty if nothing is.
    """

    title: str
    paper: str
    signal: str
    data: str
    loss: str
    difference: str = ""


@dataclass(frozen=True)
class TrainingStart:
    """What a training starts from.

    Attributes:
        model: Folder of the checkpoint.
        tokenizer: Its tokenizer, with the chat template to train with.
        config: How to train.
        thoughts: How the thought of a reply is written; see ``TrajectoryEncoder``.
        min_score: See ``filters.select``, as for the next two.
        max_errors: Most errors of a trajectory.
        allow_unknown: Keep trajectories with a verdict that is not known.
        validation: Share of the tasks that is not trained on; see ``validation.split_tasks``.
    """

    model: Path
    tokenizer: Any
    config: FinetuneConfig
    thoughts: Thoughts = "text"
    min_score: float = 1.0
    max_errors: int | None = None
    allow_unknown: bool = False
    validation: float = 0.0

    def select(self, trajectories: Any) -> Selection:
        """Keep the trajectories that pass the filter."""
        return select(
            trajectories, min_score=self.min_score, max_errors=self.max_errors, allow_unknown=self.allow_unknown
        )


@dataclass(frozen=True)
class PreparedTraining:
    """A training whose rows are made and counted, and which has not begun.

    Attributes:
        kept: What is trained on: trajectories, pairs or tasks.
        dropped: Reason -> how many were left out for it.
        unit: What is counted, in the plural.
        rows: Figures of the rows.
        lines: The same as sentences, for a terminal.
        train: Trains, given the folder of the result and who watches; returns the folder of the checkpoint.
        record: File beside the checkpoint in which the training keeps its figures.
        try_it: A command that uses the result, with ``{out}`` for its folder.
        validation: What is not trained on (share, seed, tasks and figures of its rows); None is nothing.
    """

    kept: int
    dropped: Counter[str]
    unit: str
    rows: dict[str, Any]
    lines: list[str]
    train: Callable[[Path, Watch], Path]
    record: str = FINETUNE_RECORD
    try_it: str = "step-envs eval --agent local:model={out}"
    validation: dict[str, Any] | None = None


class Recipe(NamesOptions, ABC):
    """A method of training. Its options are the arguments of its class."""

    name: ClassVar[str]
    """Name on the command line."""
    card: ClassVar[RecipeCard]
    """What it is, for the documentation."""
    trainer: ClassVar[str]
    """The function or class that trains."""
    filters: ClassVar[bool] = False
    """Whether it drops trajectories by ``min_score``, ``max_errors`` and ``allow_unknown``."""
    writes_thoughts: ClassVar[bool] = False
    """Whether it can write thoughts into the template's own section."""
    validates: bool = False
    """Whether it can hold out a part of the tasks, and log the loss on them."""
    no_validation: ClassVar[str] = "has no validation split, because the model plays its tasks"
    """Why it cannot, as the predicate of a sentence."""
    command: ClassVar[str]
    """Runs that it takes, as an example for the command line, e.g. ``runs/golden runs/reflected``."""

    @abstractmethod
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        """Make the rows, and count them.

        Args:
            material: The trajectories.
            start: What the training starts from.

        Raises:
            DataError: The recipe cannot be applied to these trajectories.
            ValueError: There is nothing to train on, or a setting does not fit.
            TemplateError: The chat template cannot be used.
        """


class SupervisedRecipe(Recipe):
    """A recipe that trains on the replies of trajectories, each with its weight."""

    trainer = "finetune"
    filters = True
    writes_thoughts = True
    validates = True
    masking: Masking = "partial"
    error_weight: float = 0.0

    @abstractmethod
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        """Choose the trajectories, and set the weight of each of their turns.

        Args:
            material: The trajectories.
            start: What the training starts from, with the limits of the filter.

        Raises:
            DataError: The recipe cannot be applied to these trajectories.
        """

    @override
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        selection = self.choose(material, start)
        if not selection.kept:
            raise DataError(self._nothing(material, selection))
        split = split_tasks(selection.kept, start.validation, start.config.seed)
        dataset, report = self._rows(split.trained, start)
        held_out, facts, lines = None, None, report.lines()
        if split.held_out:
            try:
                held_out, held_out_report = self._rows(split.held_out, start)
            except ValueError as error:
                raise DataError(f"The validation split gives no row, take another seed or share: {error}") from error
            facts = split.facts(start.validation, start.config.seed) | {"rows": held_out_report.model_dump()}
            lines.append(
                f"Validation: {len(split.tasks):,} of {split.of:,} tasks are not trained on, {held_out_report.rows:,} rows "
                f"with {held_out_report.trained_tokens:,} tokens under the same mask."
            )

        def train(out: Path, watch: Watch) -> Path:
            return finetune(
                dataset,
                model=start.model,
                out=out,
                config=start.config,
                validation=held_out,
                tokenizer=start.tokenizer,
                on_trainer=watch.on_trainer,
            )

        return PreparedTraining(
            kept=len(selection.kept),
            dropped=selection.dropped,
            unit="trajectories",
            rows=report.model_dump(),
            lines=lines,
            train=train,
            validation=facts,
        )

    def _rows(self, trajectories: Sequence[Trajectory], start: TrainingStart) -> tuple[Any, DatasetReport]:
        return build_dataset(
            trajectories,
            start.tokenizer,
            masking=self.masking,
            error_weight=self.error_weight,
            max_length=start.config.max_length,
            thoughts=start.thoughts,
            kinds=start.config.audit,
        )

    def _nothing(self, material: Material, selection: Selection) -> str:
        found = ", ".join(f"{count} {part}" for part, count in material.counts().items())
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(selection.dropped.items()))
        return f"The recipe {self.name!r} keeps none of the trajectories ({found})" + (
            f": {reasons}." if reasons else "."
        )


class RecipeRecord(TrainerRecord):
    """What a recipe with a trainer of its own keeps beside its checkpoint.

    Attributes:
        config: How the model was trained.
        options: The options of the recipe.
    """

    config: FinetuneConfig
    options: dict[str, Any]


def trainer_settings(config: FinetuneConfig, recipe: str) -> dict[str, Any]:
    """Return the settings that another trainer than fine-tuning's takes from ``config``: those that were set.

    Args:
        config: The settings.
        recipe: Name of the recipe, for the error.

    Raises:
        ValueError: A setting is set that only fine-tuning has.
    """
    if config.packing or config.loop != "trl":
        setting = "packing" if config.packing else 'loop="small"'
        raise ValueError(f"The recipe {recipe!r} does not train on rows that can be packed: leave {setting} away.")
    return {name: getattr(config, name) for name in TrainerConfig.model_fields if name in config.model_fields_set}


def check_whole_number(name: str, value: Any, least: int) -> None:
    """Check an option of a recipe.

    Raises:
        ValueError: It is no whole number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
