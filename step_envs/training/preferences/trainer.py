"""TRL's DPOTrainer on rows whose ids and masks are already exact.

TRL's own collator counts every token of a side, so with whole episodes the observations would enter the log-probabilities
and be pushed up and down like replies. Here a side is what ``TrajectoryEncoder`` made of it: one sample for a conversation,
or one for each reply that counts if the template rewrites the history. The log-probability of a side is the sum over its
samples, each token times its weight:

    log p(side) = sum over replies t of log p(reply t | what a server would send before reply t)

All that TRL computes from log-probabilities stays TRL's. It is shown a batch in which every side is one row, the samples of
the side behind one another. The model is asked for the samples, and its answers are put at their places in these rows.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader
from trl import DPOTrainer

from step_envs.training.tokens import IGNORED

_PER_TOKEN = ("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs")
"""What the model answers for every token but the first of a sample; those that TRL does not ask for are None."""


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]  # TRL is not followed by the type checker
    """``DPOTrainer`` on the rows of ``encode_pairs``.

    The log-probabilities of the reference model, which is the model as it is before the first step, are computed once.
    """

    def _prepare_dataset(self, dataset: Any, *arguments: Any, **named: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        # TRL's way goes through a cache file, which for rows in memory lies in a folder that each process has for itself.
        if self.is_deepspeed_enabled:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        loader = self.accelerator.prepare(DataLoader(dataset, batch_size=batch_size, collate_fn=self.data_collator))
        chosen: list[float] = []
        rejected: list[float] = []
        for batch in loader:
            sides = self.compute_ref_log_probs(self.ref_model or self.model, batch)
            for found, logps in zip((chosen, rejected), self.accelerator.gather_for_metrics(sides), strict=True):
                found += logps.tolist()
        return dataset.add_column("ref_chosen_logps", chosen).add_column("ref_rejected_logps", rejected)

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Return the log-probabilities of the chosen and of the rejected sides of a batch, each of shape ``(pairs,)``."""
        return super().compute_ref_log_probs(_on_samples(model, inputs), _as_sides(inputs))

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        return super()._compute_loss(_on_samples(model, inputs), _as_sides(inputs), return_outputs)


class PairCollator:
    """Makes batches of the rows of ``encode_pairs``.

    Args:
        pad_token_id: Id of the token that fills short samples; its places are masked.
    """

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch.

        Returns:
            Of the samples, ``(samples, tokens)``: ``input_ids``, ``attention_mask``, ``weights``, and ``place``, the place
            of each token in the flattened sides. Of the sides, first all chosen ones, ``(2 * pairs, tokens)``:
            ``side_ids``, ``side_attention``, ``side_mask``. The reference's log-probabilities, where the rows have them.
        """
        sides = [
            list(zip(one[f"{name}_ids"], one[f"{name}_weights"], strict=True))
            for name in ("chosen", "rejected")
            for one in examples
        ]
        longest = max(len(ids) for side in sides for ids, _ in side)
        width = max(sum(len(ids) for ids, _ in side) for side in sides)
        samples = sum(len(side) for side in sides)
        batch = {
            "input_ids": torch.full((samples, longest), self._pad),
            "attention_mask": torch.zeros((samples, longest), dtype=torch.long),
            "weights": torch.zeros((samples, longest)),
            # Padding goes to a place behind all sides, which is cut off.
            "place": torch.full((samples, longest), len(sides) * width),
            "side_ids": torch.full((len(sides), width), self._pad),
            "side_attention": torch.zeros((len(sides), width), dtype=torch.long),
            "side_mask": torch.zeros((len(sides), width), dtype=torch.long),
        }
        sample = 0
        for number, side in enumerate(sides):
            at = 0
            for ids, weights in side:
                size = len(ids)
                batch["input_ids"][sample, :size] = batch["side_ids"][number, at : at + size] = torch.tensor(ids)
                batch["weights"][sample, :size] = torch.tensor(weights)
                batch["attention_mask"][sample, :size] = batch["side_attention"][number, at : at + size] = 1
                batch["side_mask"][number, at : at + size] = batch["weights"][sample, :size] > 0
                batch["place"][sample, :size] = torch.arange(number * width + at, number * width + at + size)
                at += size
                sample += 1
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in examples[0]:
                batch[name] = torch.tensor([one[name] for one in examples])
        return batch


def _as_sides(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch as TRL reads it: one row for each side."""
    sides = {
        "input_ids": inputs["side_ids"],
        "attention_mask": inputs["side_attention"],
        "completion_mask": inputs["side_mask"],
    }
    return sides | {name: inputs[name] for name in ("ref_chosen_logps", "ref_rejected_logps") if name in inputs}


def _on_samples(model: Any, inputs: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a model that, asked for the sides of a batch, runs on their samples and answers for the sides."""
    ids, weights, place, sides = inputs["input_ids"], inputs["weights"], inputs["place"], inputs["side_ids"]

    def per_side(values: torch.Tensor) -> torch.Tensor:
        flat = values.new_zeros(sides.numel() + 1)
        # The value at index i is that of token i + 1; the first token of a sample is predicted from nothing.
        flat = flat.scatter(0, place[:, 1:].flatten(), values.flatten())
        return flat[:-1].view_as(sides)[:, 1:]

    def answer(labels: Any = None, **named: Any) -> Any:
        named |= {"input_ids": ids, "attention_mask": inputs["attention_mask"]}
        if labels is None:
            return model(**named)
        output = model(**named, labels=ids.masked_fill(weights == 0, IGNORED))
        found = {name: getattr(output, name) for name in _PER_TOKEN}
        found["log_probs"] = found["log_probs"] * weights[:, 1:].to(found["log_probs"])
        placed = {name: None if values is None else per_side(values) for name, values in found.items()}
        return SimpleNamespace(**placed, aux_loss=getattr(output, "aux_loss", None))

    return answer
