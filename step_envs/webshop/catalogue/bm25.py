"""BM25 in Lucene's arithmetic: 32-bit floats, and document lengths rounded down to what fits into one byte.

Computed exactly, scores would differ in the last digits, and products with nearly equal scores would change places.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

K1: Final = np.float32(0.9)
B: Final = np.float32(0.4)

_EXACT_LENGTHS: Final = 24
"""Lengths below this keep all their bits in the one-byte code."""


def length_code(length: int) -> int:
    """Encode a document length in one byte, as Lucene's ``SmallFloat.intToByte4`` does.

    Args:
        length: Number of terms, 0 or more.

    Returns:
        A code from 0 to 255. Lengths below 24 are exact; above, 24 plus a float of four bits that is cut, not rounded.
    """
    if length < _EXACT_LENGTHS:
        return length
    rest = length - _EXACT_LENGTHS
    if rest < 8:
        return _EXACT_LENGTHS + rest
    shift = rest.bit_length() - 4
    return _EXACT_LENGTHS + (((rest >> shift) & 0x07) | ((shift + 1) << 3))


def code_length(code: int) -> int:
    """Return the document length that a one-byte code stands for."""
    if code < _EXACT_LENGTHS:
        return code
    code -= _EXACT_LENGTHS
    bits, shift = code & 0x07, (code >> 3) - 1
    return _EXACT_LENGTHS + (bits if shift < 0 else (bits | 0x08) << shift)


def inverse_norms(average_length: float) -> npt.NDArray[np.float32]:
    """Tabulate ``1 / (k1 * (1 - b + b * length / average))`` for all 256 length codes."""
    lengths = np.array([code_length(code) for code in range(256)], dtype=np.float32)
    average = np.float32(average_length)
    one = np.float32(1.0)
    return (one / (K1 * ((one - B) + B * lengths / average))).astype(np.float32)


def inverse_document_frequency(documents: int, containing: int) -> np.float32:
    """Compute the weight of a term: the fewer documents contain it, the higher."""
    return np.float32(np.log(1 + (documents - containing + 0.5) / (containing + 0.5)))


def contributions(weight: np.float32, scaled_frequencies: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Compute what one term adds to the scores of many documents.

    Args:
        weight: Its frequency in the query times its inverse document frequency.
        scaled_frequencies: ``frequency * inverse_norm`` for each document, float32.

    Returns:
        ``weight - weight / (1 + scaled)``, float32, of the same shape; Lucene 8 dropped the factor ``k1 + 1``.
    """
    return (weight - weight / (np.float32(1.0) + scaled_frequencies)).astype(np.float32)
