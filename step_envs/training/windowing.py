"""Cut trajectories that are longer than a row into windows; every window keeps the task, and no trained turn is cut.

To cut off the end, as trainers do, would lose exactly the late turns in which errors are corrected. Here every trained
turn is trained on in exactly one window. A window holds the manual and the task, then as many of the messages right
before its trained turns as fit. Except in the first window, the task and the trained turns take at most half of it (or
one trained turn, if that is longer), so that the other half is context.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Message = Mapping[str, Any]


class Windows(NamedTuple):
    """A conversation cut into windows.

    Attributes:
        messages: One list of messages per window; turns that are only context have loss 0.
        left_out: Number of trained turns that do not fit even alone with the task.
    """

    messages: list[list[Message]]
    left_out: int


def windows(
    messages: Sequence[Message], head: int, max_length: int, length: Callable[[Sequence[Message]], int]
) -> Windows:
    """Cut a conversation into windows.

    Args:
        messages: ``role``, ``content`` and ``loss`` of every turn.
        head: Number of messages at the beginning that every window keeps.
        max_length: The most tokens of a window.
        length: Function that counts the tokens of a conversation.

    Returns:
        The windows, in order; a conversation that fits is the only window.
    """
    whole = _without_tail(messages)
    if length(whole) <= max_length:
        return Windows([whole], 0)
    start = list(messages[:head])
    steps = _steps(messages[head:])
    found: list[list[Message]] = []
    left_out = trained = 0
    # A turn of the head with a loss is trained on in the first window only.
    shown = start
    while trained < len(steps):
        if not _has_loss(steps[trained]):
            trained += 1
            continue
        first, end = _choose_window(start, steps, trained, max_length, length)
        if end == trained:
            left_out += sum(bool(message["loss"]) for message in steps[trained])
            trained += 1
            continue
        context = [dict(message) | {"loss": 0.0} for step in steps[first:trained] for message in step]
        found.append([*shown, *context, *_without_tail([message for step in steps[trained:end] for message in step])])
        trained = end
        shown = [dict(message) | {"loss": 0.0} for message in start]
    if not found:
        left_out += sum(bool(message["loss"]) for message in start)
    return Windows(found, left_out)


def _choose_window(
    start: list[Message],
    steps: list[list[Message]],
    trained: int,
    max_length: int,
    length: Callable[[Sequence[Message]], int],
) -> tuple[int, int]:
    """Choose the steps of a window; return the first step of its context and the end of its trained steps."""

    def tokens(first: int, end: int) -> int:
        return length([*start, *_without_tail([message for step in steps[first:end] for message in step])])

    if tokens(trained, trained + 1) > max_length:
        return trained, trained
    # The first window has no past, so trained steps may fill all of it.
    room = max_length if trained == 0 else max_length // 2
    end = trained + 1
    while end < len(steps) and tokens(trained, end + 1) <= room:
        end += 1
    first = trained
    while first and tokens(first - 1, end) <= max_length:
        first -= 1
    return first, end


def _steps(messages: Sequence[Message]) -> list[list[Message]]:
    """Group messages into steps: a reply and the answers to it."""
    steps: list[list[Message]] = []
    for message in messages:
        if message["role"] == "assistant" or not steps:
            steps.append([])
        steps[-1].append(message)
    return steps


def _has_loss(step: list[Message]) -> bool:
    return any(message["loss"] for message in step)


def _without_tail(messages: Sequence[Message]) -> list[Message]:
    """Drop the messages after the last reply: no trained turn follows them."""
    last = max((index for index, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return list(messages[: last + 1])
