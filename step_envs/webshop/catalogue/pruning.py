"""Finds the documents that can be among the best for a query, without scoring all that have one of its words.

Common words are in a third of a large catalogue. But a score that fifty documents reach (the floor) is soon known, and it
is near the best that the query can give. Three things follow from it, each by what words can add at most:

- A document whose best word is one of the lesser ones cannot reach the floor. So documents are looked at in groups: those
  with the best word, then those with the second best and without the best, until the words that are left do not add up.
- A document without some of the words cannot reach it either. So the rarest of these words names the candidates.
- Of the candidates, most fall out after a few words.

The floor is first taken from a few promising candidates, whose scores are computed in full. Where every word is common, so
that even the rarest names too many candidates, those are promising in which all words add nearly as much as they can.

That way no score is computed exactly; it is only known to lie between two bounds. The caller does the rest.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np

from step_envs.webshop.catalogue.columns import Array
from step_envs.webshop.catalogue.postings import ROUNDING, QueryTerm, threshold

_PROMISING: Final = 4
"""So many times the documents that are wanted are scored for a first floor."""

_TRIES: Final = (0.92, 0.84, 0.72, 0.56)
"""Shares of the highest score that a query of common words can give, at which fifty documents are looked for."""


class Pruning:
    """One search for candidates.

    Args:
        terms: The words of the query, at least one.
        limit: Number of documents that are wanted.
        scratch: Zeros, one for each document; they are zeros again at the end.
    """

    def __init__(self, terms: Sequence[QueryTerm], limit: int, scratch: Array) -> None:
        self._queue = sorted(terms, key=lambda term: term.bound, reverse=True)
        self._rest = [*accumulate(term.bound for term in reversed(self._queue))][::-1]
        self._slack = self._rest[0] * ROUNDING
        self._excess = sum(term.excess for term in terms)
        self._limit, self._scratch = limit, scratch
        self._floor = 0.0

    def candidates(self) -> Array:
        """Return the documents that can be among the best, in ascending order."""
        self._seed()
        few = 0
        found: list[Array] = []
        groups: list[tuple[Array, Array]] = []
        for first, term in enumerate(self._queue):
            if self._rest[first] + self._slack < self._floor:
                break
            few += len(term.documents)
            if few <= _PROMISING * self._limit:
                found.append(term.documents)
            else:
                groups.append(self._group(first))
        found += [documents[scores >= self._floor - self._slack] for documents, scores in groups]
        return np.unique(np.concatenate(found))

    def _seed(self) -> None:
        """Raise the floor by documents in which the rarest word that enough of them have adds much."""
        rare = [term for term in self._queue if term.row is None and len(term.documents) > _PROMISING * self._limit]
        if rare:
            rarest = min(rare, key=lambda term: len(term.documents))
            others = [term for term in self._queue if term is not rarest]
            self._raise_by_promising(*rarest.adding(0.0), others)

    def _group(self, first: int) -> tuple[Array, Array]:
        """Find candidates that have a word and none of those before it, and raise the floor by them."""
        members = self._queue[first:]
        needed = self._needed(first, self._floor)
        driver = min(
            (place for place, least in enumerate(needed) if place == 0 or least > 0.0),
            key=lambda place: len(members[place].documents),
        )
        if members[driver].row is None:
            documents, scores = members[driver].adding(needed[driver])
            others = members[:driver] + members[driver + 1 :]
            return self._completed(documents, scores, others, sum(term.bound for term in others))
        self._guess(first)
        documents = self._marked(first, self._needed(first, self._floor))
        return self._completed(documents, np.zeros(len(documents)), members, self._rest[first])

    def _needed(self, first: int, floor: float) -> list[float]:
        """Compute what each word of a group must add at least; 0 or less if a document can do without it."""
        spare = self._rest[first] - floor + self._slack
        return [term.bound - spare for term in self._queue[first:]]

    def _marked(self, first: int, needed: Sequence[float]) -> Array:
        """Find the documents in which the first word and all that a document cannot do without add enough."""
        members = self._queue[first:]
        marks = members[0].may_add(needed[0])
        for term, least in zip(members[1:], needed[1:], strict=True):
            if least > 0.0 and term.row is not None:
                marks &= term.may_add(least)
        return np.flatnonzero(marks)

    def _guess(self, first: int) -> None:
        """Raise the floor by documents in which all common words of a group add nearly as much as they can."""
        members = self._queue[first:]
        for share in _TRIES:
            guess = share * self._rest[first]
            if guess <= self._floor:
                return
            documents = self._marked(first, self._needed(first, guess))
            if len(documents) >= self._limit:
                self._raise_by(documents[: 16 * _PROMISING * self._limit], members)
                return

    def _raise_by_promising(self, documents: Array, scores: Array, terms: Sequence[QueryTerm]) -> None:
        """Raise the floor by those of some candidates that have the best scores so far."""
        count = _PROMISING * self._limit
        best = np.flatnonzero(scores >= threshold(scores, count))[:count]
        self._raise_by(documents[best], terms, scores[best])

    def _raise_by(self, documents: Array, terms: Sequence[QueryTerm], scores: Array | float = 0.0) -> None:
        for term in terms:
            scores = scores + term.at_most_in(documents)
        assert isinstance(scores, np.ndarray)
        self._floor = max(self._floor, threshold(scores, self._limit) - self._excess)

    def _completed(
        self, documents: Array, scores: Array, terms: Sequence[QueryTerm], remaining: float
    ) -> tuple[Array, Array]:
        """Add words to the scores of candidates, and drop each candidate as soon as it cannot reach the floor."""
        for done, term in enumerate(terms):
            if len(documents) > 16 * _PROMISING * self._limit and done in (1, 3):
                self._raise_by_promising(documents, scores, terms[done:])
            least = self._floor - self._slack - remaining
            if least > 0.0:
                keep = np.flatnonzero(scores >= least)
                if len(keep) < len(documents):
                    documents, scores = documents[keep], scores[keep]
            if not len(documents):
                break
            scores = scores + term.at_most_in(documents, self._scratch)
            remaining -= term.bound
        self._floor = max(self._floor, threshold(scores, self._limit) - self._excess)
        return documents, scores
