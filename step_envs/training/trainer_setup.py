"""What every training with one of TRL's trainers shares: settings, the folder it is in, and what is kept of it.

The rows come ready to all of these trainers, with exact ids and masks, so each is told to change nothing about them. A
training claims its folder before it loads a model, goes on from its last whole checkpoint, and refuses to go on with other
rows or settings.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from step_envs.errors import DataError, StoreError
from step_envs.file_reading import read_json
from step_envs.run_folder import RunFolder, write_model
from step_envs.training.loss_curves import draw_losses
from step_envs.training.reporting import backend_options, check_backends, wandb_run
from step_envs.training.tokens import IGNORED

_WAIT_SECONDS = 120.0
_CONFLICT = "{folder} holds a training with another {field} ({saved}, not {asked}): name another folder."
_RESULTS = frozenset({"complete", "figures", "versions"})


class TrainerConfig(BaseModel):
    """Settings that all trainers of TRL share.

    Attributes:
        learning_rate: Peak of the learning rate.
        epochs: Passes over the rows; ignored if ``max_steps`` is given.
        max_steps: Number of optimizer steps.
        batch_size: Rows per device and forward pass.
        accumulate: Forward passes per optimizer step.
        max_length: The most tokens of a row; None sets no limit. Nothing is ever cut.
        warmup: Share of the steps in which the learning rate rises.
        schedule: How the learning rate falls; a name of transformers' schedules.
        weight_decay: Weight decay of AdamW.
        max_grad_norm: Norm to which larger gradients are clipped.
        lora_rank: Rank of LoRA matrices on all linear layers; None trains all parameters.
        lora_alpha: Scale of LoRA; None is twice the rank.
        lora_dropout: Dropout of LoRA.
        merge_lora: Save the base with the trained matrices merged into it, in place of an adapter that needs base and peft.
        gradient_checkpointing: Save memory at the cost of time. None turns it on for a GPU, except under FSDP, which has
            its own ``fsdp_activation_checkpointing``.
        seed: Decides the order of rows, dropout and new parameters.
        save_steps: Steps between checkpoints; None saves one per epoch.
        logging_steps: Steps between entries of the log.
        report_to: Logging backends, ``tensorboard``, ``trackio`` and ``wandb`` (see ``reporting``); none unless named.
        trainer: More fields of the trainer's own configuration, e.g. ``{"optim": "adafactor"}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(2e-5, gt=0)
    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1)
    max_length: int | None = Field(None, ge=2)
    warmup: float = Field(0.03, ge=0, lt=1)
    schedule: str = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    lora_rank: int | None = Field(None, ge=1)
    lora_alpha: int | None = Field(None, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    merge_lora: bool = False
    gradient_checkpointing: bool | None = None
    seed: int = 0
    save_steps: int | None = Field(None, ge=1)
    logging_steps: int = Field(10, ge=1)
    report_to: tuple[str, ...] = ()
    trainer: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _lora_has_a_rank(self) -> "TrainerConfig":
        without = [name for name in ("lora_alpha", "lora_dropout", "merge_lora") if getattr(self, name)]
        if self.lora_rank is None and without:
            raise ValueError(f"{', '.join(without)} says how LoRA is trained: set lora_rank, too, or leave it away")
        return self


class TrainerRecord(BaseModel):
    """What a training keeps beside its checkpoint; each training adds its settings as ``config``.

    Attributes:
        model: The checkpoint that the training started from.
        rows: Number of rows.
        fingerprint: Hash of the rows.
        complete: The training has reached its end; the fields below are known only then.
        figures: What the training counted and measured.
        versions: Versions of the packages that trained.
    """

    # A loss that is not a number stays one: null would look like a training that logged none.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    model: str
    rows: int
    fingerprint: str
    complete: bool = False
    figures: dict[str, Any] | None = None
    versions: dict[str, str] | None = None


def claim_folder(out: Path, record: BaseModel, name: str) -> bool:
    """Claim the folder of a training, and return whether the training in it is complete.

    If several processes train together, the first one claims the folder and the others wait until it has.

    Args:
        out: The folder.
        record: Settings and rows of the training; its fields ``complete``, ``figures`` and ``versions`` are results.
        name: Name of the file with the record.

    Raises:
        StoreError: The folder holds something else, or a training with other rows or settings.
    """
    folder = RunFolder(out, noun="a training", record=name, conflict=_CONFLICT)
    if int(os.environ.get("RANK", "0")):
        folder.wait_until_claimed(_WAIT_SECONDS)
    saved = folder.claim(record, resume=True, meaning="the record of a training", may_differ=_RESULTS)
    return saved is not None and bool(saved.model_dump()["complete"])


def last_checkpoint(out: Path) -> str | None:
    """Find the last checkpoint that is complete: a process killed while it writes one leaves it without its state."""
    whole: dict[int, Path] = {}
    for folder in out.glob("checkpoint-*"):
        number = folder.name.rpartition("-")[2]
        try:
            read_json(folder / "trainer_state.json")
        except StoreError:
            continue
        if number.isdecimal():
            whole[int(number)] = folder
    return str(whole[max(whole)]) if whole else None


def shared_options(config: TrainerConfig, out: Path, on_gpu: bool) -> dict[str, Any]:
    """Translate settings into the fields that all configurations of TRL's trainers have, ``trainer`` not included.

    Args:
        config: The settings.
        out: Folder of the training.
        on_gpu: Whether the model is trained on a GPU.

    Raises:
        UnknownNameError: There is no such logging backend.
        DataError: A logging backend cannot be used.
        gymnasium.error.DependencyNotInstalled: The package of a logging backend is missing.
    """
    check_backends(config.report_to)
    checkpointing = config.gradient_checkpointing
    if checkpointing is None:
        # FSDP has its own checkpointing; with the trainer's on top, it would gather all weights once more.
        checkpointing = on_gpu and os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true"
    return backend_options(config.report_to, out.resolve().name) | {
        "output_dir": str(out),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulate,
        "warmup_steps": config.warmup,
        "lr_scheduler_type": config.schedule,
        "weight_decay": config.weight_decay,
        "gradient_checkpointing": checkpointing,
        "max_grad_norm": config.max_grad_norm,
        "seed": config.seed,
        "data_seed": config.seed,
        "save_strategy": "epoch" if config.save_steps is None else "steps",
        "save_steps": config.save_steps or 500,
        "save_total_limit": 1,
        "logging_steps": config.logging_steps,
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        # The rows are ready: the trainer must not look for other columns, or cut the rows.
        "max_length": None,
        "remove_unused_columns": False,
    }


def lora_config(config: TrainerConfig) -> Any:
    """Return the configuration of LoRA; None if all parameters are trained.

    Raises:
        DataError: The result is to be merged, and no process will have the whole model.
    """
    if config.lora_rank is None:
        return None
    if config.merge_lora and is_divided():
        raise DataError(
            "Under FSDP and DeepSpeed no process has the whole model to merge LoRA into: leave merge_lora away, and merge "
            "the result with merge_and_unload of peft."
        )
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or 2 * config.lora_rank,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def is_divided() -> bool:
    """Return True if ``accelerate launch`` divides the parameters among the processes (FSDP, DeepSpeed)."""
    return any(os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true" for name in ("FSDP", "DEEPSPEED"))


def save_result(trainer: Any, out: Path, config: TrainerConfig) -> None:
    """Save the trained model: whole, as an adapter, or as the base with the adapter merged into it.

    Args:
        trainer: The trainer; its model is of no use for training afterwards.
        out: The folder.
        config: Says which of these.
    """
    if not config.merge_lora:
        trainer.save_model(str(out))
    elif trainer.is_world_process_zero():
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(str(out))


def load_network(loader: Any, folder: Path, dtype: Any) -> Any:
    """Load the weights of a checkpoint.

    Args:
        loader: A class of transformers, e.g. ``AutoModelForCausalLM``.
        folder: The checkpoint.
        dtype: Number type of the weights.

    Raises:
        DataError: They cannot be loaded.
    """
    try:
        return loader.from_pretrained(str(folder), local_files_only=True, dtype=dtype)
    except (OSError, ValueError) as error:
        raise DataError(f"The model in {folder} cannot be loaded: {error}") from error


def stop_where_turns_end(network: Any, rows: Iterable[Sequence[int]], tokenizer: Any) -> None:
    """Make generation stop at the tokens that end trained turns; they may differ from the tokenizer's end of text.

    Args:
        network: A causal language model of transformers.
        rows: Labels of every row; -100 where a token is not trained on.
        tokenizer: The tokenizer of the rows.
    """
    # The end of a turn is not marked as special in all tokenizers, but it is an added token in all of them.
    single = set(tokenizer.added_tokens_decoder)
    ends = {
        label
        for labels in rows
        for label, following in zip(labels, [*labels[1:], IGNORED], strict=True)
        if following == IGNORED and label in single
    }
    known = network.generation_config.eos_token_id
    known = set(known) if isinstance(known, list) else set() if known is None else {known}
    network.generation_config.eos_token_id = sorted(known | ends)


def fingerprint(dataset: Any) -> str:
    """Hash the content of the rows, so that equal rows have the same hash however they were made."""
    # The audit does not change what is trained, so kinds are no reason to refuse to go on with a training.
    dataset = dataset.select_columns([name for name in dataset.column_names if name != "kinds"])
    digest = hashlib.sha256()
    for batch in dataset.with_format(None).iter(batch_size=512):
        digest.update(json.dumps(batch, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def training_figures(trainer: Any) -> dict[str, Any]:
    """Take the figures of the training from the trainer's log; the seconds are those of the last session."""
    history = trainer.state.log_history
    last = history[-1] if history else {}
    losses = [entry["loss"] for entry in history if "loss" in entry]
    held_out = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "tokens": trainer.state.num_input_tokens_seen or None,
        # The last loss in the log, because the trainer's own mean covers only the steps of the last session.
        "loss": float(losses[-1]) if losses else last.get("train_loss"),
        "seconds": last.get("train_runtime"),
    } | ({"validation_loss": float(held_out[-1])} if held_out else {})


def train_and_save(
    trainer: Any,
    out: Path,
    tokenizer: Any,
    config: TrainerConfig,
    record: TrainerRecord,
    name: str,
    figures: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Train with a trainer of TRL, from its last whole checkpoint if there is one, and save the result.

    Args:
        trainer: The trainer.
        out: The claimed folder.
        tokenizer: It is saved with the model, including its chat template.
        config: How it is trained.
        record: The record that claimed the folder.
        name: Name of its file.
        figures: Called after the training; what it returns is added to the figures of the record.

    Raises:
        DataError: The trainer took no step.
    """
    with wandb_run(config.report_to, out.resolve().name):
        trainer.train(resume_from_checkpoint=last_checkpoint(out))
    if not trainer.state.global_step:
        raise DataError(
            f"Nothing was trained in {out}: {record.rows} rows do not fill one batch of the trainer. Give it more, or take "
            "smaller batches."
        )
    save_result(trainer, out, config)
    trainer.save_state()
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(str(out))
        results = {"complete": True, "figures": training_figures(trainer) | figures(), "versions": trainer_versions()}
        write_model(out / name, record.model_copy(update=results))
        draw_losses(trainer.state.log_history, out)
    trainer.accelerator.wait_for_everyone()


def trainer_versions() -> dict[str, str]:
    """Return the versions of the packages that train."""
    return {name: version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets")}
