"""Logprobs of sampled tokens, kept only as long as they belong to the text that is kept.

A reply is not always recorded as it was sampled: thoughts are taken out, white space is cut, what comes after the action is
dropped. The logprobs of other tokens than the recorded ones would be wrong numbers that look right, so they are dropped
unless the first tokens, joined, are the recorded text to the letter.
"""

import math
from collections.abc import Iterable, Sequence

from step_envs.trajectory import TokenLogprob

Piece = tuple[bytes, float]
"""The bytes of one token, which may be part of a character, and its logprob."""


def logprobs_of(content: str, sampled: Sequence[TokenLogprob] | None) -> tuple[TokenLogprob, ...] | None:
    """Return the tokens that a text begins and ends with; None where the text does not end at the end of a token.

    Args:
        content: The text that is kept.
        sampled: The tokens as they were sampled; None if they are not known.
    """
    length = 0
    for number, (text, logprob) in enumerate(sampled or ()):
        if not content.startswith(text, length) or not (math.isfinite(logprob) and logprob <= 0):
            return None
        length += len(text)
        if length == len(content):
            return tuple(sampled or ())[: number + 1]
    return None


def joined_characters(pieces: Iterable[Piece]) -> tuple[TokenLogprob, ...] | None:
    """Join tokens that are parts of one character, and add their logprobs; None where their bytes are no text.

    Args:
        pieces: The tokens in order.
    """
    tokens: list[TokenLogprob] = []
    begun, total = b"", 0.0
    for data, logprob in pieces:
        begun, total = begun + data, total + logprob
        try:
            text = begun.decode()
        except UnicodeDecodeError:
            continue
        tokens.append((text, total))
        begun, total = b"", 0.0
    return None if begun else tuple(tokens)
