"""The shop's search: the fifty best products for some words, in exactly Lucene's order.

The index is memory-mapped. Common words are in a third of a large catalogue, so that scoring every product with one of
them would take a good part of a second. Instead ``pruning`` finds those products that can be among the first fifty. This
changes no score and no order, because the products that are left are scored again at the end, word by word in the order of
the query. In a small catalogue every product is scored, which is simpler and takes less time there.
"""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

from step_envs.errors import DataError
from step_envs.file_reading import read_json
from step_envs.webshop.catalogue.analyzer import analyze
from step_envs.webshop.catalogue.bm25 import inverse_document_frequency
from step_envs.webshop.catalogue.columns import Array, TextColumn, open_array
from step_envs.webshop.catalogue.levels import FEW_DOCUMENTS, INDEX_VERSION, RESULTS, LevelRows
from step_envs.webshop.catalogue.postings import QueryTerm
from step_envs.webshop.catalogue.pruning import Pruning

_RECENT_WORDS: Final = 16_384

_FEW_POSTINGS: Final = 1_000
"""So many documents are scored without asking which of them can be among the best."""

_READ_VERSIONS: Final = (1, INDEX_VERSION)
"""Version 1 has no levels: it gives the same, more slowly."""


class SearchIndex:
    """A search index on disk, shared by all processes that open it.

    Args:
        folder: What ``IndexWriter`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        meta = read_json(folder / "index.json", fault=DataError)
        version = meta.get("version", 1)
        if version not in _READ_VERSIONS:
            raise ValueError(f"its search index is of version {version!r}, and versions 1 and 2 can be read")
        self._documents_with_terms: int = meta["with_terms"]
        self._terms = TextColumn(folder, "terms")
        self._starts = open_array(folder, "starts")
        self._documents = open_array(folder, "documents")
        self._codes = open_array(folder, "codes")
        self._scaled = open_array(folder, "scaled")
        self._best = open_array(folder, "best")
        self._ranks = open_array(folder, "ranks")
        self._rows = LevelRows(folder, len(self._ranks)) if version > 1 else None
        # Environments in several threads share an index, so a search takes a scratch array out of the list while it runs.
        self._scratches: list[Array] = []
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
        if len(self._ranks) <= FEW_DOCUMENTS:
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
        return list(zip(candidates[best].tolist(), scores[best].tolist(), strict=True))

    def _lookup(self, query: str) -> list[QueryTerm]:
        terms = []
        for word, count in Counter(analyze(query)).items():
            place = self._place(word)
            if place is None:
                continue
            start, stop = int(self._starts[place]), int(self._starts[place + 1])
            idf = inverse_document_frequency(self._documents_with_terms, stop - start)
            weight = np.float32(count) * idf
            row = self._rows.of(place) if self._rows is not None else None
            postings = self._documents[start:stop], self._codes[start:stop]
            terms.append(QueryTerm(*postings, self._scaled, self._best[place], weight, row))
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

    def _candidates(self, terms: list[QueryTerm], limit: int) -> Array:
        """Find, in ascending order, every document that can be among the first ``limit``."""
        if len(terms) == 1:
            return terms[0].best(limit)
        if sum(len(term.documents) for term in terms) <= _FEW_POSTINGS:
            return np.unique(np.concatenate([term.documents for term in terms]))
        scratch = self._scratch()
        found = Pruning(terms, limit, scratch).candidates()
        self._scratches.append(scratch)
        return found

    def _scratch(self) -> Array:
        try:
            return self._scratches.pop()
        except IndexError:
            return np.zeros(len(self._ranks), dtype=np.uint16 if len(self._scaled) < 1 << 16 else np.uint32)

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
