"""Train the progress estimator of SPA-RL (arXiv 2505.20732): what each reply contributes to the final score.

Nothing but final scores is known, so the contributions of an episode are only trained to add up to its score. How the sum
is shared out is left to the model, which has to predict each contribution before it knows what follows.

RUDDER (arXiv 1806.07857) adds a second loss, by which the sums up to every reply predict the score as well. It was tried,
with a tiny model in ALFWorld: the order of steps agreed less with the oracle's (Spearman of the changes of value 0.56 and
0.40 with two seeds, in place of 0.57 and 0.65), and outcomes were predicted less well. So the loss is SPA-RL's.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from step_envs.agents.local.checkpoint import checkpoint_folder, load_tokenizer, with_template_options
from step_envs.credit.episode_tokens import EpisodeEncoder, ReplySample
from step_envs.credit.value_agreement import sum_agreement
from step_envs.errors import DataError, missing_package
from step_envs.run_folder import write_model
from step_envs.training.loss_curves import draw_losses
from step_envs.training.progress.episode_rows import EpisodeRows, encode_episodes, split_by_task
from step_envs.training.reporting import wandb_run
from step_envs.training.trainer_setup import (
    TrainerConfig,
    TrainerRecord,
    claim_folder,
    fingerprint,
    last_checkpoint,
    lora_config,
    shared_options,
    trainer_versions,
    training_figures,
)
from step_envs.trajectory import Trajectory

RECORD = "progress.json"
"""File in the folder of an estimator: its settings, and whether the training is complete."""


class ProgressConfig(TrainerConfig):
    """How to train an estimator; ``trainer`` takes every other field of transformers' ``TrainingArguments``.

    Attributes:
        learning_rate: Peak of the learning rate; the default is SPA-RL's for a model of 3B, as for the next three fields.
        epochs: Passes over the episodes.
        batch_size: Episodes per device and forward pass. A template that rewrites the history makes a sample of every
            reply; then as many samples are read at a time.
        accumulate: Forward passes per optimizer step.
        max_length: The most tokens that the model reads, also when it predicts; None is its own limit. In a longer
            conversation the oldest observations are shortened, as for an agent.
        held_out: Share of the tasks that is not trained on, to measure how well their outcomes are predicted.
        template_options: Variables of the chat template, e.g. ``{"enable_thinking": False}``; written into the template
            that is saved with the result.

    The other fields are those of ``TrainerConfig``. Dropout is off. With LoRA, the result is the merged model.
    """

    learning_rate: float = Field(3e-6, gt=0)
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(2, ge=1)
    accumulate: int = Field(2, ge=1)
    held_out: float = Field(0.1, ge=0, lt=1)
    template_options: dict[str, bool | int | float | str] = Field(default_factory=dict)


class ProgressRecord(TrainerRecord):
    """Content of ``progress.json``; ``figures`` also holds ``held_out``, how well outcomes of other tasks are predicted."""

    config: ProgressConfig


def train_progress_estimator(
    trajectories: Iterable[Trajectory],
    *,
    model: str | Path,
    out: str | Path,
    config: ProgressConfig | None = None,
    tokenizer: Any = None,
    download: bool = False,
    on_trainer: Callable[[Any], object] = lambda trainer: None,
) -> Path:
    """Train an estimator on the outcomes of episodes.

    A training that was stopped continues from its last checkpoint; a complete one is not repeated. The result is used with
    ``step-envs annotate RUN --value estimator:model=OUT``.

    Args:
        trajectories: The episodes: successes and failures, no filter is applied.
        model: The checkpoint to start from, usually of the agent: a folder, or a name on the hub.
        out: Folder of the result; it also holds the checkpoints during training.
        config: How to train.
        tokenizer: The tokenizer to encode with; it is saved with the model, including its chat template. None loads the
            model's own.
        download: Download the model if it is not on this machine.
        on_trainer: Called with the trainer before it starts, e.g. to add a callback.

    Returns:
        The folder of the estimator: a checkpoint for token classification, its tokenizer and ``progress.json``.

    Raises:
        DataError: The model is not on this machine, is an adapter or of a kind without token classification; or all
            outcomes are equal, or there is nothing to train on.
        StoreError: ``out`` holds something else, or a training with other episodes or settings.
        TemplateError: The chat template cannot be used with these episodes.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    config = config or ProgressConfig()
    out = Path(out)
    folder = checkpoint_folder(model, download=download).resolve()
    if (folder / "adapter_config.json").exists():
        raise DataError(
            f"{model} is an adapter, and an estimator starts from a whole model: merge it into its base (merge_and_unload "
            "of peft), save the result, and start from there."
        )
    try:
        from transformers import AutoConfig

        from step_envs.credit.estimator_model import reading_limit
    except ImportError as error:
        raise missing_package(error.name or "torch", "Training an estimator", "train") from error
    tokenizer = tokenizer if tokenizer is not None else load_tokenizer(folder)
    if config.template_options:
        tokenizer.chat_template = with_template_options(tokenizer.chat_template, config.template_options)
    network_config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    encoder = EpisodeEncoder(tokenizer, reading_limit(network_config, tokenizer, config.max_length))
    rows, report = encode_episodes(trajectories, encoder)
    to_train, held_out = split_by_task(rows["task"], config.held_out, config.seed)
    _refuse_equal_outcomes(rows.select(to_train)["outcome"][:])
    record = ProgressRecord(model=str(model), rows=len(rows), fingerprint=fingerprint(rows), config=config)
    if claim_folder(out, record, RECORD):
        return out
    trainer = _make_trainer(rows.select(to_train).remove_columns("task"), folder, out, config)
    on_trainer(trainer)
    with wandb_run(config.report_to, out.resolve().name):
        trainer.train(resume_from_checkpoint=last_checkpoint(out))
    network = trainer.accelerator.unwrap_model(trainer.model)
    if config.lora_rank:
        network = network.merge_and_unload()
    trainer.save_state()
    if trainer.is_world_process_zero():
        network.save_pretrained(str(out))
        tokenizer.save_pretrained(str(out))
        figures = training_figures(trainer) | _figures(network, encoder, rows.select(held_out), report)
        results = {"complete": True, "figures": figures, "versions": trainer_versions()}
        write_model(out / RECORD, record.model_copy(update=results))
        draw_losses(trainer.state.log_history, out)
    trainer.accelerator.wait_for_everyone()
    return out


def _refuse_equal_outcomes(outcomes: list[float]) -> None:
    if len(set(outcomes)) < 2:
        raise DataError(
            f"All {len(outcomes)} episodes to train on end with the score {outcomes[0]:g}, and an estimator learns from "
            "outcomes that differ: give it successes and failures."
        )


def _make_trainer(rows: Any, folder: Path, out: Path, config: ProgressConfig) -> Any:
    try:
        import torch
        from transformers import TrainingArguments, set_seed

        from step_envs.credit.estimator_model import load_network
        from step_envs.training.progress.trainer import ProgressTrainer, switch_dropout_off
    except ImportError as error:
        raise missing_package(error.name or "torch", "Training an estimator", "train") from error
    set_seed(config.seed)
    on_gpu = torch.cuda.is_available()
    # As in fine-tuning: small updates are lost in bf16 weights, so only weights that LoRA freezes are bf16.
    network = load_network(folder, torch.bfloat16 if on_gpu and config.lora_rank else torch.float32)
    adapter = lora_config(config)
    if adapter is not None:
        from peft import get_peft_model

        adapter.task_type = "TOKEN_CLS"
        # The head is new: it is trained whole, and saved with the adapter.
        head = next(name for name, part in network.named_children() if isinstance(part, torch.nn.Linear))
        adapter.modules_to_save, adapter.exclude_modules = [head], [head]
        network = get_peft_model(network, adapter)
    switch_dropout_off(network)
    options = shared_options(config, out, on_gpu)
    # The one option that is TRL's own.
    del options["max_length"]
    return ProgressTrainer(
        model=network,
        args=TrainingArguments(**options | config.trainer),
        train_dataset=rows,
    )


def _figures(network: Any, encoder: EpisodeEncoder, held_out: Any, report: EpisodeRows) -> dict[str, Any]:
    """Return what became of the episodes, and how well the outcomes of tasks that were not trained on are predicted."""
    from step_envs.credit.estimator_model import EstimatorModel

    found = None
    if len(held_out):
        estimator = EstimatorModel(network.eval(), encoder)
        predicted = [sum(estimator.of_samples(_samples(row))) for row in held_out]
        found = sum_agreement(predicted, held_out["outcome"][:]).model_dump()
    return report.model_dump() | {"held_out": found}


def _samples(row: dict[str, Any]) -> list[ReplySample]:
    return [ReplySample(ids, places) for ids, places in zip(row["input_ids"], row["places"], strict=True)]
