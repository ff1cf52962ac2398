"""Search without scoring everything: the same documents, scores and order as scoring everything, whatever is asked.

``SearchIndex`` scores every document of a small catalogue; that simple way is the oracle here of the one for large ones.
"""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step_envs.errors import DataError
from step_envs.webshop.catalogue import levels, search
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.generator import make_catalogue
from step_envs.webshop.catalogue.index_writer import IndexWriter
from step_envs.webshop.catalogue.levels import LevelRows
from step_envs.webshop.catalogue.search import SearchIndex


@contextmanager
def as_if_large(**changes: int) -> Iterator[None]:
    """Write and search indexes of a few documents as large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "FEW_DOCUMENTS", 0)
        patch.setattr(search, "FEW_DOCUMENTS", 0)
        patch.setattr(search, "_FEW_POSTINGS", 0)
        for name, value in changes.items():
            patch.setattr(levels, name, value)
        yield


def write(folder: Path, documents: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    writer = IndexWriter(folder)
    for text in documents:
        writer.add(text)
    # Ids that are in another order than the documents, so that ties show who decides them.
    writer.close([f"B{number * 7919 % 100_003:06}" for number in range(len(documents))])


def downgrade(folder: Path) -> None:
    """Make an index what it was before version 2."""
    for path in folder.glob("levels*"):
        path.unlink()
    meta = json.loads((folder / "index.json").read_text())
    del meta["version"]
    (folder / "index.json").write_text(json.dumps(meta))


CROWD = 9_000

words = st.sampled_from([f"w{number}" for number in range(12)])
texts = st.lists(words, max_size=30).map(" ".join)
repeated = st.tuples(words, st.integers(1, 3) | st.integers(1, 5000)).map(lambda pair: " ".join([pair[0]] * pair[1]))
queries = st.lists(words | repeated, min_size=1, max_size=8).map(" ".join)


@given(
    st.lists(texts, min_size=1, max_size=150),
    st.lists(st.tuples(queries, st.integers(1, 60)), min_size=1, max_size=8),
    st.sampled_from([1, 3, 16, 10**6]),
    st.sampled_from([3, 8, 256]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_way_for_large_catalogues_gives_what_scoring_everything_gives(
    documents: list[str], asked: list[tuple[str, int]], common: int, count: int, old: bool
) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with as_if_large(COMMON=common, LEVELS=count):
            write(folder, documents)
            if old:
                downgrade(folder)
            large = SearchIndex(folder)
            found = [large.search_with_scores(query, limit) for query, limit in asked]
        plain = SearchIndex(folder) if count == 256 or old else large
        assert found == [plain.search_with_scores(query, limit) for query, limit in asked]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large index: words from the most common to the rarest, and levels."""
    draw = random.Random(3)
    vocabulary = [f"w{number}" for number in range(3000)]
    weights = [1 / (number + 3) for number in range(len(vocabulary))]
    folder = tmp_path_factory.mktemp("crowd") / "index"
    with as_if_large():
        write(folder, [" ".join(draw.choices(vocabulary, weights, k=draw.randint(5, 35))) for _ in range(CROWD)])
    return folder


def ask(draw: random.Random) -> str:
    """Make a query of common words, rare words, or both, some of them repeated."""
    kinds = {"common": range(20), "middling": range(20, 300), "rare": range(300, 3400)}
    chosen = draw.sample(sorted(kinds), draw.randint(1, 3))
    asked = [f"w{draw.choice(kinds[kind])}" for kind in chosen for _ in range(draw.randint(1, 5))]
    return " ".join(word for word in asked for _ in range(draw.choice((1, 1, 1, 2, 9))))


def test_a_large_catalogue_is_searched_exactly_with_levels_and_without(
    crowd: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in crowd.iterdir():
        (old / path.name).write_bytes(path.read_bytes())
    downgrade(old)
    monkeypatch.setattr(search, "FEW_DOCUMENTS", 0)
    draw = random.Random(4)
    asked = [(ask(draw), draw.choice((1, 10, 50, 50, 50, 300))) for _ in range(150)]
    index = SearchIndex(crowd)
    found = [index.search_with_scores(query, limit) for query, limit in asked]
    before = SearchIndex(old)
    assert [before.search_with_scores(query, limit) for query, limit in asked] == found
    monkeypatch.setattr(search, "FEW_DOCUMENTS", CROWD)
    assert [index.search_with_scores(query, limit) for query, limit in asked] == found


def test_only_common_words_of_large_catalogues_have_levels(crowd: Path, made: Catalogue) -> None:
    rows = LevelRows(crowd, CROWD)
    index = SearchIndex(crowd)
    starts = np.load(crowd / "starts.npy").astype(int)
    common = np.flatnonzero(np.diff(starts) * levels.COMMON > CROWD)
    assert 10 < len(common) < 200
    documents, codes, scaled = (np.load(crowd / f"{name}.npy") for name in ("documents", "codes", "scaled"))
    for place in range(len(starts) - 1):
        row = rows.of(place)
        assert (row is not None) == (place in common)
        if row is not None:
            part = slice(starts[place], starts[place + 1])
            assert np.array_equal(np.flatnonzero(row.levels), documents[part])
            assert np.array_equal(row.scaled[row.levels[documents[part]]], scaled[codes[part]]) and row.width == 0
            assert np.count_nonzero(row.levels >= row.high) >= 50 > np.count_nonzero(row.levels > row.high)
    assert index.search("w0") and not np.load(made.folder / "index" / "levels.npy").size


def test_many_frequencies_share_levels_from_above() -> None:
    scaled = np.random.default_rng(0).random(3000).astype(np.float32) * 9
    used = np.arange(0, 3000, 2)
    level_of, tops, width = levels._cut(scaled, used)
    assert set(level_of[1::2]) == {0} and set(level_of[used]) == set(range(1, int(level_of.max()) + 1))
    assert (np.diff(tops) >= 0).all()
    excess = tops[level_of[used]] / (1.0 + tops[level_of[used]]) - scaled[used] / (1.0 + scaled[used])
    assert excess.min() >= 0.0 and excess.max() <= width + 1e-7 < 0.005


def test_an_index_of_a_version_to_come_says_what_to_do(tmp_path: Path) -> None:
    folder = make_catalogue(tmp_path / "shop", size=3).folder
    meta = json.loads((folder / "index" / "index.json").read_text())
    (folder / "index" / "index.json").write_text(json.dumps(meta | {"version": 3}))
    with pytest.raises(
        DataError,
        match=r"is damaged \(its search index is of version 3, and versions 1 and 2 can be read\): import it again",
    ):
        Catalogue(folder)


def test_an_index_that_lacks_its_levels_says_what_to_do(tmp_path: Path) -> None:
    folder = make_catalogue(tmp_path / "shop", size=3).folder
    (folder / "index" / "levels.high.npy").unlink()
    with pytest.raises(DataError, match=r"is damaged .*levels\.high\.npy.*: import it again"):
        Catalogue(folder)
