"""transformers' Trainer on whole episodes: the loss of an episode needs the contributions of all its replies at once.

A template that rewrites the history makes a sample of every reply, so that a few episodes are hundreds of samples. Their
activations would not fit into memory together. So a batch is read a few samples at a time, and where there is more than one
such part, its activations are computed again in the backward pass (``torch.utils.checkpoint``). The gradient is the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import Trainer

from step_envs.credit.estimator_model import padded


class ProgressTrainer(Trainer):  # type: ignore[misc]  # transformers is not followed by the type checker
    """``Trainer`` on the rows of ``encode_episodes``; arguments are those of ``Trainer``.

    The loss of an episode is the squared error of its predicted final score, the sum of the predictions at its places.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, data_collator=collate_episodes, **named)
        # The loss is a mean over episodes, so the trainer has to divide it by the number of batches of a step.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss of the episodes of a batch."""
        contributions = self._contributions(model, inputs)
        outcomes = inputs["outcomes"]
        predicted = torch.zeros_like(outcomes).index_add(0, inputs["episodes"], contributions)
        loss = torch.nn.functional.mse_loss(predicted, outcomes)
        return (loss, {"predicted": predicted}) if return_outputs else loss

    def _contributions(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Return the predictions at all places of a batch."""
        ids, rows, columns = inputs["input_ids"], inputs["rows"], inputs["columns"]

        def read(part: torch.Tensor, first: int) -> torch.Tensor:
            mine = (rows >= first) & (rows < first + len(part))
            logits = model(input_ids=part, use_cache=False).logits
            found: torch.Tensor = logits[rows[mine] - first, columns[mine], 0].float()
            return found

        # Several processes have to call the model equally often, so each of them reads its batch as one part.
        size = self.args.per_device_train_batch_size if self.args.world_size == 1 else len(ids)
        parts = [(ids[first : first + size], first) for first in range(0, len(ids), size)]
        if len(parts) == 1:
            return read(*parts[0])
        return torch.cat([checkpoint(read, *part, use_reentrant=False) for part in parts])


def collate_episodes(examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Make a batch of rows of ``encode_episodes``.

    Returns:
        ``input_ids`` ``[samples, tokens]``, padded on the right; of every place its sample, token and episode: ``rows``,
        ``columns`` and ``episodes``; and ``outcomes``, one for each episode.
    """
    samples = [
        (episode, ids, places)
        for episode, example in enumerate(examples)
        for ids, places in zip(example["input_ids"], example["places"], strict=True)
    ]
    at = [(row, place, episode) for row, (episode, _, places) in enumerate(samples) for place in places]
    rows, columns, episodes = torch.tensor(at).T
    return {
        "input_ids": padded([ids for _, ids, _ in samples]),
        "rows": rows,
        "columns": columns,
        "episodes": episodes,
        "outcomes": torch.tensor([float(example["outcome"]) for example in examples]),
    }


def switch_dropout_off(network: torch.nn.Module) -> None:
    """Switch dropout off everywhere: in a sum over dozens of replies, its noise adds up."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            vars(module)["attention_dropout"] = 0.0
