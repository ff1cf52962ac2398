"""The shop's search: the fifty best products for some words, in exactly Lucene's order.

The index is memory-mapped. Common words are in a quarter of a large catalogue, so that scoring every product with one of
them would take a good part of a second. Instead the rarest words are scored first. As soon as no other product can reach
the first fifty, the remaining words are scored for the candidates only. This changes no score and no order, because the
candidates that are left are scored again at the end, word by word in the order of the query.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from step_envs.errors import DataError
from step_envs.file_reading import read_json
from step_envs.webshop.catalogue.analyzer import analyze
from step_envs.webshop.catalogue.bm25 import contributions, inverse_document_frequency
from step_envs.webshop.catalogue.columns import Array, TextColumn, open_array

RESULTS: Final = 50
"""Most products that a search returns."""

_FEW_DOCUMENTS: Final = 20_000
"""Up to this many, scoring everything is faster than choosing what to score."""

_RECENT_WORDS: Final = 16_384

_SLACK: Final = 1e-4
"""Largest rounding error of a score: bounds are loosened by this much, so that no tie is lost."""


@dataclass(frozen=True, slots=True)
class _Term:
    """One word of a query and its postings.

    Attributes:
        documents: Numbers of the documents that contain it, ascending.
        codes: For each of them, an index into ``values``.
        values: What the word adds to a document's score.
        bound: The most it adds to any document.
    """

    documents: Array
    codes: Array
    values: Array
    bound: float

    def scores(self) -> Array:
        """Return what the word adds to each of its documents."""
        return self.values[self.codes]

    def scores_in(self, candidates: Array) -> Array:
        """Return what the word adds to some documents, given in ascending order; 0 where it does not occur."""
        places = np.searchsorted(self.documents, candidates)
        places[places == len(self.documents)] = 0
        return np.where(self.documents[places] == candidates, self.values[self.codes[places]], 0.0)


class SearchIndex:
    """A search index on disk, shared by all processes that open it.

    Args:
        folder: What ``IndexWriter`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        meta = read_json(folder / "index.json", fault=DataError)
        self._documents_with_terms: int = meta["with_terms"]
        self._terms = TextColumn(folder, "terms")
        self._starts = open_array(folder, "starts")
        self._documents = open_array(folder, "documents")
        self._codes = open_array(folder, "codes")
        self._scaled = open_array(folder, "scaled")
        self._best = open_array(folder, "best")
        self._ranks = open_array(folder, "ranks")
        # Environments in several threads share an index, so a search takes an accumulator out of the list while it runs.
        self._accumulators: list[Array] = []
        self._places: dict[str, int | None] = {}

    def search(self, query: str, limit: int = RESULTS) -> list[int]:
        """Find the best documents for some words.

        Args:
            query: Words in any form; they go through the analyzer. A word that comes twice counts twice.
            limit: Most documents to return.

        Returns:
            Document numbers, best first; equal scores in ascending order of product id.
        """
        return [document for document, _ in self.search_with_scores(query, limit)]

    def search_with_scores(self, query: str, limit: int = RESULTS) -> list[tuple[int, float]]:
        """Find what ``search`` finds, and return each document with its BM25 score."""
        terms = self._lookup(query)
        if not terms or limit < 1:
            return []
        if len(self._ranks) <= _FEW_DOCUMENTS:
            everything = np.zeros(len(self._ranks), dtype=np.float64)
            for term in terms:
                everything[term.documents] += term.scores()
            candidates = np.flatnonzero(everything)
            totals = everything[candidates]
        else:
            candidates = self._candidates(terms, limit)
            totals = np.zeros(len(candidates), dtype=np.float64)
            for term in terms:
                totals += term.scores_in(candidates)
        scores = totals.astype(np.float32)
        best = self._first(candidates, scores, limit)
        return [(int(candidates[place]), float(scores[place])) for place in best]

    def _lookup(self, query: str) -> list[_Term]:
        terms = []
        for word, count in Counter(analyze(query)).items():
            place = self._place(word)
            if place is None:
                continue
            start, stop = int(self._starts[place]), int(self._starts[place + 1])
            idf = inverse_document_frequency(self._documents_with_terms, stop - start)
            weight = np.float32(count) * idf
            values = contributions(weight, self._scaled).astype(np.float64)
            bound = float(weight - weight / (np.float32(1.0) + self._best[place]))
            terms.append(_Term(self._documents[start:stop], self._codes[start:stop], values, bound))
        return terms

    def _place(self, word: str) -> int | None:
        try:
            return self._places[word]
        except KeyError:
            place = self._terms.find(word)
        if len(self._places) >= _RECENT_WORDS:
            self._places.clear()
        self._places[word] = place
        return place

    def _candidates(self, terms: list[_Term], limit: int) -> Array:
        """Find, in ascending order, every document that can be among the first ``limit``."""
        if len(terms) == 1:
            scores = terms[0].scores()
            return terms[0].documents[scores >= _threshold(scores, limit) - _SLACK]
        queue = sorted(terms, key=lambda term: term.bound, reverse=True)
        remaining = [0.0] * (len(queue) + 1)
        for place in range(len(queue) - 1, -1, -1):
            remaining[place] = remaining[place + 1] + queue[place].bound
        totals = self._accumulator()
        floor = 0.0
        taken = 0
        for taken, term in enumerate(queue, start=1):
            totals[term.documents] += term.scores()
            floor = max(floor, _threshold(totals[term.documents], limit))
            if remaining[taken] + _SLACK < floor:
                break
        alive, scores = _collect(queue[:taken], totals, floor - remaining[taken] - _SLACK)
        self._accumulators.append(totals)
        for place, term in enumerate(queue[taken:], start=taken + 1):
            scores = scores + term.scores_in(alive)
            floor = max(floor, _threshold(scores, limit))
            keep = scores >= floor - remaining[place] - _SLACK
            alive, scores = alive[keep], scores[keep]
        return alive

    def _accumulator(self) -> Array:
        try:
            return self._accumulators.pop()
        except IndexError:
            return np.zeros(len(self._ranks), dtype=np.float64)

    def _first(self, candidates: Array, scores: Array, limit: int) -> Array:
        ranks = self._ranks[candidates]
        if len(candidates) > limit:
            threshold = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            above = np.flatnonzero(scores > threshold)
            level = np.flatnonzero(scores == threshold)
            missing = limit - len(above)
            if len(level) > missing:
                level = level[np.argpartition(ranks[level], missing - 1)[:missing]]
            chosen = np.concatenate([above, level])
        else:
            chosen = np.arange(len(candidates))
        order: Array = chosen[np.lexsort((ranks[chosen], -scores[chosen]))]
        return order


def _collect(taken: list[_Term], totals: Array, least: float) -> tuple[Array, Array]:
    """Move every document with a score of at least ``least`` out of the accumulator, and set that back to zero.

    Returns:
        The documents in ascending order, and their scores so far.
    """
    documents, scores = [], []
    for term in taken:
        found = totals[term.documents]
        # Documents that an earlier word moved out are at zero by now, so that none is moved twice.
        keep = found >= max(least, np.finfo(np.float64).tiny)
        documents.append(term.documents[keep])
        scores.append(found[keep])
        totals[term.documents] = 0.0
    alive = np.concatenate(documents)
    order = np.argsort(alive)
    return alive[order], np.concatenate(scores)[order]


def _threshold(scores: Array, limit: int) -> float:
    """Return the ``limit``-th best score, or 0 where there are fewer documents."""
    if len(scores) < limit:
        return 0.0
    return float(np.partition(scores, len(scores) - limit)[len(scores) - limit])
