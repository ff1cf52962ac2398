"""Fine-tune a model with TRL's SFTTrainer, on rows whose labels are already exact.

TRL can tokenize and mask conversations itself, but only for templates that mark the assistant's tokens, and with no
weight for single turns. So the rows come ready from ``build_dataset``, and the trainer is told to change nothing about
them: it does not cut, mask or pack them again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from step_envs.agents.local.checkpoint import checkpoint_folder, load_tokenizer
from step_envs.errors import DataError, missing_package
from step_envs.run_folder import write_model
from step_envs.training.loss_curves import draw_losses
from step_envs.training.mask_audit import plan_audits, write_audit
from step_envs.training.reporting import check_backends, wandb_run
from step_envs.training.trainer_setup import (
    TrainerConfig,
    TrainerRecord,
    claim_folder,
    fingerprint,
    last_checkpoint,
    load_network,
    lora_config,
    save_result,
    shared_options,
    stop_where_turns_end,
    trainer_versions,
    training_figures,
)
from step_envs.training.validation import ValidationRows, add_validation, validated

RECORD = "finetune.json"
"""File in the folder of a checkpoint: its settings, and whether the training is complete."""
_SMALL_LOOP_FIELDS = frozenset({"adam_beta1", "adam_beta2", "adam_epsilon", "include_num_input_tokens_seen"})


class FinetuneConfig(TrainerConfig):
    """How to train; ``trainer`` takes every other field of TRL's ``SFTConfig``.

    Attributes:
        learning_rate: Peak of the learning rate.
        epochs: Passes over the rows; ignored if ``max_steps`` is given.
        batch_size: Rows per device and forward pass (with ``packing``, packed rows).
        packing: Put several documents into a row of ``max_length`` tokens; refused for models whose attention would mix
            them.
        max_length: The most tokens of a row; None sets no limit. A longer row is refused and never cut.
        audit: Log loss and gradient norm by kind of turn, for rows with ``kinds``; see ``training.mask_audit``.
        loop: ``trl``: TRL's trainer. ``small``: the faster loop for tiny models, in one process, without LoRA; batches are
            rows of similar length, with ``packing`` as many as fit into ``batch_size * max_length`` tokens.

    The other fields are those of ``TrainerConfig``.
    """

    packing: bool = False
    audit: bool = True
    loop: Literal["trl", "small"] = "trl"

    @model_validator(mode="after")
    def _fits_the_loop(self) -> "FinetuneConfig":
        if self.loop == "small":
            unknown = sorted(set(self.trainer) - _SMALL_LOOP_FIELDS)
            if self.lora_rank or self.gradient_checkpointing:
                raise ValueError(
                    'lora_rank must not be set with loop="small", nor gradient_checkpointing: use loop="trl"'
                )
            if unknown:
                raise ValueError(f'loop="small" does not know the trainer\'s {", ".join(unknown)}: use loop="trl"')
        return self

    @model_validator(mode="after")
    def _packed_into_something(self) -> "FinetuneConfig":
        if self.packing and self.max_length is None:
            raise ValueError("packing needs max_length, the length of a packed row")
        return self


class TrainingRecord(TrainerRecord):
    """Content of ``finetune.json``; ``figures`` holds steps, epochs, tokens, loss and seconds."""

    config: FinetuneConfig


def finetune(
    dataset: Any,
    *,
    model: str | Path,
    out: str | Path,
    config: FinetuneConfig | None = None,
    validation: Any = None,
    tokenizer: Any = None,
    download: bool = False,
    on_trainer: Callable[[Any], object] = lambda trainer: None,
) -> Path:
    """Train a model on the rows of ``build_dataset``.

    A training that was stopped continues from its last checkpoint; a complete one is not repeated. Under
    ``accelerate launch``, all processes that were started train together.

    Args:
        dataset: A ``datasets.Dataset`` with ``input_ids``, ``labels`` and optionally ``weights`` and ``kinds``. With
            ``kinds``, training is audited: ``audit.json`` and ``audit.png`` are written beside the checkpoint. The losses
            are drawn in any case, as ``loss.svg`` and ``loss.png``.
        model: The checkpoint to start from: a folder, or a name on the hub.
        out: Folder of the result; it also holds the checkpoints during training.
        config: How to train.
        validation: Rows of tasks that are not trained on, made in the same way; their loss is logged, as ``eval_loss``,
            whenever that of the training is, and after the last step. ``validation.split_tasks`` splits trajectories.
        tokenizer: The tokenizer that made the rows; it is saved with the model, including its chat template. None loads
            the model's own.
        download: Download the model if it is not on this machine.
        on_trainer: Called with the trainer before it starts, e.g. to add a callback.

    Returns:
        The folder of the trained checkpoint: model (with LoRA the adapter), tokenizer and ``finetune.json``.

    Raises:
        DataError: The model is not on this machine, or the rows cannot be trained on.
        StoreError: ``out`` holds something else, or a training with other rows or settings.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    config = config or FinetuneConfig()
    out = Path(out)
    check_backends(config.report_to)
    _check_rows(dataset, config)
    if validation is not None:
        _check_rows(validation, config)
    record = TrainingRecord(model=str(model), rows=len(dataset), fingerprint=fingerprint(dataset), config=config)
    if claim_folder(out, record, RECORD):
        return out
    try:
        import torch
        from transformers import AutoModelForCausalLM, set_seed
        from trl import SFTConfig
    except ImportError as error:
        raise missing_package(error.name or "trl", "Fine-tuning", "train") from error

    # An adapter writes down where its base lies; a relative path would only be right in this working folder.
    folder = checkpoint_folder(model, download=download).resolve()
    set_seed(config.seed)
    on_gpu = torch.cuda.is_available()
    # Full training keeps the weights in float32 and computes in bf16, because small updates are lost in bf16 weights.
    # Under LoRA the large weights are frozen, so they can be bf16.
    dtype = torch.bfloat16 if on_gpu and config.lora_rank else torch.float32
    network = load_network(AutoModelForCausalLM, folder, dtype=dtype)
    tokenizer = tokenizer if tokenizer is not None else load_tokenizer(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not config.audit and "kinds" in dataset.column_names:
        dataset = dataset.remove_columns("kinds")
    held_out = None if validation is None else ValidationRows(validation, config.batch_size)
    make_trainer = _small_trainer if config.loop == "small" else _trl_trainer
    args = SFTConfig(**_trainer_options(config, out, on_gpu))
    trainer = make_trainer(network, dataset, config, args, tokenizer, held_out)
    if held_out is not None:
        add_validation(trainer)
    stop_where_turns_end(network, dataset["labels"], tokenizer)
    on_trainer(trainer)
    with wandb_run(config.report_to, out.resolve().name):
        trainer.train(resume_from_checkpoint=last_checkpoint(out))
    save_result(trainer, out, config)
    trainer.save_state()
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(str(out))
        results = {"complete": True, "figures": training_figures(trainer), "versions": trainer_versions()}
        write_audit(trainer.state.log_history, out)
        write_model(out / RECORD, record.model_copy(update=results))
        draw_losses(trainer.state.log_history, out)
    if config.loop == "trl":
        trainer.accelerator.wait_for_everyone()
    return out


def _trl_trainer(
    network: Any, dataset: Any, config: FinetuneConfig, args: Any, tokenizer: Any, held_out: ValidationRows | None
) -> Any:
    from trl import SFTTrainer, pack_dataset

    weighted, audited_rows = ("weights" in dataset.column_names), ("kinds" in dataset.column_names)
    dataset = dataset.shuffle(seed=config.seed)
    if config.packing:
        from step_envs.training.packing import refuse_mixing_attention

        refuse_mixing_attention(network)
        dataset = pack_dataset(dataset, config.max_length, "bfd")
    trainer_class = SFTTrainer
    if weighted:
        from step_envs.training.weighted_loss import WeightedSFTTrainer

        trainer_class = WeightedSFTTrainer
    if audited_rows:
        from step_envs.training.audited_trainer import audited

        plan = plan_audits(config.batch_size * config.accumulate, config.logging_steps)
        trainer_class = audited(trainer_class, plan)
    if held_out is not None:
        trainer_class = validated(trainer_class, held_out)
    return trainer_class(
        model=network, args=args, train_dataset=dataset, processing_class=tokenizer, peft_config=lora_config(config)
    )


def _small_trainer(
    network: Any, dataset: Any, config: FinetuneConfig, args: Any, tokenizer: Any, held_out: ValidationRows | None
) -> Any:
    from step_envs.training.small_model_loop import SmallModelTrainer, plan_steps

    steps = plan_steps(
        [len(ids) for ids in dataset["input_ids"]],
        rows=config.batch_size,
        tokens=config.batch_size * (config.max_length or 0) if config.packing else None,
        accumulate=config.accumulate,
        epochs=config.epochs,
        max_steps=config.max_steps,
        seed=config.seed,
    )
    audit = None
    if "kinds" in dataset.column_names:
        rows = sum(len(batch) for step in steps for batch in step) / len(steps)
        audit = plan_audits(max(1, int(rows)), config.logging_steps)
    return SmallModelTrainer(network, args, dataset, steps, audit, held_out)


def remove_trainer_checkpoints(out: Path) -> None:
    """Remove the checkpoints that a training could have gone on from, each three times as large as its result.

    Args:
        out: The folder of a training that is complete.
    """
    for folder in out.glob("checkpoint-*"):
        if folder.name.rpartition("-")[2].isdecimal():
            shutil.rmtree(folder)


def _trainer_options(config: FinetuneConfig, out: Path, on_gpu: bool) -> dict[str, Any]:
    options = shared_options(config, out, on_gpu) | {
        "packing": False,
        "padding_free": config.packing,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    return options | config.trainer


def _check_rows(dataset: Any, config: FinetuneConfig) -> None:
    missing = {"input_ids", "labels"} - set(dataset.column_names)
    if missing:
        raise DataError(f"The rows lack {', '.join(sorted(missing))}: make them with build_dataset.")
    extra = set(dataset.column_names) - {"input_ids", "labels", "weights", "kinds"}
    if extra:
        raise DataError(f"The rows have columns the trainer does not know: {', '.join(sorted(extra))}.")
    if not len(dataset):
        raise DataError("There are no rows to train on.")
    ignored = {"label_smoothing_factor", "loss_type"} & set(config.trainer)
    if ignored and "weights" in dataset.column_names:
        raise DataError(
            f"Rows with weights have a loss of their own, without {', '.join(sorted(ignored))}: leave it away."
        )
    if config.max_length is not None:
        longer = sum(len(ids) > config.max_length for ids in dataset["input_ids"])
        if longer:
            raise DataError(
                f"{longer} of {len(dataset)} rows are longer than max_length={config.max_length}: give the same max_length "
                "to build_dataset, which cuts long trajectories into windows."
            )
