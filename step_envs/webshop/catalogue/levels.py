"""One byte a product for each word that many products have: how much the word adds there, at most.

The postings of a common word say in order which products have it. Whether some product is among them takes a search in
hundreds of thousands of numbers. A row of levels has the answer at the product's own place, and one comparison over a row
finds all products in which the word adds enough, at a rate of thirty products a nanosecond. A row costs a byte a product
whoever has the word, so rare words have none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from step_envs.webshop.catalogue.columns import Array, flush_array, new_array, open_array, write_array

INDEX_VERSION: Final = 2
"""Version of the index's files: 2 has levels."""

COMMON: Final = 16
"""A word that more than one in this many documents has gets a row: then its postings take a third of a row or more."""

FEW_DOCUMENTS: Final = 20_000
"""Up to this many, scoring every document is faster than choosing which, so that no word gets a row."""

RESULTS: Final = 50
"""Most products that a search returns."""

LEVELS: Final = 256
"""Level 0 is a document without the word."""


@dataclass(frozen=True, slots=True)
class LevelRow:
    """The levels of one word.

    Attributes:
        levels: Of each document, uint8; a higher level adds more to its score.
        scaled: The highest scaled frequency of each level, float32, ascending; 0 at level 0.
        width: How much smaller the saturation ``scaled / (1 + scaled)`` of a document can be than that of its level; 0 if
            all documents of a level have the same.
        high: A level that the best documents reach, ``RESULTS`` of them; 0 if there are not as many.
    """

    levels: Array
    scaled: Array
    width: float
    high: int


class LevelRows:
    """The rows of an index on disk.

    Args:
        folder: Folder of the index.
        documents: Number of documents.
    """

    def __init__(self, folder: Path, documents: int) -> None:
        self._levels = open_array(folder, "levels").reshape(-1, max(documents, 1))
        self._scaled = open_array(folder, "levels.scaled").reshape(-1, LEVELS)
        self._widths = open_array(folder, "levels.widths")
        self._high = open_array(folder, "levels.high")
        self._rows = {int(place): row for row, place in enumerate(open_array(folder, "levels.terms"))}
        if not len(self._rows) == len(self._levels) == len(self._scaled) == len(self._widths) == len(self._high):
            raise ValueError("the levels of the index are not of as many words as they should be")

    def of(self, place: int) -> LevelRow | None:
        """Return the row of a term; None if it is rare."""
        row = self._rows.get(place)
        if row is None:
            return None
        return LevelRow(self._levels[row], self._scaled[row], float(self._widths[row]), int(self._high[row]))


def write_level_rows(folder: Path, starts: Array, documents: Array, codes: Array, scaled: Array, count: int) -> None:
    """Write the rows of all words that are common.

    Args:
        folder: Folder of the index.
        starts: Where the postings of each term begin.
        documents: The postings' documents.
        codes: The postings' indexes into ``scaled``.
        scaled: Scaled frequencies, in any order.
        count: Number of documents.
    """
    containing = np.diff(starts.astype(np.int64))
    common = np.flatnonzero(containing * COMMON > count) if count > FEW_DOCUMENTS else np.zeros(0, dtype=np.int64)
    levels = new_array(folder, "levels", np.uint8, len(common) * count)
    tops = np.zeros((len(common), LEVELS), dtype=np.float32)
    widths, high = np.zeros(len(common)), np.zeros(len(common), dtype=np.uint8)
    for row, place in enumerate(common):
        part = slice(int(starts[place]), int(starts[place + 1]))
        used = np.bincount(codes[part], minlength=len(scaled))
        level_of, tops[row], widths[row] = _cut(scaled, np.flatnonzero(used))
        levels[row * count + documents[part].astype(np.int64)] = level_of[codes[part]]
        # Documents of each level or a higher one.
        above = np.bincount(level_of, weights=used, minlength=LEVELS)[::-1].cumsum()[::-1]
        high[row] = np.flatnonzero(above[1:] >= RESULTS)[-1] + 1 if above[1] >= RESULTS else 0
    flush_array(levels)
    write_array(folder, "levels.terms", common, np.uint32)
    write_array(folder, "levels.scaled", tops.ravel(), np.float32)
    write_array(folder, "levels.widths", widths, np.float64)
    write_array(folder, "levels.high", high, np.uint8)


def _cut(scaled: Array, used: Array) -> tuple[Array, Array, float]:
    """Sort the codes that a word has into at most 255 levels, as narrow as can be.

    Args:
        scaled: The scaled frequency of each code.
        used: The codes that occur.

    Returns:
        The level of each code (0 for one that does not occur), the top of each level, and the width of the widest.
    """
    values = np.unique(scaled[used])
    saturations = values.astype(np.float64) / (1.0 + values)
    first = np.arange(len(values)) if len(values) < LEVELS else _first_of_levels(saturations)
    last = np.append(first[1:], len(values)) - 1
    tops = np.full(LEVELS, values[-1], dtype=np.float32)
    tops[0] = 0.0
    tops[1 : len(first) + 1] = values[last]
    level_of = np.zeros(len(scaled), dtype=np.uint8)
    level_of[used] = np.searchsorted(tops[1 : len(first) + 1], scaled[used]) + 1
    return level_of, tops, float((saturations[last] - saturations[first]).max())


def _first_of_levels(saturations: Array) -> Array:
    """Find the smallest width with which 255 levels are enough, and return where each level begins."""
    low, high = 0.0, float(saturations[-1] - saturations[0])
    best = np.zeros(1, dtype=np.int64)
    for _ in range(30):
        width = (low + high) / 2
        first = [0]
        while len(first) < LEVELS:
            place = int(np.searchsorted(saturations, saturations[first[-1]] + width, side="right"))
            if place == len(saturations):
                break
            first.append(place)
        if len(first) < LEVELS:
            best, high = np.asarray(first), width
        else:
            low = width
    return best
