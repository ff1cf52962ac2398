"""Builds the search index of a catalogue.

The postings of a million products do not fit into memory as Python objects. So they go to disk in blocks, as the products
come, and are put in order of their terms at the end.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from step_envs.webshop.catalogue.analyzer import analyze
from step_envs.webshop.catalogue.bm25 import inverse_norms, length_code
from step_envs.webshop.catalogue.columns import Array, flush_array, new_array, sort_key, write_array, write_texts
from step_envs.webshop.catalogue.levels import INDEX_VERSION, write_level_rows

BLOCK_POSTINGS: Final = 4_000_000
"""Postings kept in memory before they go to disk: about 50 MB."""


class IndexWriter:
    """Writes the index of a catalogue, of which it takes one document after the other.

    Args:
        folder: Where the index goes; it exists and is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        numbers: defaultdict[str, int] = defaultdict()
        numbers.default_factory = numbers.__len__
        self._numbers = numbers
        self._terms, self._documents, self._frequencies, self._length_codes = _buffers()
        self._blocks: list[Path] = []
        self._count = 0
        self._with_terms = 0
        self._total_length = 0

    def add(self, text: str) -> None:
        """Index the next document; documents are numbered from 0 in this order."""
        counts = Counter(analyze(text))
        length = counts.total()
        if length:
            numbers = self._numbers
            self._terms.extend([numbers[term] for term in counts])
            self._frequencies.extend(counts.values())
            self._documents.extend([self._count] * len(counts))
            self._length_codes.extend([length_code(length)] * len(counts))
            self._with_terms += 1
            self._total_length += length
        self._count += 1
        if len(self._terms) >= BLOCK_POSTINGS:
            self._flush()

    def _flush(self) -> None:
        if not self._terms:
            return
        path = self._folder / f"block-{len(self._blocks)}.tmp.npy"
        keys = np.asarray(self._frequencies, dtype=np.uint32) << 8 | np.asarray(self._length_codes, dtype=np.uint32)
        columns = (np.asarray(self._terms, dtype=np.uint32), np.asarray(self._documents, dtype=np.uint32), keys)
        np.save(path, np.stack(columns))
        self._blocks.append(path)
        self._terms, self._documents, self._frequencies, self._length_codes = _buffers()

    def close(self, asins: Sequence[str]) -> None:
        """Sort the postings by term and finish the index.

        Args:
            asins: The product id of each document, which decides between equal scores.
        """
        self._flush()
        terms = sorted(self._numbers, key=sort_key)
        place_of = np.zeros(len(terms), dtype=np.uint32)
        place_of[np.fromiter((self._numbers[term] for term in terms), dtype=np.int64, count=len(terms))] = np.arange(
            len(terms), dtype=np.uint32
        )
        write_texts(self._folder, "terms", terms)
        del terms
        self._numbers.clear()

        containing = np.zeros(len(place_of), dtype=np.int64)
        all_keys = np.zeros(0, dtype=np.uint32)
        for path in self._blocks:
            block = np.load(path, mmap_mode="r")
            containing += np.bincount(place_of[block[0]], minlength=len(place_of))
            all_keys = np.union1d(all_keys, np.unique(block[2]))
        starts = np.concatenate([[0], np.cumsum(containing)]).astype(np.uint64)
        write_array(self._folder, "starts", starts, np.uint64)

        average = self._total_length / self._with_terms if self._with_terms else 0.0
        norms = inverse_norms(average if average else 1.0)
        scaled = (all_keys >> 8).astype(np.float32) * norms[all_keys & 0xFF]
        write_array(self._folder, "scaled", scaled, np.float32)
        self._place_postings(place_of, starts, all_keys, scaled)

        ranks = np.empty(len(asins), dtype=np.uint32)
        ranks[sorted(range(len(asins)), key=lambda number: sort_key(asins[number]))] = np.arange(len(asins))
        write_array(self._folder, "ranks", ranks, np.uint32)
        meta = {
            "version": INDEX_VERSION,
            "documents": self._count,
            "with_terms": self._with_terms,
            "average_length": average,
        }
        (self._folder / "index.json").write_text(json.dumps(meta), encoding="utf-8")

    def _place_postings(self, place_of: Array, starts: Array, all_keys: Array, scaled: Array) -> None:
        total = int(starts[-1])
        code_type = np.uint16 if len(all_keys) <= 1 << 16 else np.uint32
        documents = new_array(self._folder, "documents", np.uint32, total)
        codes = new_array(self._folder, "codes", code_type, total)
        best = np.zeros(len(place_of), dtype=np.float32)
        cursor = starts[:-1].astype(np.int64)
        for path in self._blocks:
            block = np.load(path)
            path.unlink()
            places = place_of[block[0]]
            order = np.argsort(places, kind="stable")
            places = places[order]
            code = np.searchsorted(all_keys, block[2][order]).astype(code_type)
            groups, first, sizes = np.unique(places, return_index=True, return_counts=True)
            within = np.arange(len(places)) - np.repeat(first, sizes)
            target = cursor[places] + within
            documents[target] = block[1][order]
            codes[target] = code
            cursor[groups] += sizes
            best[groups] = np.maximum(best[groups], np.maximum.reduceat(scaled[code], first))
        write_array(self._folder, "best", best, np.float32)
        flush_array(documents)
        flush_array(codes)
        self._blocks.clear()
        write_level_rows(self._folder, starts, documents, codes, scaled, self._count)


def _buffers() -> tuple["array[int]", "array[int]", "array[int]", "array[int]"]:
    return array("I"), array("I"), array("I"), array("B")
