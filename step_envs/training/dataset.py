"""Turn trajectories into the rows for a trainer, and count what became of every trajectory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from step_envs.errors import missing_package
from step_envs.training.masking import Masking, begins_at, masked_messages, remaining_turns
from step_envs.training.tokens import IGNORED, Sample, Thoughts, TrajectoryEncoder, encoder_for
from step_envs.training.turn_kinds import KINDS, encode_with_kinds, without_kinds
from step_envs.training.windowing import windows
from step_envs.trajectory import Trajectory


class DatasetReport(BaseModel):
    """Counts of the trajectories that were kept and left out.

    Attributes:
        trajectories: Number of trajectories.
        untrained: Trajectories without a trained turn; they give no row.
        rows: Rows for the trainer; each has at least one trained token.
        tokens: Tokens in all rows.
        trained_tokens: Tokens with a label.
        trained_weight: Sum of the weights of these tokens.
        longest: Tokens of the longest row.
        mode: ``conversation`` or ``turns``; see ``training.tokens``.
        reason: Why this mode was chosen.
        fell_back: Trajectories encoded turn by turn although the mode is ``conversation``.
        windowed: Trajectories longer than ``max_length``, which were cut into windows.
        windows: Windows that they were cut into.
        left_out: Trained turns that exceed ``max_length`` even alone with the task; they are not in the rows.
        masking: The mask.
        error_weight: Weight of error turns under the mask ``partial``.
        tokens_by_kind: With ``kinds``: tokens of each kind of turn in the rows, trained or not.
        trained_by_kind: With ``kinds``: how many of these tokens are trained.
    """

    model_config = ConfigDict(extra="forbid")

    trajectories: int = 0
    untrained: int = 0
    rows: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    trained_weight: float = 0.0
    longest: int = 0
    mode: str = ""
    reason: str = ""
    fell_back: int = 0
    windowed: int = 0
    windows: int = 0
    left_out: int = 0
    masking: Masking = "partial"
    error_weight: float = Field(0.0, ge=0, le=1)
    tokens_by_kind: dict[str, int] = Field(default_factory=dict)
    trained_by_kind: dict[str, int] = Field(default_factory=dict)

    def lines(self) -> list[str]:
        """Write the same figures as sentences, for a terminal."""
        share = self.trained_tokens / max(self.tokens, 1)
        text = [
            f"{self.rows:,} rows from {self.trajectories:,} trajectories: {self.tokens:,} tokens, {self.trained_tokens:,} "
            f"of them trained ({share:.1%}), the longest row {self.longest:,}.",
            self.reason,
        ]
        if self.tokens_by_kind:
            shares = (
                f"{kind} {self.trained_by_kind[kind]:,} of {count:,}" for kind, count in self.tokens_by_kind.items()
            )
            text.append(f"Trained tokens by kind of turn: {', '.join(shares)}.")
        if self.fell_back:
            text.append(f"{self.fell_back:,} trajectories were encoded turn by turn all the same: their tokens merge.")
        if self.untrained:
            text.append(f"{self.untrained:,} trajectories have no trained turn and give no row.")
        if self.windowed:
            text.append(
                f"{self.windowed:,} trajectories are longer than a row may be: cut into {self.windows:,} windows."
            )
        if self.left_out:
            text.append(f"{self.left_out:,} trained turns are too long even alone with their task: left out.")
        return text


def build_dataset(
    trajectories: Iterable[Trajectory],
    tokenizer: Any,
    *,
    masking: Masking = "partial",
    error_weight: float = 0.0,
    max_length: int | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
    thoughts: Thoughts = "text",
    kinds: bool = False,
) -> tuple[Any, DatasetReport]:
    """Make the rows for ``finetune``.

    Args:
        trajectories: The episodes, in the order of the rows.
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        masking: How error turns are trained on; see ``masked_messages``.
        error_weight: Weight of error turns under the mask ``partial``.
        max_length: The most tokens of a row; longer trajectories are cut into windows. None sets no limit.
        template_kwargs: Further variables for the chat template.
        thoughts: ``section`` writes the ``Thought:`` of a reply into the template's own section for thoughts; see
            ``TrajectoryEncoder``.
        kinds: Also mark the kind of turn of every token, so that ``finetune`` audits what is trained; see
            ``training.turn_kinds``. It takes up to twice the time where trajectories have errors.

    Returns:
        A ``datasets.Dataset`` with the columns ``input_ids``, ``labels`` and, where a weight is neither 0 nor 1,
        ``weights``, and, where asked for, ``kinds``; and the report.

    Raises:
        TemplateError: The chat template cannot be used, or not with these conversations.
        ValueError: There is nothing to train on, or an argument is out of range.
        gymnasium.error.DependencyNotInstalled: ``datasets`` is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise missing_package("datasets", "Training", "train") from error
    encoder = encoder_for(tokenizer, template_kwargs, thoughts=thoughts)
    report = DatasetReport(
        mode=encoder.report.mode, reason=encoder.report.reason, masking=masking, error_weight=error_weight
    )
    rows: list[tuple[Sample, list[int]]] = []
    for trajectory in trajectories:
        report.trajectories += 1
        messages = masked_messages(trajectory, masking, error_weight=error_weight)
        if not any(message["loss"] for message in messages):
            report.untrained += 1
            continue
        if kinds:
            for message, turn in zip(messages, remaining_turns(trajectory, masking), strict=True):
                message["kind"] = turn.kind
        fell_back = encoder.fell_back
        rows += _rows(encoder, messages, begins_at(trajectory), max_length, report)
        # Count the trajectory once, even if it was cut into several windows.
        report.fell_back += encoder.fell_back > fell_back
    if not rows:
        raise ValueError(
            f"Nothing to train on: none of {report.trajectories} trajectories gives a row "
            f"({report.untrained} without a trained turn, {report.left_out} turns too long)."
        )
    samples = [sample for sample, _ in rows]
    report.rows = len(samples)
    for sample in samples:
        report.tokens += len(sample["input_ids"])
        report.longest = max(report.longest, len(sample["input_ids"]))
        report.trained_tokens += sum(label != IGNORED for label in sample["labels"])
        report.trained_weight += sum(sample["weights"])
    columns: dict[str, list[Any]] = {
        "input_ids": [sample["input_ids"] for sample in samples],
        "labels": [sample["labels"] for sample in samples],
    }
    if report.trained_weight != report.trained_tokens:
        columns["weights"] = [sample["weights"] for sample in samples]
    if kinds:
        columns["kinds"] = [codes for _, codes in rows]
        _count_kinds(rows, report)
    return datasets.Dataset.from_dict(columns), report


def _count_kinds(rows: Sequence[tuple[Sample, list[int]]], report: DatasetReport) -> None:
    for code, kind in enumerate(KINDS, 1):
        trained = [
            label != IGNORED
            for sample, codes in rows
            for label, of in zip(sample["labels"], codes, strict=True)
            if of == code
        ]
        if trained:
            report.tokens_by_kind[kind], report.trained_by_kind[kind] = len(trained), sum(trained)


def _rows(
    encoder: TrajectoryEncoder, messages: list[dict[str, Any]], head: int, max_length: int | None, report: DatasetReport
) -> list[tuple[Sample, list[int]]]:
    samples = _encode(encoder, messages)
    if max_length is None or all(len(sample["input_ids"]) <= max_length for sample, _ in samples):
        return samples
    report.windowed += 1

    def length(conversation: Sequence[Mapping[str, Any]]) -> int:
        return encoder.length(without_kinds(conversation))

    if len(samples) == 1 and encoder.report.mode == "conversation":
        cut = windows(messages, head, max_length, length)
        report.left_out += cut.left_out
        rows = [row for window in cut.messages for row in _encode(encoder, window)]
    else:
        rows = []
        for index, message in enumerate(messages):
            if message["loss"]:
                alone = [dict(other) | {"loss": 0.0} for other in messages[:index]] + [message]
                cut = windows(alone, head, max_length, length)
                report.left_out += cut.left_out
                rows += [row for window in cut.messages for row in _encode(encoder, window)]
    report.windows += len(rows)
    return rows


def _encode(encoder: TrajectoryEncoder, messages: Sequence[Mapping[str, Any]]) -> list[tuple[Sample, list[int]]]:
    """Encode a conversation; without kinds in the messages, the second list of every row is empty."""
    if messages and "kind" in messages[0]:
        return encode_with_kinds(encoder, messages)
    return [(sample, []) for sample in encoder.encode(messages)]


def mix(
    golden: Sequence[Trajectory],
    reflected: Sequence[Trajectory],
    *,
    reflected_share: float | None = None,
    seed: int = 0,
) -> list[Trajectory]:
    """Mix golden and reflected trajectories (the paper's D1 and D_r) in a shuffled order.

    Args:
        golden: Trajectories of an expert.
        reflected: Trajectories with errors, reflections and corrections.
        reflected_share: Share of reflected trajectories in the mixture, from 0 to 1; trajectories of the part that is too
            large are left out at random. None keeps all of both, as the paper does.
        seed: Decides the order, and which trajectories are left out.

    Raises:
        ValueError: The share is not from 0 to 1, or needs trajectories of a part that is empty.
    """
    rng = np.random.default_rng(seed)
    parts = [list(golden), list(reflected)]
    if reflected_share is not None:
        if not 0 <= reflected_share <= 1:
            raise ValueError(f"reflected_share must be from 0 to 1, got {reflected_share:g}.")
        shares = (1 - reflected_share, reflected_share)
        for part, share, name in zip(parts, shares, ("golden", "reflected"), strict=True):
            if share and not part:
                raise ValueError(f"A share of {share:g} is to be {name} trajectories, and there is none.")
        whole = min(len(part) / share for part, share in zip(parts, shares, strict=True) if share)
        parts = [
            [part[index] for index in sorted(rng.permutation(len(part))[: round(whole * share)])]
            for part, share in zip(parts, shares, strict=True)
        ]
    together = parts[0] + parts[1]
    return [together[index] for index in rng.permutation(len(together))]
