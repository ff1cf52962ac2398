"""Measure how many names a model copies right: the figure that tells whether a tiny model can act at all.

Loss and token accuracy do not tell it. Most tokens of a reply are the same in every reply ("Thought: Goal: ... Action: go
to"), and a model that writes them and guesses every name has a token accuracy of 84 %, and never succeeds. A name is taken
for a token that few rows hold; it can be copied where it stands earlier in the same row.
"""

from collections.abc import Sequence
from typing import Any

RARE = 0.2
"""A token that a smaller share of the rows holds is part of a name, and not of the wording that all replies share."""


def name_tokens(rows: Sequence[Any], vocabulary: int) -> Any:
    """Return which tokens are names, as a boolean tensor of shape ``[vocabulary]``.

    Args:
        rows: Token ids of every row, as tensors.
        vocabulary: Number of tokens.
    """
    import torch

    holding = torch.zeros(vocabulary)
    for ids in rows:
        holding[ids.unique()] += 1
    return holding < RARE * len(rows)


def count_copied(ids: Any, targets: Any, trained: Any, predicted: Any, names: Any) -> tuple[int, int]:
    """Count the trained names that stand earlier in their row, and those of them that were predicted right.

    Args:
        ids: Token ids of shape ``[rows, tokens]``.
        targets: The next token at each place but the last, of shape ``[rows, tokens - 1]``.
        trained: Which of them are trained on, a boolean tensor of the same shape.
        predicted: The likeliest token at each trained place, of shape ``[trained places]``.
        names: As from ``name_tokens``.

    Returns:
        Names predicted right, and names in all.
    """
    import torch

    row, place = trained.nonzero(as_tuple=True)
    wanted = targets[trained]
    before = torch.arange(ids.shape[1], device=ids.device) <= place[:, None]
    mentioned = ((ids[row] == wanted[:, None]) & before).any(1)
    counted = mentioned & names.to(ids.device)[wanted]
    return int((predicted[counted] == wanted[counted]).sum()), int(counted.sum())
