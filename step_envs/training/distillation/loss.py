"""How far a student's next-token probabilities are from a teacher's: the divergence that on-policy distillation minimises.

The whole vocabulary is compared at every place, and not only the token that the student sampled: this is what a teacher in
the same process can give beyond a reward, and it has less noise. The family is that of TRL's ``GKDTrainer`` (arXiv
2306.13649), with the same meaning of ``beta``:

- 0: forward KL, ``KL(teacher || student)``; the student covers all that the teacher may say
- 1: reverse KL, ``KL(student || teacher)``; the student drops what the teacher would not say
- between: the generalized Jensen-Shannon divergence, against the mixture ``beta * teacher + (1 - beta) * student``
"""

import inspect
import math
from typing import Any

import torch


def token_divergence(student: torch.Tensor, teacher: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Compute the divergence at every place.

    Args:
        student: Logits of the student, ``[places, vocabulary]``.
        teacher: Logits of the teacher, of the same shape; no gradient flows into them.
        beta: 1 is the reverse KL, 0 the forward KL.

    Returns:
        The divergence in nats, ``[places]``, at least 0 but for rounding.
    """
    of_student = torch.log_softmax(student.float(), -1)
    of_teacher = torch.log_softmax(teacher.detach().float(), -1)
    if beta == 1:
        return _kl(of_student, of_teacher)
    if beta == 0:
        return _kl(of_teacher, of_student)
    mixture = torch.logaddexp(of_student + math.log1p(-beta), of_teacher + math.log(beta))
    return beta * _kl(of_teacher, mixture) + (1 - beta) * _kl(of_student, mixture)


def _kl(of: torch.Tensor, against: torch.Tensor) -> torch.Tensor:
    return (of.exp() * (of - against)).sum(-1)


def logits_at(model: Any, ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Compute the logits from which some tokens of a batch are predicted.

    Args:
        model: A causal language model of transformers.
        ids: Token ids, padded on the right, ``[rows, tokens]``.
        mask: 1 where there is a token, 0 where there is padding; the same shape.
        places: True at the tokens to be predicted; the same shape. Never at the first token of a row.
        vocabulary: How many logits to keep of each place, the first ones. Models of one family pad their output layer to
            different widths, with numbers of no token.

    Returns:
        ``[places, vocabulary]``, row by row.
    """
    # Most of a conversation is not trained: logits of a large vocabulary are computed where any row needs them.
    wanted = places.any(0).nonzero()[:, 0] - 1
    known = "logits_to_keep" in inspect.signature(model.forward).parameters
    kept_alone = {"logits_to_keep": wanted} if known else {}
    out = model(input_ids=ids, attention_mask=mask, use_cache=False, **kept_alone).logits
    if not known:
        out = out[:, wanted]
    kept: torch.Tensor = out[places[:, wanted + 1]][:, :vocabulary]
    return kept
