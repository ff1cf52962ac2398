"""Train a tiny model on rows of similar length: the training loop of the models that ``reproduce`` makes from nothing.

With a model of less than a million parameters, most of the time of a general trainer goes into its own bookkeeping, into
logits that no loss needs, and into attention between packed documents that is then masked. Here rows of similar length form
a batch, padded on the right, so that no attention mask is needed: a causal model never looks to the right. Logits are
computed for trained tokens alone. Loss, optimizer, schedule, log and callbacks are those of TRL's trainer, which gives the
same model on the same batches; a test compares the two. The log also says how many names were copied right (see
``copied_names``).
"""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from step_envs.errors import DataError
from step_envs.run_folder import write_json
from step_envs.training.copied_names import count_copied, name_tokens
from step_envs.training.mask_audit import AuditPlan, Document, choose_documents, measure_kinds
from step_envs.training.tokens import IGNORED
from step_envs.training.validation import ValidationRows

_POOL = 64  # batches: rows are sorted by length within a pool of this size, so that batches still differ in every epoch
_STATE = "small_model_loop.pt"
_TOLERANCE = 1e-4

Step = list[list[int]]
"""The rows of an optimizer step: one list of row numbers for each forward pass."""


def plan_steps(
    lengths: Sequence[int],
    *,
    rows: int,
    tokens: int | None,
    accumulate: int,
    epochs: float,
    max_steps: int | None,
    seed: int,
) -> list[Step]:
    """Decide which rows every optimizer step trains on; the seed alone decides it, so a stopped training can go on.

    Args:
        lengths: Tokens of every row.
        rows: Rows of a forward pass.
        tokens: The most tokens of a forward pass, padding included, in place of ``rows``.
        accumulate: Forward passes per step.
        epochs: Passes over the rows.
        max_steps: Number of steps, in place of ``epochs``.
        seed: Decides the order.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    steps: list[Step] = []
    wanted = max_steps or math.inf
    while len(steps) < wanted:
        batches = _batches(lengths, rng.permutation(len(lengths)).tolist(), rows, tokens)
        order = rng.permutation(len(batches)).tolist()
        shuffled = [batches[place] for place in order]
        epoch = [shuffled[start : start + accumulate] for start in range(0, len(shuffled), accumulate)]
        if max_steps is None and wanted == math.inf:
            wanted = math.ceil(epochs * len(epoch))
        steps += epoch
    return steps[: int(wanted)]


def _batches(lengths: Sequence[int], order: Sequence[int], rows: int, tokens: int | None) -> list[list[int]]:
    """Cut shuffled rows into batches of rows of similar length."""
    mean = sum(lengths) / len(lengths)
    pool = _POOL * (rows if tokens is None else max(1, int(tokens / mean)))
    batches: list[list[int]] = []
    rest: list[int] = []
    for start in range(0, len(order), pool):
        batch: list[int] = []
        for row in sorted([*rest, *order[start : start + pool]], key=lambda row: -lengths[row]):
            full = (
                len(batch) == rows
                if tokens is None
                else (len(batch) + 1) * lengths[batch[0]] > tokens
                if batch
                else False
            )
            if full:
                batches.append(batch)
                batch = []
            batch.append(row)
        # The last batch of a pool is rarely full: its rows go on into the next pool.
        rest = batch
    return [*batches, rest] if rest else batches


class SmallModelTrainer:
    """Trains a model on rows of similar length.

    Args:
        model: A causal language model of transformers whose logits are its last hidden states through its output layer.
        args: Arguments of TRL's trainer; those about optimizer, schedule, log, checkpoints and reports are followed.
        dataset: Rows with ``input_ids``, ``labels`` and optionally ``weights`` and ``kinds``.
        steps: The rows of every optimizer step, as from ``plan_steps``.
        audit: How often rows with ``kinds`` are audited; None is never.
        held_out: Rows that are not trained on, to evaluate on; None is none.

    Attributes:
        model: The model.
        state: transformers' state of the training, with its log.

    Raises:
        DataError: The model computes its logits in another way, or several processes train.
    """

    def __init__(
        self,
        model: Any,
        args: Any,
        dataset: Any,
        steps: list[Step],
        audit: AuditPlan | None = None,
        held_out: ValidationRows | None = None,
    ) -> None:
        import torch
        from transformers import TrainerControl, TrainerState, get_scheduler
        from transformers.integrations import get_reporting_integration_callbacks
        from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

        if args.world_size > 1:
            raise DataError('loop="small" trains in one process: use loop="trl" with several.')
        self.model, self.args, self.steps, self._audit = model.to(args.device), args, steps, audit
        self._held_out = held_out
        self._rows = _Rows(dataset, args.device)
        self._refuse_other_heads()
        decayed = [one for one in model.parameters() if one.ndim > 1]
        others = [one for one in model.parameters() if one.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": args.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=args.learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            fused=True,
        )
        self._schedule = get_scheduler(
            args.lr_scheduler_type,
            self._optimizer,
            num_warmup_steps=args.get_warmup_steps(len(steps)),
            num_training_steps=len(steps),
        )
        self.state, self.control = TrainerState(max_steps=len(steps)), TrainerControl()
        self.state.compute_steps(args, len(steps))
        callbacks = [DefaultFlowCallback, *get_reporting_integration_callbacks(args.report_to)]
        self._callbacks = CallbackHandler(callbacks, model, None, self._optimizer, self._schedule)
        self.add_callback, self.remove_callback = self._callbacks.add_callback, self._callbacks.remove_callback
        self._losses: list[Any] = []
        self._copied: tuple[int, int] | None = None
        self._names = self._rows.names(model.get_input_embeddings().num_embeddings)

    def train(self, resume_from_checkpoint: str | None = None) -> None:
        """Train to the end, from the beginning or from a checkpoint."""
        import torch

        if resume_from_checkpoint is not None:
            self._load(Path(resume_from_checkpoint))
        began = time.perf_counter()
        self.model.train()
        self._call("on_train_begin")
        per_epoch = self._rows.count
        trained_rows = sum(len(batch) for step in self.steps[: self.state.global_step] for batch in step)
        for number in range(self.state.global_step, len(self.steps)):
            self._call("on_step_begin")
            found = self._audit_step(number)
            self._copied = (0, 0) if (number + 1) % self.args.logging_steps == 0 else None
            loss = self._backward(self.steps[number])
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
            rate = self._schedule.get_last_lr()[0]
            self._optimizer.step()
            self._schedule.step()
            self._optimizer.zero_grad()
            self._losses.append(loss)
            trained_rows, before = trained_rows + sum(map(len, self.steps[number])), trained_rows
            self.state.global_step, self.state.epoch = number + 1, trained_rows / per_epoch
            self._call("on_step_end")
            if trained_rows // per_epoch > before // per_epoch or number + 1 == len(self.steps):
                self._call("on_epoch_end")
            if self.control.should_log:
                mean = torch.stack(self._losses).mean().item()
                self._losses = []
                found |= self._names_right()
                self.log({"loss": mean, "grad_norm": norm.item(), "learning_rate": rate} | found)
            if self.control.should_evaluate:
                self.evaluate()
            if self.control.should_save:
                self._save(Path(self.args.output_dir) / f"checkpoint-{number + 1}")
                self._call("on_save")
        self.log({"train_runtime": time.perf_counter() - began})
        self._call("on_train_end")

    def evaluate(self) -> dict[str, float]:
        """Measure the losses on the rows that are not trained on, log and return them; without such rows, none."""
        self.control.should_evaluate = False
        figures = {} if self._held_out is None else self._held_out.measure(self.model, self.args.device)
        if figures:
            self.log(figures)
        return figures

    def log(self, logs: dict[str, Any]) -> None:
        """Add an entry to the log, and hand it to the backends."""
        entry = logs | {"epoch": self.state.epoch, "num_input_tokens_seen": self.state.num_input_tokens_seen}
        self.state.log_history.append(entry | {"step": self.state.global_step})
        self._callbacks.on_log(self.args, self.state, self.control, entry)
        self.control.should_log = False

    def save_model(self, out: str) -> None:
        """Save the model as a checkpoint of transformers."""
        self.model.save_pretrained(out)

    def save_state(self) -> None:
        """Save the log and the counts as ``trainer_state.json``."""
        self.state.save_to_json(str(Path(self.args.output_dir) / "trainer_state.json"))

    def is_world_process_zero(self) -> bool:
        """Return True: there is only one process."""
        return True

    def _call(self, event: str) -> None:
        self.control = getattr(self._callbacks, event)(self.args, self.state, self.control)

    def _backward(self, step: Step) -> Any:
        """Add the gradients of a step, and return its loss: the weighted mean over all its trained tokens."""
        import torch

        backbone, head = self.model.base_model, self.model.get_output_embeddings()
        total = sum(self._rows.weight(batch) for batch in step)
        losses = []
        for batch in step:
            ids, targets, weights = self._rows.padded(batch)
            hidden = backbone(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
            trained = targets != IGNORED
            logits = head(hidden[trained]).float()
            if self._copied is not None:
                # Only at steps that are logged: it takes the time of a few percent of a step.
                found = count_copied(ids, targets, trained, logits.argmax(-1), self._names)
                self._copied = (self._copied[0] + found[0], self._copied[1] + found[1])
            each = torch.nn.functional.cross_entropy(logits, targets[trained], reduction="none")
            loss = (each * weights[trained]).sum() / max(total, 1e-8)
            loss.backward()
            losses.append(loss.detach())
            self.state.num_input_tokens_seen += sum(self._rows.lengths[row] for row in batch)
        return torch.stack(losses).sum()

    def _names_right(self) -> dict[str, float]:
        """Return the share of copyable names that the last step predicted right, if there were any."""
        if self._copied is None or self._copied[1] == 0:
            return {}
        return {"names_right": self._copied[0] / self._copied[1]}

    def _audit_step(self, number: int) -> dict[str, float]:
        if self._audit is None or not self._audit.is_due(number + 1, self.args.logging_steps):
            return {}
        documents = [self._rows.document(row) for batch in self.steps[number] for row in batch]
        return measure_kinds(self.model, choose_documents(documents, self._audit.share))

    def _refuse_other_heads(self) -> None:
        """Check on the model itself that its logits are its hidden states through its output layer, without more."""
        import torch

        ids = self._rows.padded([0])[0][:, :32]
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            whole = self.model(input_ids=ids, use_cache=False).logits
            parts = self.model.get_output_embeddings()(self.model.base_model(input_ids=ids, use_cache=False)[0])
        self.model.train(training)
        if not torch.allclose(whole, parts, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise DataError('loop="small" does not fit this model, which changes its logits: use loop="trl".')

    def _save(self, folder: Path) -> None:
        import torch

        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
            "losses": self._losses,
        }
        torch.save(state, folder / _STATE)
        # Last, because a checkpoint counts as complete once it has this file.
        write_json(folder / "trainer_state.json", vars(self.state) | {"stateful_callbacks": {}})
        for older in folder.parent.glob("checkpoint-*"):
            if older != folder and older.name.rpartition("-")[2].isdecimal():
                shutil.rmtree(older)
        self.control.should_save = False

    def _load(self, folder: Path) -> None:
        import torch
        from transformers import TrainerState

        state = torch.load(folder / _STATE, map_location=self.args.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        self._losses = state["losses"]
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))


class _Rows:
    """The rows of a dataset as tensors, because reading a row from the dataset takes longer than padding a batch."""

    def __init__(self, dataset: Any, device: Any) -> None:
        import torch

        columns = dataset.with_format(None)[:]
        self.count, self._device = len(columns["input_ids"]), device
        self.lengths = [len(ids) for ids in columns["input_ids"]]
        self._ids = [torch.tensor(ids) for ids in columns["input_ids"]]
        # What the token at a place is trained to predict is the label of the token after it.
        self._targets = [torch.tensor(labels[1:]) for labels in columns["labels"]]
        weights = columns.get("weights") or [[float(label != IGNORED) for label in row] for row in columns["labels"]]
        self._weights = [torch.tensor(row) for row in weights]
        self._kinds = [torch.tensor(row) for row in columns.get("kinds", [])]

    def names(self, vocabulary: int) -> Any:
        """Return which tokens are names; see ``copied_names``."""
        return name_tokens(self._ids, vocabulary)

    def weight(self, rows: Sequence[int]) -> float:
        """Sum the weights of the trained tokens of rows."""
        return float(sum(self._weights[row][1:].sum().item() for row in rows))

    def padded(self, rows: Sequence[int]) -> tuple[Any, Any, Any]:
        """Return ids of shape ``[rows, tokens]``, and targets and their weights of shape ``[rows, tokens - 1]``."""
        from torch.nn.utils.rnn import pad_sequence

        parts = (
            pad_sequence([self._ids[row] for row in rows], batch_first=True),
            pad_sequence([self._targets[row] for row in rows], batch_first=True, padding_value=IGNORED),
            pad_sequence([self._weights[row][1:] for row in rows], batch_first=True),
        )
        ids, targets, weights = (part.to(self._device) for part in parts)
        return ids, targets, weights

    def document(self, row: int) -> Document:
        """Return a row for the audit."""
        parts = self._ids[row], self._weights[row], self._kinds[row]
        return Document(*(part.to(self._device) for part in parts))
