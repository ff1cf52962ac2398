"""One optimizer step of on-policy distillation, on the tokens that the student sampled and on no other."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from step_envs.training.distillation.config import DistillationConfig
from step_envs.training.distillation.loss import logits_at, token_divergence
from step_envs.training.distillation.sampled_sequences import SampledSequence


class DistillationBatch(NamedTuple):
    """Sequences as tensors, padded on the right: those of the student, and the same as the teacher sees them.

    Attributes:
        ids: Token ids of the student, ``[rows, tokens]``.
        mask: 1 where there is a token.
        places: True where the student sampled the token.
        teacher_ids: Token ids of the teacher; of another length if it has a hint.
        teacher_mask: 1 where there is a token.
        teacher_places: True where the student sampled the token; as many in every row as in ``places``.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    places: torch.Tensor
    teacher_ids: torch.Tensor
    teacher_mask: torch.Tensor
    teacher_places: torch.Tensor


class StepFigures(NamedTuple):
    """What was measured in an optimizer step, before it.

    Attributes:
        loss: Sum of the divergence over the sampled tokens.
        kl: Sum of the reverse KL.
        tokens: Sampled tokens.
        gradient_norm: Norm of the gradient before it was clipped.
        learning_rate: Of the step.
    """

    loss: float
    kl: float
    tokens: int
    gradient_norm: float
    learning_rate: float


def make_batch(sequences: Sequence[SampledSequence], filler: int, device: torch.device) -> DistillationBatch:
    """Make the tensors of sequences.

    Args:
        sequences: The sequences, a row each.
        filler: Token id for padding.
        device: Where the tensors are put.
    """
    parts: list[torch.Tensor] = []
    for prompts in ([one.prompt for one in sequences], [one.teacher_prompt for one in sequences]):
        width = max(len(prompt) + len(one.completion) for prompt, one in zip(prompts, sequences, strict=True))
        ids = torch.full((len(sequences), width), filler)
        mask = torch.zeros((len(sequences), width), dtype=torch.long)
        places = torch.zeros((len(sequences), width), dtype=torch.bool)
        for row, (prompt, one) in enumerate(zip(prompts, sequences, strict=True)):
            end = len(prompt) + len(one.completion)
            ids[row, :end] = torch.tensor([*prompt, *one.completion])
            mask[row, :end] = 1
            places[row, len(prompt) : end] = torch.tensor(one.sampled)
        parts += [ids, mask, places]
    return DistillationBatch(*(part.to(device) for part in parts))


def batch_losses(
    student: Any, teacher: Any, batch: DistillationBatch, *, beta: float, vocabulary: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the divergence at every sampled token.

    Args:
        student: The model that is trained.
        teacher: The model that it is trained towards.
        batch: The sequences.
        beta: See ``token_divergence``.
        vocabulary: Tokens of the shared tokenizer.

    Returns:
        The divergence, with gradient, and the reverse KL, without; each ``[sampled tokens]``.
    """
    with torch.no_grad():
        wanted = logits_at(teacher, batch.teacher_ids, batch.teacher_mask, batch.teacher_places, vocabulary)
    own = logits_at(student, batch.ids, batch.mask, batch.places, vocabulary)
    loss = token_divergence(own, wanted, beta)
    with torch.no_grad():
        reverse = loss.detach() if beta == 1 else token_divergence(own, wanted)
    return loss, reverse


class DistillationOptimizer:
    """The student's optimizer and its schedule.

    Args:
        student: The model that is trained.
        teacher: The model that it is trained towards.
        config: The settings.
        vocabulary: Tokens of the shared tokenizer.
        filler: Token id for padding.
    """

    def __init__(self, student: Any, teacher: Any, config: DistillationConfig, vocabulary: int, filler: int) -> None:
        from transformers import get_scheduler

        self._student, self._teacher, self._config = student, teacher, config
        self._vocabulary, self._filler = vocabulary, filler
        self._optimizer = torch.optim.AdamW(
            student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        steps = config.iterations * config.updates
        self._schedule = get_scheduler(
            config.schedule,
            self._optimizer,
            num_warmup_steps=round(config.warmup * steps),
            num_training_steps=steps,
        )

    def step(self, sequences: Sequence[SampledSequence]) -> StepFigures | None:
        """Train on sequences, and return what was measured before; None where there is none: nothing is changed."""
        tokens = sum(sum(one.sampled) for one in sequences)
        rate = float(self._schedule.get_last_lr()[0])
        figures = None
        if tokens:
            loss = kl = 0.0
            for rows in _batches(sequences, self._config.batch_size):
                batch = make_batch(rows, self._filler, self._student.device)
                each, reverse = batch_losses(
                    self._student, self._teacher, batch, beta=self._config.beta, vocabulary=self._vocabulary
                )
                (each.sum() / tokens).backward()
                loss += each.sum().item()
                kl += reverse.sum().item()
            norm = torch.nn.utils.clip_grad_norm_(self._student.parameters(), self._config.max_grad_norm)
            figures = StepFigures(loss, kl, tokens, norm.item(), rate)
        # Without a gradient nothing changes. The step counts, so that the rate depends on the iteration alone.
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        return figures

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold besides the model."""
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def _batches(sequences: Sequence[SampledSequence], rows: int) -> Iterator[Sequence[SampledSequence]]:
    """Cut sequences into batches of similar length, so that little is padded."""
    ordered = sorted(sequences, key=lambda one: len(one.prompt) + len(one.completion))
    for start in range(0, len(ordered), rows):
        yield ordered[start : start + rows]
