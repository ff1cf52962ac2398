"""Search: words, stems, arithmetic and order as in Lucene, by its own answers and by slow but plain formulas."""

import json
import math
import multiprocessing
import os
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step_envs.webshop.catalogue import search
from step_envs.webshop.catalogue.analyzer import STOP_WORDS, analyze, words
from step_envs.webshop.catalogue.bm25 import code_length, inverse_norms, length_code
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.generator import make_catalogue
from step_envs.webshop.catalogue.index_writer import IndexWriter
from step_envs.webshop.catalogue.search import SearchIndex

# What Lucene 8 says (Anserini 0.14.3, DefaultEnglishAnalyzer); recorded with benchmarks/lucene/Reference.java.
LUCENE = [
    ("Women's Shoes, for running", ["women", "shoe", "run"]),
    ("technologies technology analogies", ["technolog", "technolog", "analog"]),
    ("possibly probable relational", ["possibl", "probabl", "relat"]),
    (
        "size:large x-large 18x18-inch 3.5mm 1,000 5's",
        ["size:larg", "x", "larg", "18x18", "inch", "3.5mm", "1,000", "5", "s"],
    ),
    ("_a_b__ __ 'tis rock'n'roll e.g.", ["_a_b__", "ti", "rock'n'rol", "e.g"]),
    ("★ soft❤️ Shakes™ ☝🏽 👩‍👩‍👧 🇩🇪", ["★", "soft", "❤️", "shake", "™", "☝🏽", "👩‍👩‍👧", "🇩🇪"]),
    ("東京タワー ひらがな 한국어 ไทย", ["東", "京", "タワー", "ひ", "ら", "が", "な", "한국어", "ไทย"]),
    ("Café naïve İstanbul ΣΊΣΥΦΟΣ", ["café", "naïv", "istanbul", "σίσυφοσ"]),
    ("it is not to be", []),
    (
        "skies dying ies sses agreed feed plastered motoring",
        ["ski", "dy", "i", "ss", "agre", "feed", "plaster", "motor"],
    ),
]


@pytest.mark.parametrize(("text", "terms"), LUCENE)
def test_terms_are_lucenes(text: str, terms: list[str]) -> None:
    assert analyze(text) == terms


def test_words_longer_than_255_units_are_cut() -> None:
    assert [len(word) for word in words("x" * 600)] == [255, 255, 90]
    assert [len(word) for word in words("é" + "x" * 599)] == [255, 255, 90]


@pytest.mark.timeout(300)
def test_long_lines_of_joiners_are_read_once_and_are_no_words() -> None:
    """Backtracking over them would take hours and meet the time-out."""
    assert words("_" * 200_000 + " lamp " + "_\u0301" * 100_000 + " é_") == ["lamp", "é_"]
    # As Lucene has it: a mark of Thai between joiners is a word, a joined star keeps its joiner.
    assert words("ท_ั_ทั") == ["ท", "ั", "ทั"]
    assert words("_\u200d★__★") == ["\u200d★", "★"]


@given(st.text(alphabet="abs 19_.,;:'-/\n#*", max_size=40))
@settings(max_examples=500, deadline=None)
def test_the_short_pattern_for_ascii_gives_what_the_full_one_gives(text: str) -> None:
    # A character that is no part of any word forces the full pattern.
    assert words(text) == words(text + " \u3002")


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_analysed(text: str) -> None:
    assert not STOP_WORDS & {term for term in analyze(text) if len(term) > 3}


def test_lengths_in_one_byte() -> None:
    assert [length_code(n) for n in (0, 1, 23, 24, 31, 32, 39, 40, 41, 42, 56, 1000)] == [
        0, 1, 23, 24, 31, 32, 39, 40, 40, 41, 48, 87,
    ]  # fmt: skip
    codes = [length_code(n) for n in range(100_000)]
    assert codes == sorted(codes)
    for code in range(200):
        assert length_code(code_length(code)) == code


def plain_search(documents: list[tuple[str, str]], query: str) -> list[int]:
    """BM25 as written down, document by document."""
    counts = [Counter(analyze(text)) for _, text in documents]
    lengths = [count.total() for count in counts]
    filled = [length for length in lengths if length]
    norms = inverse_norms(sum(filled) / len(filled))
    scores = {}
    for number, count in enumerate(counts):
        total = 0.0
        for term, times in Counter(analyze(query)).items():
            if count[term]:
                containing = sum(1 for other in counts if other[term])
                idf = np.float32(math.log(1 + (len(filled) - containing + 0.5) / (containing + 0.5)))
                weight = np.float32(times) * idf
                scaled = np.float32(count[term]) * norms[length_code(lengths[number])]
                total += float(weight - weight / (np.float32(1) + scaled))
        if total:
            scores[number] = np.float32(total)
    return sorted(scores, key=lambda number: (-scores[number], documents[number][0]))[:50]


def build(folder: Path, documents: list[tuple[str, str]]) -> SearchIndex:
    folder.mkdir()
    writer = IndexWriter(folder)
    for _, text in documents:
        writer.add(text)
    writer.close([asin for asin, _ in documents])
    return SearchIndex(folder)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_both_ways_of_searching_give_the_plain_formula(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    vocabulary = [f"w{n}" for n in range(40)] + ["lamp", "lamps", "oak", "the"]
    weights = [1 / (n + 1) for n in range(len(vocabulary))]
    documents = [
        (f"B{draw.randrange(10**6):06}", " ".join(draw.choices(vocabulary, weights, k=draw.choice((0, 3, 9, 40, 200)))))
        for _ in range(300)
    ]
    monkeypatch.setattr("step_envs.webshop.catalogue.levels.FEW_DOCUMENTS", draw.choice((0, 10**6)))
    monkeypatch.setattr("step_envs.webshop.catalogue.index_writer.BLOCK_POSTINGS", draw.choice((50, 700, 10**6)))
    index = build(tmp_path / "index", documents)
    for _ in range(40):
        query = " ".join(draw.choices(vocabulary, k=draw.randint(1, 9)))
        expected = plain_search(documents, query)
        for few in (0, 10**6):
            monkeypatch.setattr(search, "FEW_DOCUMENTS", few)
            assert index.search(query) == expected


def test_large_and_small_ways_agree_on_products(made: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [made.goal("human", number).instruction_text for number in range(300)]
    ways = []
    for few in (0, 10**6):
        monkeypatch.setattr(search, "FEW_DOCUMENTS", few)
        ways.append([made.index.search_with_scores(query) for query in queries])
    assert ways[0] == ways[1]


def test_threads_that_share_a_large_index_find_the_same(made: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW_DOCUMENTS", 0)
    monkeypatch.setattr(search, "_RECENT_WORDS", 3)
    monkeypatch.setattr("step_envs.webshop.catalogue.catalogue._RECENT_NUMBERS", 3)
    goals = [made.goal("human", number) for number in range(100)]
    expected = [(made.search(goal.instruction_text), made.number_of(goal.asin)) for goal in goals]

    def found(seed: int) -> bool:
        order = random.Random(seed).sample(range(len(goals)), len(goals)) * 3
        return all(
            (made.search(goals[n].instruction_text), made.number_of(goals[n].asin)) == expected[n] for n in order
        )

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(found, range(8)))
    finally:
        sys.setswitchinterval(interval)


def test_queries_that_find_nothing(made: Catalogue) -> None:
    for query in ("", "   ", "the", "zzzzqqq", "[]()", "<", "\ud800"):
        assert made.search(query) == []


def test_empty_documents_do_not_disturb(tmp_path: Path) -> None:
    index = build(tmp_path / "index", [("B1", ""), ("B3", "lamp"), ("B2", "lamp"), ("B0", "the")])
    assert index.search("lamp") == [2, 1]
    empty = build(tmp_path / "empty", [("B1", "")])
    assert empty.search("lamp") == []


def _found(folder: Path) -> list[list[int]]:
    catalogue = Catalogue(folder)
    return [catalogue.search(catalogue.goal("human", number).instruction_text) for number in range(50)]


def test_other_processes_share_the_index_and_find_the_same(made: Catalogue) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_found, [made.folder] * 2) == [_found(made.folder)] * 2


@pytest.mark.slow
@pytest.mark.parity
def test_ranking_equals_lucene(thousand: Catalogue, test_data: Path, tmp_path: Path) -> None:
    """12,087 human instructions over the official products, and made products as new text."""
    jar = os.environ.get("STEP_ENVS_ANSERINI_JAR")
    if not jar:
        pytest.skip("STEP_ENVS_ANSERINI_JAR names no jar of Anserini (see benchmarks/README.md)")
    human = json.loads((test_data / "webshop" / "human_goals.json").read_text(encoding="utf-8"))
    new = make_catalogue(tmp_path / "new", size=25_000, seed=9)
    for catalogue, queries in ((thousand, human), (new, human[:500] + [new.product(n).title for n in range(500)])):
        lines = [" ".join(query.split()) for query in queries]
        theirs = lucene(catalogue, lines, Path(jar), tmp_path / f"lucene-{catalogue.name}")
        ours = [[catalogue.product(number).asin for number in catalogue.search(line)] for line in lines]
        assert ours == theirs


def lucene(catalogue: Catalogue, queries: list[str], jar: Path, folder: Path) -> list[list[str]]:
    (folder / "documents").mkdir(parents=True)
    with (folder / "documents" / "all.jsonl").open("w", encoding="utf-8") as file:
        for number in range(len(catalogue)):
            product = catalogue.product(number)
            file.write(json.dumps({"id": product.asin, "contents": product.document()}) + "\n")
    options: list[Any] = ["-collection", "JsonCollection", "-generator", "DefaultLuceneDocumentGenerator"]
    options += ["-threads", "1", "-input", folder / "documents", "-index", folder / "index"]
    subprocess.run(["java", "-cp", jar, "io.anserini.index.IndexCollection", *options], capture_output=True, check=True)
    source = Path(__file__).resolve().parents[2] / "benchmarks" / "lucene" / "Reference.java"
    subprocess.run(["javac", "-cp", jar, "-d", folder, source], check=True)
    answer = subprocess.run(
        ["java", "-cp", f"{jar}:{folder}", "Reference", "search", folder / "index", "50"],
        input="\n".join(queries) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in answer.stdout.splitlines()]
