"""One word of a query: which documents have it, and how much it adds to their scores."""

from functools import cached_property
from typing import Final

import numpy as np

from step_envs.webshop.catalogue.bm25 import contributions
from step_envs.webshop.catalogue.columns import Array
from step_envs.webshop.catalogue.levels import RESULTS, LevelRow

ROUNDING: Final = 2.0**-20
"""Share of the highest score by which 32-bit floats may be wrong: bounds are loosened by it, so that no tie is lost."""

_SCATTER: Final = 6
"""Writing so many postings into a scratch array costs as much as searching for one document in the postings."""


class QueryTerm:
    """One word of a query and its postings.

    Args:
        documents: Numbers of the documents that contain it, ascending.
        codes: For each of them, an index into ``scaled``.
        scaled: Scaled frequencies.
        best: The highest of the word's.
        weight: The word's frequency in the query times its inverse document frequency.
        row: Its levels, if it is common.
    """

    def __init__(
        self, documents: Array, codes: Array, scaled: Array, best: np.float32, weight: np.float32, row: LevelRow | None
    ) -> None:
        self.documents, self.row = documents, row
        self._codes, self._scaled, self._weight = codes, scaled, weight
        self.bound = float(weight - weight / (np.float32(1.0) + best))
        """The most that the word adds to any document."""
        self.excess = float(weight) * row.width if row else 0.0
        """How much more than the word's share of a score ``at_most_in`` may return."""

    @cached_property
    def _values(self) -> Array:
        return contributions(self._weight, self._scaled).astype(np.float64)

    @cached_property
    def _level_values(self) -> Array:
        assert self.row is not None
        return contributions(self._weight, self.row.scaled).astype(np.float64)

    def _added(self, codes: Array) -> Array:
        if len(codes) < len(self._scaled):
            return contributions(self._weight, self._scaled.take(codes)).astype(np.float64)
        return self._values.take(codes)

    def scores(self) -> Array:
        """Return what the word adds to each of its documents."""
        return self._added(self._codes)

    def scores_in(self, candidates: Array) -> Array:
        """Return what the word adds to some documents, given in ascending order; 0 where it does not occur."""
        if self.row is not None and not self.row.width:
            return self.at_most_in(candidates)
        places = np.searchsorted(self.documents, candidates)
        places[places == len(self.documents)] = 0
        return np.where(self.documents[places] == candidates, self._added(self._codes[places]), 0.0)

    def at_most_in(self, candidates: Array, scratch: Array | None = None) -> Array:
        """Return what the word adds to some documents, or a little more.

        Args:
            candidates: Numbers of the documents, in ascending order.
            scratch: Zeros, one for each document; they are zeros again at the end.
        """
        if self.row is not None:
            return self._level_values.take(self.row.levels.take(candidates))
        if scratch is None or len(candidates) * _SCATTER < len(self.documents):
            return self.scores_in(candidates)
        places = self.documents.astype(np.intp)
        scratch[places] = self._codes.astype(scratch.dtype) + 1
        found = scratch.take(candidates)
        scratch[places] = 0
        return np.concatenate([[0.0], self._values]).take(found)

    def adding(self, least: float) -> tuple[Array, Array]:
        """Find the documents to which the word adds at least so much, by its postings.

        Returns:
            The documents in ascending order, and what it adds to each.
        """
        scores = self.scores()
        if least <= 0.0:
            return self.documents.astype(np.intp), scores
        keep = scores >= least
        return self.documents[keep].astype(np.intp), scores[keep]

    def may_add(self, least: float) -> Array:
        """Mark each document to which the word may add at least so much, by its levels; at least it has the word."""
        assert self.row is not None
        level = max(1, int(np.searchsorted(self._level_values, least)))
        return self.row.levels >= level if level < len(self._level_values) else np.zeros(len(self.row.levels), bool)

    def best(self, limit: int) -> Array:
        """Find, in ascending order, every document that can be among the first ``limit`` by this word alone."""
        slack = self.bound * ROUNDING
        if self.row is None:
            scores = self.scores()
            return self.documents[scores >= threshold(scores, limit) - slack]
        level = self.row.high if limit <= RESULTS else 1
        return np.flatnonzero(self.may_add(float(self._level_values[level]) - slack))


def threshold(scores: Array, limit: int) -> float:
    """Return the ``limit``-th best score, or 0 where there are fewer."""
    if len(scores) < limit:
        return 0.0
    return float(np.partition(scores, len(scores) - limit)[len(scores) - limit])
