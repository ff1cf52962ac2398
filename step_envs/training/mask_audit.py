"""Measure, during training, how much each kind of turn is trained on: loss and gradient norm by kind.

A mask can be right in the data and wrong in the loss: a trainer may shift labels, drop weights or mask again. So the audit
takes batches as the trainer got them, and computes the gradient of each kind's part of the loss at the current parameters.
Under STeP's mask the part of the errors must be exactly zero; nothing here knows that it should be. Their unweighted loss
is measured as well: the model reads them as context, and the loss shows whether it learns to write them.

A backward pass for every kind would cost more than the training itself. So an audit takes a few documents of a step, and
audits are planned so far apart that together they do about 5 % of the training's work; with small batches they do more,
because an audit takes no less than a row.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from step_envs.run_folder import write_json
from step_envs.training.audit_plot import draw_audit
from step_envs.training.tokens import IGNORED
from step_envs.training.turn_kinds import KINDS

AUDIT = "audit.json"
"""File beside a checkpoint: loss and gradient norm of every kind of turn at every audited step."""

_SHARE = 0.05
_COST = (1 + 2 * len(KINDS)) / 3
"""Work of an audit, in training steps over the same tokens: a forward pass, and a backward pass (two) for every kind."""


class AuditPlan(NamedTuple):
    """How often training is audited, and on how much.

    Attributes:
        interval: Steps between audits, a multiple of the steps between entries of the log.
        share: Share of a step's tokens that an audit takes.
    """

    interval: int
    share: float

    def is_due(self, step: int, logging_steps: int) -> bool:
        """Return whether a step (counted from 1) is audited: the first logged one, and then one per interval."""
        return step == logging_steps or step % self.interval == 0


def plan_audits(rows_per_step: int, logging_steps: int) -> AuditPlan:
    """Choose interval and size of the audits, so that they do about 5 % of the training's work.

    >>> plan_audits(8, 10), plan_audits(2, 1)
    (AuditPlan(interval=10, share=0.16666666666666666), AuditPlan(interval=30, share=0.5))
    """
    smallest = 1 / rows_per_step  # no less than a row
    logs = max(1, math.ceil(smallest * _COST / (_SHARE * logging_steps)))
    interval = logs * logging_steps
    return AuditPlan(interval, min(1.0, max(smallest, _SHARE * interval / _COST)))


class Document(NamedTuple):
    """A row without padding: tensors of shape ``[tokens]`` with ids, loss weights and codes of kinds."""

    ids: Any
    weights: Any
    kinds: Any


def documents_of(batch: Mapping[str, Any]) -> list[Document]:
    """Take a trainer's batch apart into its documents, padded in rows or packed into one.

    Args:
        batch: ``input_ids``, ``labels`` and ``kinds`` of shape ``[rows, tokens]``; ``attention_mask`` or, for packed
            documents, ``position_ids``; ``weights`` where they are not all 0 or 1.
    """
    weights = batch.get("weights")
    if weights is None:
        weights = (batch["labels"] != IGNORED).float()
    found = []
    for row, ids in enumerate(batch["input_ids"]):
        if "attention_mask" in batch:
            places = [batch["attention_mask"][row].nonzero()[:, 0]]
        else:
            starts = (batch["position_ids"][row] == 0).nonzero()[:, 0].tolist()
            whole = ids.new_tensor(range(len(ids)))
            places = [whole[a:b] for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]
        found += [Document(ids[at], weights[row][at], batch["kinds"][row][at].clamp(min=0)) for at in places]
    return found


def choose_documents(documents: Sequence[Document], share: float) -> list[Document]:
    """Choose documents that hold about a share of the tokens: first those with the most kinds not yet seen."""
    room = share * sum(len(one.ids) for one in documents)
    # With few kinds the search ends early: most rows of golden data hold a single kind.
    left = [(one, set(one.kinds.unique().tolist()) - {0}) for one in documents]
    chosen: list[Document] = []
    seen: set[int] = set()
    while left:
        best = max(range(len(left)), key=lambda index: (len(left[index][1] - seen), -index))
        document, kinds = left.pop(best)
        if chosen and len(document.ids) > room:
            continue
        chosen.append(document)
        seen |= kinds
        room -= len(document.ids)
    return chosen


def measure_kinds(model: Any, documents: Sequence[Document], autocast: Any = None) -> dict[str, float]:
    """Compute loss and gradient norm of every kind of turn in some documents, without a trace in the training.

    Args:
        model: A causal language model of transformers; its gradients, mode and random state stay as they are.
        documents: What to measure on.
        autocast: Context in which the model computes, as in training; None is none.

    Returns:
        ``loss/<kind>``: mean negative log-likelihood of the kind's tokens, trained or not; ``grad_norm/<kind>``: norm of
        the gradient of its part of the weighted loss, in which every token counts as much as in training.
    """
    import torch

    longest = max(len(one.ids) for one in documents)

    def padded(rows: Iterable[Any]) -> Any:
        return torch.stack([torch.nn.functional.pad(row, (0, longest - len(row))) for row in rows])

    ids, weights, kinds = (padded(part) for part in zip(*documents, strict=True))
    mask = padded(torch.ones_like(one.ids) for one in documents)
    cuda = [ids.device] if ids.device.type == "cuda" else []
    # Dropout draws as in training, but from a state that training does not see.
    with torch.random.fork_rng(devices=cuda), autocast or nullcontext():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    of, weights, targets = kinds[:, 1:], weights[:, 1:], ids[:, 1:]
    total = weights.sum().clamp(min=1e-8)
    place = of > 0
    losses = torch.nn.functional.cross_entropy(logits[place].float(), targets[place], reduction="none")
    weighted = losses * weights[place].to(losses)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    figures: dict[str, float] = {}
    for code, kind in enumerate(KINDS, 1):
        mine = of[place] == code
        if not mine.any():
            continue
        # Not backward(): it would add to the gradients of training, and wake the hooks of distributed training.
        gradients = torch.autograd.grad(weighted[mine].sum() / total, parameters, retain_graph=True, allow_unused=True)
        norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
        figures[f"loss/{kind}"] = losses[mine].mean().item()
        figures[f"grad_norm/{kind}"] = torch.stack(norms).norm().item()
    return figures


def read_audit(history: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """Take the figures of the audits out of a trainer's log.

    Returns:
        For every kind, a list of ``step``, ``loss`` and ``grad_norm``.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for entry in history:
        for kind in KINDS:
            if f"grad_norm/{kind}" in entry:
                point = {"step": entry["step"], "loss": entry[f"loss/{kind}"], "grad_norm": entry[f"grad_norm/{kind}"]}
                found.setdefault(kind, []).append(point)
    return found


def write_audit(history: Iterable[Mapping[str, Any]], out: Path) -> None:
    """Write ``audit.json`` and ``audit.png`` beside a checkpoint; nothing if training was not audited.

    Raises:
        StoreError: The files cannot be written.
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    figures = read_audit(history)
    if not figures:
        return
    write_json(out / AUDIT, figures)
    draw_audit({out.name: figures}, out / "audit.png")
