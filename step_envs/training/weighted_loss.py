"""TRL's SFTTrainer with a weight for every token.

Weights between 0 and 1 cannot be expressed by labels alone, and averaging weighted losses per batch would let short batches
count more. So the loss of an optimizer step is divided by the sum of the weights of all its batches on all processes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from trl import SFTTrainer

from step_envs.training.tokens import IGNORED


class WeightedSFTTrainer(SFTTrainer):  # type: ignore[misc]  # TRL is not followed by the type checker
    """``SFTTrainer`` whose batches have ``weights`` in addition to the labels.

    The loss is the weighted mean over the labelled tokens of all batches of an optimizer step, on all processes. With all
    weights 1 it is TRL's own loss; with a weight of 0 it is the loss without that token.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.data_collator = WithWeights(getattr(self, "data_collator"))  # noqa: B009  (set by a class not followed)

    def get_batch_samples(self, *arguments: Any, **named: Any) -> tuple[list[dict[str, Any]], Any]:
        """Return the batches of an optimizer step, and the divisor of their loss: the sum of the weights."""
        batches, items = super().get_batch_samples(*arguments, **named)
        if items is not None:
            items = torch.stack([batch["weights"][:, 1:].sum() for batch in batches]).sum()
            if self.args.average_tokens_across_devices and self.args.world_size > 1:
                items = self.accelerator.gather(items.to(self.args.device)).sum()
        return batches, items

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the weighted loss of a batch."""
        weights = inputs.pop("weights")[:, 1:]
        labels = inputs["labels"][:, 1:]
        # With a cache, packed documents would attend to each other.
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"}, use_cache=False)
        logits = outputs.logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        weights = weights.to(losses)
        total = weights.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).to(losses)
        loss = (losses * weights).sum() / total.clamp(min=1e-8)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The divisor is a sum over all processes, but the gradients of the processes are averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


class WithWeights:
    """Collates ``weights`` in the same layout as another collator collates the labels.

    Args:
        collate: The trainer's own collator, padding or flattening.

    Attributes:
        base: That collator.
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.base = self._collate = collate

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch."""
        batch = self._collate([dict(example) for example in examples])
        laid_out = self._collate(
            [{**example, "labels": [float(weight) for weight in example["weights"]]} for example in examples]
        )["labels"]
        return batch | {"weights": torch.where(batch["labels"] == IGNORED, 0.0, laid_out.float())}
