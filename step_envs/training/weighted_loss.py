"""TRL's trainer, with a weight for every token: the one thing it does not offer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from trl import SFTTrainer

from step_envs.training.tokens import IGNORED


class WeightedSFTTrainer(SFTTrainer):  # type: ignore[misc]  # TRL is not followed by the type checker
    """``SFTTrainer`` whose batches may have ``weights`` beside the labels.

    The loss is the mean over the labelled tokens of all batches of an optimizer step, on all processes, each counted by its
    weight. Weights of 1 give TRL's own loss, and a weight that goes to 0 gives the loss without the token.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.data_collator = WithWeights(getattr(self, "data_collator"))  # noqa: B009  (set by a class not followed)

    def get_batch_samples(self, *arguments: Any, **named: Any) -> tuple[list[dict[str, Any]], Any]:
        """Give the batches of an optimizer step, and what their loss is divided by: the sum of the weights."""
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
        """Give the weighted loss of a batch."""
        weights = inputs.pop("weights")[:, 1:]
        labels = inputs["labels"][:, 1:]
        # Without the cache: with it, packed documents would attend to one another.
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"}, use_cache=False)
        logits = outputs.logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        weights = weights.to(losses)
        total = weights.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).to(losses)
        loss = (losses * weights).sum() / total.clamp(min=1e-8)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The weights were added up over all processes, whose gradients are averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


class WithWeights:
    """A collator that lays ``weights`` out as another lays out the labels.

    Args:
        collate: The trainer's own collator, padding or flattening.
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch."""
        batch = self._collate([dict(example) for example in examples])
        laid_out = self._collate(
            [{**example, "labels": [float(weight) for weight in example["weights"]]} for example in examples]
        )["labels"]
        return batch | {"weights": torch.where(batch["labels"] == IGNORED, 0.0, laid_out.float())}
