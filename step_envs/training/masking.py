"""Which turns of a trajectory are trained on, and how much: the three masks that STeP compares, and weights between."""

from typing import Any, Literal, cast, get_args

from step_envs.errors import unknown_name
from step_envs.trajectory import Trajectory

Masking = Literal["partial", "none", "drop"]
"""What becomes of turns judged wrong: kept without loss, trained on like the others, or taken out."""


def check_masking(name: str) -> Masking:
    """Take the name of a mask.

    Raises:
        UnknownNameError: There is no such mask.
    """
    if name not in get_args(Masking):
        raise unknown_name("masking", name, get_args(Masking))
    return cast(Masking, name)


def masked_messages(
    trajectory: Trajectory, masking: Masking = "partial", *, error_weight: float = 0.0
) -> list[dict[str, Any]]:
    """Give a trajectory's messages with the loss that a mask gives them.

    Args:
        trajectory: The episode.
        masking: ``partial``: turns judged wrong stay in the context and weigh ``error_weight``. ``none``: they weigh 1.
            ``drop``: they are taken out, each with the observation that answered it; the observation after the correction
            still tells of a world in which the error had happened.
        error_weight: Weight of the tokens of error turns under ``partial``, from 0 (STeP) to 1 (the same as ``none``).

    Returns:
        ``role``, ``content`` and ``loss`` of every turn that is left, as ``Trajectory.messages`` gives them.

    Raises:
        UnknownNameError: There is no such mask.
        ValueError: ``error_weight`` is not from 0 to 1, or is given with another mask than ``partial``.
    """
    check_masking(masking)
    if not 0 <= error_weight <= 1:
        raise ValueError(f"error_weight must be from 0 to 1, got {error_weight:g}.")
    if error_weight and masking != "partial":
        raise ValueError(f'error_weight goes with masking="partial", not with {masking!r}.')
    messages: list[dict[str, Any]] = []
    answers_error = False
    for turn in trajectory.turns:
        if turn.role == "assistant":
            answers_error = turn.kind == "error"
        if masking == "drop" and answers_error and turn.kind in ("error", "observation"):
            continue
        loss = turn.loss
        if turn.kind == "error":
            loss = 1.0 if masking == "none" else error_weight
        messages.append({"role": turn.role, "content": turn.content, "loss": loss})
    return messages


def begins_at(trajectory: Trajectory) -> int:
    """Count the messages before the first reply that acts: the manual and the task, which every window keeps."""
    for index, turn in enumerate(trajectory.turns):
        if turn.role == "assistant" and turn.kind != "instruction":
            return index
    return len(trajectory.turns)
