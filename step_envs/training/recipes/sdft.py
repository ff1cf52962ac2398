"""SDFT (arXiv 2601.19897) with verdicts: the model is trained towards itself, told what a teacher said of its error."""

from pathlib import Path
from typing import Any

from typing_extensions import override

from step_envs.errors import DataError, missing_package
from step_envs.training.distillation.privileged_context import Judged, PrivilegedRow, privileged_rows
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.recipes.base import (
    PreparedTraining,
    Recipe,
    RecipeCard,
    RecipeRecord,
    TrainingStart,
    Watch,
    check_whole_number,
    trainer_settings,
)
from step_envs.training.recipes.material import Material
from step_envs.training.trainer_setup import (
    claim_folder,
    fingerprint,
    lora_config,
    shared_options,
    train_and_save,
)

RECORD = "sdft.json"
"""File in the folder of a checkpoint: its settings, and whether the training is complete."""
_LEARNING_RATE = 1e-5


class Sdft(Recipe):
    """Has the model write a new reply in the state of an error, and trains it towards its own better informed self.

    The better informed self is the same model, and reads in its prompt what the teacher said of the error.

    Args:
        judged: ``errors``: the states of errors; ``all``: of every reply that a teacher judged.
        generations: Replies from each state.
        max_tokens: Most tokens of a reply.

    Raises:
        ValueError: An option is out of range.
    """

    name = "sdft"
    trainer = "SDFTTrainer"
    no_validation = "has no validation split, because the model writes its replies anew"
    command = "runs/reflected"
    card = RecipeCard(
        title="Self-distillation (SDFT)",
        paper="2601.19897",
        signal="a teacher's verdict on the error, which only the model as its own teacher reads",
        data="the conversation before each error, without the error",
        loss="divergence from the better informed model, over the reply that the student writes; prompts are not trained",
        difference="the verdict is made right for the state before the error, by replay",
    )

    def __init__(self, judged: Judged = "errors", *, generations: int = 2, max_tokens: int = 256) -> None:
        if judged not in ("errors", "all"):
            raise ValueError(f"judged must be 'errors' or 'all', got {judged!r}.")
        for name, value in (("generations", generations), ("max_tokens", max_tokens)):
            check_whole_number(name, value, 1)
        self.options: dict[str, Any] = {"judged": judged, "generations": generations, "max_tokens": max_tokens}

    @override
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        settings = {"learning_rate": _LEARNING_RATE} | trainer_settings(start.config, self.name)
        config = FinetuneConfig.model_validate(settings)
        rows, report = privileged_rows(material.reflected, judged=self.options["judged"])
        batch, each = config.batch_size, self.options["generations"]
        if batch % each:
            raise ValueError(f"A batch of {batch} replies cannot be split into {each} from each state.")
        if not rows:
            found = ", ".join(f"{count} {part}" for part, count in material.counts().items())
            raise DataError(f"The recipe {self.name!r} finds no verdict in the trajectories ({found}).")

        def train(out: Path, watch: Watch) -> Path:
            return self._train(rows, start, config, out, watch)

        return PreparedTraining(
            kept=len(rows),
            dropped=report.left_out,
            unit="prompts",
            rows={"rows": len(rows), "replies": len(rows) * self.options["generations"]},
            lines=report.lines(),
            train=train,
            record=RECORD,
        )

    def _train(
        self, rows: list[PrivilegedRow], start: TrainingStart, config: FinetuneConfig, out: Path, watch: Watch
    ) -> Path:
        try:
            import datasets
            import torch
            from transformers import set_seed
            from trl.experimental.sdft import SDFTConfig, SDFTTrainer
        except ImportError as error:
            raise missing_package(error.name or "trl", "Self-distillation", "train") from error
        columns = ("prompt", "privileged_context")
        dataset = datasets.Dataset.from_list([row.model_dump(include=set(columns)) for row in rows])
        record = RecipeRecord(
            model=str(start.model),
            rows=len(dataset),
            fingerprint=fingerprint(dataset),
            config=config,
            options=self.options,
        )
        if claim_folder(out, record, RECORD):
            return out
        set_seed(config.seed)
        shared = shared_options(config, out, torch.cuda.is_available())
        options = {name: value for name, value in shared.items() if name != "max_length"} | {
            "num_generations": self.options["generations"],
            "max_completion_length": self.options["max_tokens"],
            # TRL's default cuts the beginning of longer prompts: the manual and the task.
            "max_prompt_length": config.max_length,
        }
        trainer = SDFTTrainer(
            model=str(start.model.resolve()),  # an adapter writes it down
            args=SDFTConfig(**options | config.trainer),
            train_dataset=dataset,
            processing_class=start.tokenizer,
            peft_config=lora_config(config),
        )
        watch.on_trainer(trainer)
        train_and_save(trainer, out, start.tokenizer, config, record, RECORD)
        return out
