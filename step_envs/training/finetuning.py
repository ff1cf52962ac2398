"""Fine-tune a model with TRL's SFTTrainer, on rows whose labels are already exact.

TRL can tokenize and mask conversations itself, but only for templates that mark the assistant's tokens, and with no
weight for single turns. So the rows come ready from ``build_dataset``, and the trainer is told to change nothing about
them: it does not cut, mask or pack them again.
"""

import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from step_envs.agents.local.checkpoint import checkpoint_folder, load_tokenizer
from step_envs.errors import DataError, StoreError, missing_package
from step_envs.file_reading import read_json
from step_envs.run_folder import RunFolder, write_model
from step_envs.training.mask_audit import plan_audits, write_audit
from step_envs.training.tokens import IGNORED

RECORD = "finetune.json"
"""File in the folder of a checkpoint: its settings, and whether the training is complete."""
_WAIT_SECONDS = 120.0
_SMALL_LOOP_FIELDS = frozenset({"adam_beta1", "adam_beta2", "adam_epsilon", "include_num_input_tokens_seen"})
_CONFLICT = "{folder} holds a training with another {field} ({saved}, not {asked}): name another folder."


class FinetuneConfig(BaseModel):
    """How to train; ``trainer`` takes every other field of TRL's ``SFTConfig``.

    Attributes:
        learning_rate: Peak of the learning rate.
        epochs: Passes over the rows; ignored if ``max_steps`` is given.
        max_steps: Number of optimizer steps.
        batch_size: Rows per device and forward pass (with ``packing``, packed rows).
        accumulate: Forward passes per optimizer step.
        packing: Put several documents into a row of ``max_length`` tokens; refused for models whose attention would mix
            them.
        max_length: The most tokens of a row; None sets no limit. A longer row is refused and never cut.
        warmup: Share of the steps in which the learning rate rises.
        schedule: How the learning rate falls; a name of transformers' schedules.
        weight_decay: Weight decay of AdamW.
        max_grad_norm: Norm to which larger gradients are clipped.
        lora_rank: Rank of LoRA matrices on all linear layers; None trains all parameters.
        lora_alpha: Scale of LoRA; None is twice the rank.
        lora_dropout: Dropout of LoRA.
        gradient_checkpointing: Save memory at the cost of time. None turns it on for a GPU, except under FSDP, which has
            its own ``fsdp_activation_checkpointing``.
        seed: Decides the order of rows, dropout and new parameters.
        save_steps: Steps between checkpoints; None saves one per epoch.
        logging_steps: Steps between entries of the log.
        report_to: Logging backends of the trainer, e.g. ``["tensorboard"]``.
        trainer: More fields of ``SFTConfig``, e.g. ``{"optim": "adafactor"}``.
        audit: Log loss and gradient norm by kind of turn, for rows with ``kinds``; see ``training.mask_audit``.
        loop: ``trl``: TRL's trainer. ``small``: the faster loop for tiny models, in one process, without LoRA; batches are
            rows of similar length, with ``packing`` as many as fit into ``batch_size * max_length`` tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(2e-5, gt=0)
    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1)
    packing: bool = False
    max_length: int | None = Field(None, ge=2)
    warmup: float = Field(0.03, ge=0, lt=1)
    schedule: str = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    lora_rank: int | None = Field(None, ge=1)
    lora_alpha: int | None = Field(None, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    gradient_checkpointing: bool | None = None
    seed: int = 0
    save_steps: int | None = Field(None, ge=1)
    logging_steps: int = Field(10, ge=1)
    report_to: tuple[str, ...] = ()
    trainer: dict[str, Any] = Field(default_factory=dict)
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


class TrainingRecord(BaseModel):
    """Content of ``finetune.json``.

    Attributes:
        model: The checkpoint that the training started from.
        rows: Number of rows.
        fingerprint: Hash of the rows.
        config: How the model is trained.
        complete: The training has reached its end; the fields below are known only then.
        figures: Steps, epochs, tokens, loss and seconds.
        versions: Versions of the packages that trained.
    """

    # A loss that is not a number stays one: null would look like a training that logged none.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    model: str
    rows: int
    fingerprint: str
    config: FinetuneConfig
    complete: bool = False
    figures: dict[str, Any] | None = None
    versions: dict[str, str] | None = None


_RESULTS = frozenset({"complete", "figures", "versions"})


def finetune(
    dataset: Any,
    *,
    model: str | Path,
    out: str | Path,
    config: FinetuneConfig | None = None,
    tokenizer: Any = None,
    download: bool = False,
    on_trainer: Callable[[Any], object] = lambda trainer: None,
) -> Path:
    """Train a model on the rows of ``build_dataset``.

    A training that was stopped continues from its last checkpoint; a complete one is not repeated. Under
    ``accelerate launch``, all processes that were started train together.

    Args:
        dataset: A ``datasets.Dataset`` with ``input_ids``, ``labels`` and optionally ``weights`` and ``kinds``. With
            ``kinds``, training is audited: ``audit.json`` and ``audit.png`` are written beside the checkpoint.
        model: The checkpoint to start from: a folder, or a name on the hub.
        out: Folder of the result; it also holds the checkpoints during training.
        config: How to train.
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
    _check_rows(dataset, config)
    record = TrainingRecord(model=str(model), rows=len(dataset), fingerprint=_fingerprint(dataset), config=config)
    if _is_complete(out, record):
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
    make_trainer = _small_trainer if config.loop == "small" else _trl_trainer
    trainer = make_trainer(network, dataset, config, SFTConfig(**_trainer_options(config, out, on_gpu)), tokenizer)
    _stop_where_turns_end(network, dataset, tokenizer)
    on_trainer(trainer)
    trainer.train(resume_from_checkpoint=_last_checkpoint(out))
    trainer.save_model(str(out))
    trainer.save_state()
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(str(out))
        results = {"complete": True, "figures": _figures(trainer), "versions": _versions()}
        write_audit(trainer.state.log_history, out)
        write_model(out / RECORD, record.model_copy(update=results))
    if config.loop == "trl":
        trainer.accelerator.wait_for_everyone()
    return out


def _trl_trainer(network: Any, dataset: Any, config: FinetuneConfig, args: Any, tokenizer: Any) -> Any:
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
    return trainer_class(
        model=network, args=args, train_dataset=dataset, processing_class=tokenizer, peft_config=_lora_config(config)
    )


def _small_trainer(network: Any, dataset: Any, config: FinetuneConfig, args: Any, tokenizer: Any) -> Any:
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
    return SmallModelTrainer(network, args, dataset, steps, audit)


def remove_trainer_checkpoints(out: Path) -> None:
    """Remove the checkpoints that a training could have gone on from, each three times as large as its result.

    Args:
        out: The folder of a training that is complete.
    """
    for folder in out.glob("checkpoint-*"):
        if folder.name.rpartition("-")[2].isdecimal():
            shutil.rmtree(folder)


def _last_checkpoint(out: Path) -> str | None:
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


def _trainer_options(config: FinetuneConfig, out: Path, on_gpu: bool) -> dict[str, Any]:
    checkpointing = config.gradient_checkpointing
    if checkpointing is None:
        # FSDP has its own checkpointing; with the trainer's on top, it would gather all weights once more.
        checkpointing = on_gpu and os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true"
    options: dict[str, Any] = {
        "output_dir": str(out),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
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
        "report_to": list(config.report_to) or "none",
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        # The rows are ready: the trainer must not look for other columns, or cut, mask or pack the rows again.
        "max_length": None,
        "packing": False,
        "padding_free": config.packing,
        "remove_unused_columns": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    return options | config.trainer


def _stop_where_turns_end(network: Any, dataset: Any, tokenizer: Any) -> None:
    """Make generation stop at the tokens that end trained turns; they may differ from the tokenizer's end of text."""
    # The end of a turn is not marked as special in all tokenizers, but it is an added token in all of them.
    single = set(tokenizer.added_tokens_decoder)
    ends = {
        label
        for labels in dataset["labels"]
        for label, following in zip(labels, [*labels[1:], IGNORED], strict=True)
        if following == IGNORED and label in single
    }
    known = network.generation_config.eos_token_id
    known = set(known) if isinstance(known, list) else set() if known is None else {known}
    network.generation_config.eos_token_id = sorted(known | ends)


def _lora_config(config: FinetuneConfig) -> Any:
    if config.lora_rank is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or 2 * config.lora_rank,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


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


def _fingerprint(dataset: Any) -> str:
    """Hash the content of the rows, so that equal rows have the same hash however they were made."""
    import hashlib

    # The audit does not change what is trained, so kinds are no reason to refuse to go on with a training.
    dataset = dataset.select_columns([name for name in dataset.column_names if name != "kinds"])
    digest = hashlib.sha256()
    for batch in dataset.with_format(None).iter(batch_size=512):
        digest.update(json.dumps(batch, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _is_complete(out: Path, record: TrainingRecord) -> bool:
    """Claim the folder, and return whether the training in it is complete.

    If several processes train together, the first one claims the folder and the others wait until it has.
    """
    folder = RunFolder(out, noun="a training", record=RECORD, conflict=_CONFLICT)
    if int(os.environ.get("RANK", "0")):
        folder.wait_until_claimed(_WAIT_SECONDS)
    saved = folder.claim(record, resume=True, meaning="the record of a training", may_differ=_RESULTS)
    return saved is not None and saved.complete


def _figures(trainer: Any) -> dict[str, Any]:
    """Take the figures of the training from the trainer's log; the seconds are those of the last session."""
    history = trainer.state.log_history
    last = history[-1] if history else {}
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "tokens": trainer.state.num_input_tokens_seen or None,
        # The last loss in the log, because the trainer's own mean covers only the steps of the last session.
        "loss": float(losses[-1]) if losses else last.get("train_loss"),
        "seconds": last.get("train_runtime"),
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets")}
