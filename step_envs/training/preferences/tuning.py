"""Train a model on preference pairs (DPO, and ETO's and IPR's use of it) with TRL's DPOTrainer.

The rows are made here, with the ids and masks of ``TrajectoryEncoder``: on both sides only the tokens of the replies that
count enter the loss, and no token of the prompt, of an observation, or of a turn that somebody else wrote. TRL is told to
change nothing about them, see ``training.preferences.trainer``. The reference model is the model that the training starts
from, as in ETO, where each iteration takes the policy of the last one as its reference.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from step_envs.agents.local.checkpoint import checkpoint_folder, load_tokenizer
from step_envs.errors import DataError, missing_package
from step_envs.training.preferences.pair_data import PreferencePair
from step_envs.training.tokens import IGNORED, Sample, Thoughts, encoder_for
from step_envs.training.trainer_setup import (
    TrainerConfig,
    TrainerRecord,
    claim_folder,
    fingerprint,
    load_network,
    lora_config,
    shared_options,
    stop_where_turns_end,
    train_and_save,
)
from step_envs.training.validation import add_validation

RECORD = "preference.json"
"""File in the folder of a checkpoint: its settings, and whether the training is complete."""
_SIDES: tuple[Literal["chosen"], Literal["rejected"]] = ("chosen", "rejected")
_OURS = frozenset(
    {
        "beta",
        "loss_type",
        "loss_weights",
        "max_length",
        "padding_free",
        "precompute_ref_log_probs",
        "remove_unused_columns",
    }
)
"""Fields of TRL's ``DPOConfig`` that are set by other fields, or on which the exact masks depend."""

PreferenceLoss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
]
"""Losses of TRL that compare the two sides of a pair; ``sigmoid`` is DPO's."""


class PreferenceConfig(TrainerConfig):
    """How to train on pairs; ``trainer`` takes every other field of TRL's ``DPOConfig``.

    Attributes:
        learning_rate: Peak of the learning rate; the default is that of ETO's first iteration for a model of 7B.
        batch_size: Pairs per device and forward pass. A template that rewrites the history makes a sample of every reply
            that counts, so that a pair of whole episodes is many samples: take 1, and ``accumulate``.
        max_length: The most tokens of a sample. A pair with a longer one is left out and counted: cut, it would compare
            other episodes than those that were played.
        beta: How strongly the model is held to the reference.
        loss_type: Name of the loss.
        sft_weight: Weight of an additional term: the mean negative log-likelihood of the tokens that count on the chosen
            sides (RPO's alpha). It keeps the chosen replies from becoming less likely together with the rejected ones.

    The other fields are those of ``TrainerConfig``. TRL's trainer turns dropout off, that of LoRA too, so that policy and
    reference are compared without noise; ``trainer={"disable_dropout": False}`` leaves it on.
    """

    learning_rate: float = Field(1e-6, gt=0)
    beta: float = Field(0.1, gt=0)
    loss_type: PreferenceLoss = "sigmoid"
    sft_weight: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _trainer_leaves_the_rows(self) -> "PreferenceConfig":
        wrong = sorted(set(self.trainer) & _OURS)
        if wrong:
            raise ValueError(
                f"trainer must not set {', '.join(wrong)}: the exact masks, or fields of this class, set it"
            )
        return self


class PreferenceRows(BaseModel):
    """What became of the pairs.

    Attributes:
        pairs: Number of pairs.
        rows: Rows for the trainer, one a pair.
        too_long: Pairs with a sample longer than ``max_length``; they are left out.
        samples: Samples of all rows: two a pair, or one for each reply that counts if the template rewrites the history.
        tokens: Tokens of all samples.
        chosen_tokens: Tokens that count on the chosen sides.
        rejected_tokens: Tokens that count on the rejected sides.
        longest: Tokens of the longest sample.
        mode: ``conversation`` or ``turns``; see ``training.tokens``.
        reason: Why this mode was chosen.
    """

    model_config = ConfigDict(extra="forbid")

    pairs: int = 0
    rows: int = 0
    too_long: int = 0
    samples: int = 0
    tokens: int = 0
    chosen_tokens: int = 0
    rejected_tokens: int = 0
    longest: int = 0
    mode: str = ""
    reason: str = ""

    def lines(self) -> list[str]:
        """Write the same figures as sentences, for a terminal."""
        said = [
            f"{self.rows:,} rows from {self.pairs:,} pairs: {self.tokens:,} tokens, of which {self.chosen_tokens:,} count "
            f"on the chosen and {self.rejected_tokens:,} on the rejected sides; the longest sample has {self.longest:,}.",
            self.reason,
        ]
        if self.too_long:
            said.append(f"{self.too_long:,} pairs are longer than a sample may be: left out.")
        return said


class PreferenceRecord(TrainerRecord):
    """Content of ``preference.json``; the start model is also the reference.

    ``figures`` holds steps, epochs, loss, margin, accuracy and seconds, and what ``PreferenceRows`` counted.
    """

    config: PreferenceConfig


def encode_pairs(
    pairs: Iterable[PreferencePair],
    tokenizer: Any,
    *,
    max_length: int | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
    thoughts: Thoughts = "text",
) -> tuple[Any, PreferenceRows]:
    """Make the rows for ``preference_tune``.

    Args:
        pairs: The pairs, in the order of the rows.
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        max_length: The most tokens of a sample; a pair with a longer one is left out. None sets no limit.
        template_kwargs: Further variables for the chat template.
        thoughts: How the thought of a reply is written; see ``TrajectoryEncoder``.

    Returns:
        A ``datasets.Dataset`` with the columns ``chosen_ids``, ``chosen_weights``, ``rejected_ids`` and
        ``rejected_weights``: of every side a list of samples, each a list of tokens; and the report.

    Raises:
        TemplateError: The chat template cannot be used, or not with these conversations.
        DataError: There is nothing to train on.
        gymnasium.error.DependencyNotInstalled: ``datasets`` is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise missing_package("datasets", "Training on pairs", "train") from error
    encoder = encoder_for(tokenizer, template_kwargs, thoughts=thoughts)
    report = PreferenceRows(mode=encoder.report.mode, reason=encoder.report.reason)
    columns: dict[str, list[list[list[Any]]]] = {f"{side}_{part}": [] for side in _SIDES for part in ("ids", "weights")}
    for pair in pairs:
        report.pairs += 1
        sides = {side: encoder.encode(pair.messages(side)) for side in _SIDES}
        longest = max(len(sample["input_ids"]) for samples in sides.values() for sample in samples)
        if max_length is not None and longest > max_length:
            report.too_long += 1
            continue
        report.rows += 1
        report.longest = max(report.longest, longest)
        report.chosen_tokens += _counted(sides["chosen"])
        report.rejected_tokens += _counted(sides["rejected"])
        for side, samples in sides.items():
            report.samples += len(samples)
            report.tokens += sum(len(sample["input_ids"]) for sample in samples)
            columns[f"{side}_ids"].append([sample["input_ids"] for sample in samples])
            columns[f"{side}_weights"].append([sample["weights"] for sample in samples])
    if not report.pairs:
        raise DataError("There are no pairs to train on.")
    if not report.rows:
        raise DataError(f"None of the {report.pairs} pairs fits into max_length={max_length}: nothing to train on.")
    return datasets.Dataset.from_dict(columns), report


def preference_tune(
    pairs: Iterable[PreferencePair],
    *,
    model: str | Path,
    out: str | Path,
    config: PreferenceConfig | None = None,
    validation: Iterable[PreferencePair] | None = None,
    tokenizer: Any = None,
    template_kwargs: Mapping[str, Any] | None = None,
    thoughts: Thoughts = "text",
    download: bool = False,
    on_trainer: Callable[[Any], object] = lambda trainer: None,
) -> Path:
    """Train a model to prefer the chosen side of every pair.

    A training that was stopped continues from its last checkpoint; a complete one is not repeated. Under
    ``accelerate launch``, all processes that were started train together.

    Args:
        pairs: Pairs of trajectories, of steps, or both.
        model: The checkpoint to start from, which is also the reference: a folder, or a name on the hub.
        out: Folder of the result; it also holds the checkpoints during training.
        config: How to train.
        validation: Pairs of tasks that are not trained on; their loss, margin and accuracy are logged, as ``eval_loss`` and
            so on, whenever those of the training are, and after the last step.
        tokenizer: The tokenizer to encode with; it is saved with the model, including its chat template. None loads the
            model's own.
        template_kwargs: Further variables for the chat template.
        thoughts: How the thought of a reply is written; see ``TrajectoryEncoder``.
        download: Download the model if it is not on this machine.
        on_trainer: Called with the trainer before it starts, e.g. to add a callback.

    Returns:
        The folder of the trained checkpoint: model (with LoRA the adapter), tokenizer and ``preference.json``.

    Raises:
        DataError: The model is not on this machine or is an adapter, or there is nothing to train on.
        StoreError: ``out`` holds something else, or a training with other rows or settings.
        TemplateError: The chat template cannot be used with these pairs.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    config = config or PreferenceConfig()
    out = Path(out)
    # An adapter writes down where its base lies; a relative path would only be right in this working folder.
    folder = checkpoint_folder(model, download=download).resolve()
    if (folder / "adapter_config.json").exists():
        # With its adapter switched off, which is how TRL finds the reference under LoRA, it would be another model.
        raise DataError(
            f"{model} is an adapter, and the reference is the whole model: merge it into its base (merge_and_unload of "
            "peft), save the result, and start from there."
        )
    tokenizer = tokenizer if tokenizer is not None else load_tokenizer(folder)
    rows, report = encode_pairs(
        pairs, tokenizer, max_length=config.max_length, template_kwargs=template_kwargs, thoughts=thoughts
    )
    record = PreferenceRecord(model=str(model), rows=len(rows), fingerprint=fingerprint(rows), config=config)
    if claim_folder(out, record, RECORD):
        return out
    held_out = None
    if validation is not None:
        held_out, _ = encode_pairs(
            validation, tokenizer, max_length=config.max_length, template_kwargs=template_kwargs, thoughts=thoughts
        )
    trainer = _make_trainer(rows, held_out, folder, out, config, tokenizer)
    if held_out is not None:
        add_validation(trainer)
    on_trainer(trainer)
    train_and_save(
        trainer,
        out,
        tokenizer,
        config,
        record,
        RECORD,
        lambda: _preference_figures(trainer.state.log_history) | report.model_dump(),
    )
    return out


def _make_trainer(rows: Any, held_out: Any, folder: Path, out: Path, config: PreferenceConfig, tokenizer: Any) -> Any:
    try:
        import torch
        from transformers import AutoModelForCausalLM, set_seed
        from trl import DPOConfig

        from step_envs.training.preferences.trainer import PairCollator, PreferenceTrainer
    except ImportError as error:
        raise missing_package(error.name or "trl", "Training on pairs", "train") from error
    set_seed(config.seed)
    on_gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if on_gpu and config.lora_rank else torch.float32
    network = load_network(AutoModelForCausalLM, folder, dtype=dtype)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    losses = {"loss_type": [config.loss_type], "loss_weights": [1.0]}
    if config.sft_weight:
        losses = {"loss_type": [config.loss_type, "sft"], "loss_weights": [1.0, config.sft_weight]}
    options = shared_options(config, out, on_gpu) | losses | {"beta": config.beta, "precompute_ref_log_probs": True}
    # The trainer computes the reference when it is made, before any checkpoint of a stopped training is loaded.
    trainer = PreferenceTrainer(
        model=network,
        args=DPOConfig(**options | config.trainer),
        data_collator=PairCollator(tokenizer.pad_token_id),
        train_dataset=rows,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    labels = (
        [number if weight else IGNORED for number, weight in zip(ids, weights, strict=True)]
        for row in rows.select_columns(["chosen_ids", "chosen_weights"])
        for ids, weights in zip(row["chosen_ids"], row["chosen_weights"], strict=True)
    )
    stop_where_turns_end(network, labels, tokenizer)
    return trainer


def _preference_figures(history: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the last margin (of the implicit rewards) and accuracy in a log; None where it has none."""
    last: dict[str, Any] = next((entry for entry in reversed(history) if "rewards/margins" in entry), {})
    return {"margin": last.get("rewards/margins"), "accuracy": last.get("rewards/accuracies")}


def _counted(samples: list[Sample]) -> int:
    return sum(label != IGNORED for sample in samples for label in sample["labels"])
