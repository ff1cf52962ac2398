"""Trajectories longer than a model reads, cut into windows: the task stays, trained turns are never cut.

Every trained turn is trained on in one window. A window keeps the manual and the task and then as much of what came right
before the turns it trains as there is room for. Where there is a past, the task and the turns that are trained take at most
half of a window (a single turn more, where it must), so that the rest is context.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Message = Mapping[str, Any]


class Windows(NamedTuple):
    """What became of a conversation.

    Attributes:
        messages: One list of messages a window; turns that are context only have loss 0.
        left_out: Trained turns that do not fit even alone with the task.
    """

    messages: list[list[Message]]
    left_out: int


def windows(
    messages: Sequence[Message], head: int, max_length: int, length: Callable[[Sequence[Message]], int]
) -> Windows:
    """Cut a conversation into windows.

    Args:
        messages: ``role``, ``content`` and ``loss`` of every turn.
        head: How many messages at the beginning stay in every window.
        max_length: Tokens that a window may have.
        length: Counts the tokens of a conversation.

    Returns:
        The windows, in order; the whole conversation as the only one where it fits.
    """
    whole = _without_tail(messages)
    if length(whole) <= max_length:
        return Windows([whole], 0)
    start = list(messages[:head])
    steps = _steps(messages[head:])
    found: list[list[Message]] = []
    left_out = trained = 0
    # A turn of the head that carries loss is trained in the first window alone.
    shown = start
    while trained < len(steps):
        if not _weighs(steps[trained]):
            trained += 1
            continue
        first, end = _window(start, steps, trained, max_length, length)
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


def _window(
    start: list[Message],
    steps: list[list[Message]],
    trained: int,
    max_length: int,
    length: Callable[[Sequence[Message]], int],
) -> tuple[int, int]:
    """Choose the steps of a window: where its context begins, and where the steps that it trains end."""

    def tokens(first: int, end: int) -> int:
        return length([*start, *_without_tail([message for step in steps[first:end] for message in step])])

    if tokens(trained, trained + 1) > max_length:
        return trained, trained
    # Where there is no past, all of the room is for what is trained.
    room = max_length if trained == 0 else max_length // 2
    end = trained + 1
    while end < len(steps) and tokens(trained, end + 1) <= room:
        end += 1
    first = trained
    while first and tokens(first - 1, end) <= max_length:
        first -= 1
    return first, end


def _steps(messages: Sequence[Message]) -> list[list[Message]]:
    """Group messages into steps: a reply and what answers it."""
    steps: list[list[Message]] = []
    for message in messages:
        if message["role"] == "assistant" or not steps:
            steps.append([])
        steps[-1].append(message)
    return steps


def _weighs(step: list[Message]) -> bool:
    return any(message["loss"] for message in step)


def _without_tail(messages: Sequence[Message]) -> list[Message]:
    """Leave away what comes after the last reply: nobody is trained to answer it."""
    last = max((index for index, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return list(messages[: last + 1])
