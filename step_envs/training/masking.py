"""Which turns of a trajectory are trained on, and how much: the three masks that STeP compares, and weights in between.

A trajectory is recorded with the weights of the mask ``partial``. The other masks concern only the turns that were judged
wrong, so they are computed from the recorded turns and nothing has to be collected again.
"""

from collections.abc import Iterator
from typing import Any, cast, get_args

from step_envs.errors import unknown_name
from step_envs.loss_weights import Masking, turn_weight
from step_envs.trajectory import Trajectory, Turn

__all__ = ["Masking", "begins_at", "check_error_weight", "check_masking", "masked_messages", "remaining_turns"]


def check_masking(name: str) -> Masking:
    """Check the name of a mask.

    Raises:
        UnknownNameError: There is no such mask.
    """
    if name not in get_args(Masking):
        raise unknown_name("masking", name, get_args(Masking))
    return cast(Masking, name)


def check_error_weight(weight: float, masking: Masking) -> float:
    """Check the weight of error turns under a mask, and return it.

    Raises:
        ValueError: It is not from 0 to 1, or not 0 with another mask than ``partial``.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"error_weight must be from 0 to 1, got {weight:g}.")
    if weight and masking != "partial":
        raise ValueError(f'error_weight goes with masking="partial", not with {masking!r}.')
    return weight


def masked_messages(
    trajectory: Trajectory, masking: Masking = "partial", *, error_weight: float = 0.0
) -> list[dict[str, Any]]:
    """Return a trajectory's messages with the loss weights of a mask.

    Args:
        trajectory: The episode.
        masking: ``partial``: turns judged wrong stay in the context and weigh ``error_weight``. ``none``: they weigh 1.
            ``drop``: they are removed, each with the observation that answered it; the observation after the correction
            still describes a world in which the error happened.
        error_weight: Weight of the tokens of error turns under ``partial``, from 0 (STeP) to 1 (the same as ``none``).

    Returns:
        ``role``, ``content`` and ``loss`` of every remaining turn, in the form of ``Trajectory.messages``.

    Raises:
        UnknownNameError: There is no such mask.
        ValueError: ``error_weight`` is not from 0 to 1, or is given with another mask than ``partial``.
    """
    check_error_weight(error_weight, check_masking(masking))
    messages: list[dict[str, Any]] = []
    for turn in remaining_turns(trajectory, masking):
        loss = turn.loss
        if turn.kind == "error":
            loss = turn_weight("error", masking=masking, error_weight=error_weight)
        messages.append({"role": turn.role, "content": turn.content, "loss": loss})
    return messages


def remaining_turns(trajectory: Trajectory, masking: Masking) -> Iterator[Turn]:
    """Iterate over the turns that remain under a mask, one for each message of ``masked_messages``."""
    answers_error = False
    for turn in trajectory.turns:
        if turn.role == "assistant":
            answers_error = turn.kind == "error"
        if masking != "drop" or not answers_error or turn.kind not in ("error", "observation"):
            yield turn


def begins_at(trajectory: Trajectory) -> int:
    """Count the messages before the first reply that acts: the manual and the task, which every window keeps."""
    for index, turn in enumerate(trajectory.turns):
        if turn.role == "assistant" and turn.kind != "instruction":
            return index
    return len(trajectory.turns)
