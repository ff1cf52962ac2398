"""Hold out a part of the tasks from a training, and measure the loss on them as it would be trained.

The evaluation of transformers averages the means of its batches, so that its number depends on which rows share a batch,
and it knows neither weights nor kinds of turns. Here the losses of all rows are added up first and divided once: by the sum
of the weights for ``eval_loss``, the mean that training minimises, and by the number of tokens for each kind of turn. Both
training loops measure by the same function, so their numbers can be compared.

Rows are split by task and not by episode: episodes of one task share most of their text, and a model would be asked what it
has read.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from step_envs.errors import DataError
from step_envs.training.tokens import IGNORED
from step_envs.training.turn_kinds import KINDS


class OfTask(Protocol):
    """What belongs to a task: a trajectory, or a preference pair."""

    @property
    def env_id(self) -> str:
        """Id of the environment."""
        ...

    @property
    def task_id(self) -> str:
        """The task."""
        ...


Item = TypeVar("Item", bound=OfTask)


class Split(NamedTuple, Generic[Item]):
    """Items to train on, and items of other tasks.

    Attributes:
        trained: Items to train on.
        held_out: Items that are not trained on.
        tasks: The tasks of the latter, each as ``<environment> <task id>``, sorted.
        of: Number of all tasks.
    """

    trained: list[Item]
    held_out: list[Item]
    tasks: tuple[str, ...]
    of: int

    def facts(self, share: float, seed: int) -> dict[str, Any]:
        """Return what is recorded of a split."""
        return {"share": share, "seed": seed, "tasks": list(self.tasks), "items": len(self.held_out)}


def split_tasks(items: Sequence[Item], share: float, seed: int) -> Split[Item]:
    """Split items so that no task is on both sides.

    Args:
        items: Trajectories or pairs.
        share: Share of the tasks to hold out, from 0 to 1; 0 holds out none.
        seed: Decides which; the order of the items does not.

    Raises:
        DataError: One of the sides would be empty.
    """
    names = sorted({_task(item) for item in items})
    number = round(share * len(names))
    if share and not number:
        least = f"give at least {1 / len(names):.2g}, or more runs" if len(names) > 1 else "give runs of more tasks"
        raise DataError(f"A validation share of {share:g} of {len(names):,} tasks is not one task: {least}.")
    if number and number == len(names):
        raise DataError(
            f"A validation share of {share:g} of {len(names):,} tasks leaves no task to train on: give less, or more runs."
        )
    chosen = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[:number]}
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        sides[_task(item) in chosen].append(item)
    return Split(sides[0], sides[1], tuple(sorted(chosen)), len(names))


def _task(item: OfTask) -> str:
    return f"{item.env_id} {item.task_id}"


class ValidationRows:
    """Rows that are not trained on, in batches of similar length.

    Args:
        dataset: Rows as for ``finetune``: ``input_ids``, ``labels`` and optionally ``weights`` and ``kinds``.
        batch_size: Rows of a forward pass.
    """

    def __init__(self, dataset: Any, batch_size: int) -> None:
        rows = sorted(dataset.with_format(None), key=lambda row: len(row["input_ids"]))
        self._batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]

    def measure(self, model: Any, device: Any, *, autocast: Any = None, accelerator: Any = None) -> dict[str, float]:
        """Compute the losses of a model, without a trace in its training.

        With an accelerator of several processes, each computes a part of the batches, and all return the same figures. All
        make equally many forward passes, because with divided parameters every pass is one of all processes.

        Args:
            model: A causal language model of transformers, or a wrapper of one.
            device: Device of the model.
            autocast: Context in which the model computes, as in training; None is none.
            accelerator: The accelerator of a training with several processes; None is one process.

        Returns:
            ``eval_loss``, the weighted mean over all tokens; ``eval_loss/<kind>``, for rows with kinds: the mean over the
            tokens of each kind, trained or not.
        """
        import torch

        rank, processes = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
        sums = torch.zeros((1 + len(KINDS), 2), dtype=torch.float64)
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), autocast or nullcontext():
                for start in range(0, len(self._batches), processes):
                    mine = start + rank < len(self._batches)
                    # Where the batches are used up, a process joins in with the first one, which does not count.
                    found = _sums(model, _padded(self._batches[start + rank if mine else 0], device))
                    sums += found if mine else 0
        finally:
            model.train(training)
        if accelerator is not None and processes > 1:
            # Not every device has numbers of 64 bits.
            sums = accelerator.reduce(sums.float().to(device), reduction="sum").double().cpu()
        names = ("eval_loss", *(f"eval_loss/{kind}" for kind in KINDS))
        return {name: float(total / count) for name, (total, count) in zip(names, sums.tolist(), strict=True) if count}


def _padded(rows: Sequence[Mapping[str, Any]], device: Any) -> dict[str, Any]:
    """Make a batch, padded on the right: tensors of shape ``[rows, tokens]``."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def column(values: Sequence[Sequence[float]], dtype: Any) -> Any:
        return pad_sequence([torch.tensor(one, dtype=dtype) for one in values], batch_first=True).to(device)

    weights = [row.get("weights") or [float(label != IGNORED) for label in row["labels"]] for row in rows]
    return {
        "input_ids": column([row["input_ids"] for row in rows], torch.long),
        "attention_mask": column([[1] * len(row["input_ids"]) for row in rows], torch.long),
        "weights": column(weights, torch.float32),
        "kinds": column([row.get("kinds") or [0] * len(row["input_ids"]) for row in rows], torch.long),
    }


def _sums(model: Any, batch: Mapping[str, Any]) -> Any:
    """Return losses and counts, of shape ``[1 + kinds, 2]``: of the trained tokens by weight, then of every kind."""
    import torch

    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits[:, :-1]
    targets, weights, kinds = (batch[name][:, 1:] for name in ("input_ids", "weights", "kinds"))
    place = (weights > 0) | (kinds > 0)
    losses = torch.nn.functional.cross_entropy(logits[place].float(), targets[place], reduction="none").double()
    weights, kinds = weights[place].double(), kinds[place]
    parts = [weights, *((kinds == code).double() for code in range(1, 1 + len(KINDS)))]
    return torch.stack([torch.stack([(losses * part).sum(), part.sum()]) for part in parts]).cpu()


def add_validation(trainer: Any) -> None:
    """Have a trainer of transformers evaluate whenever it logs, and after its last step.

    Args:
        trainer: The trainer, with rows to evaluate on.
    """
    from transformers import TrainerCallback

    class EvaluateWhenLogging(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
        """Asks for an evaluation."""

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
            """Ask for one if this step is logged, or is the last."""
            if state.global_step % state.logging_steps == 0 or state.global_step >= state.max_steps:
                control.should_evaluate = True
            return control

    trainer.add_callback(EvaluateWhenLogging())


def validated(trainer_class: type[Any], rows: ValidationRows) -> type[Any]:
    """Return a subclass of a trainer that evaluates on these rows.

    Args:
        trainer_class: ``SFTTrainer`` or a subclass of it.
        rows: Rows that are not trained on.
    """

    class ValidatedTrainer(trainer_class):  # type: ignore[misc]  # the base is an argument
        """Evaluates by ``ValidationRows``."""

        def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
            """Measure the losses, and log them."""
            divided = self.is_fsdp_enabled or self.is_deepspeed_enabled
            figures = rows.measure(
                self.model_wrapped if divided else self.model,
                self.args.device,
                autocast=self.compute_loss_context_manager(),
                accelerator=self.accelerator,
            )
            # TRL adds what it gathered in training to every entry that is logged in the mode of training.
            self.model.eval()
            self.log(dict(figures))
            self.model.train()
            self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
            return figures

    return ValidatedTrainer
