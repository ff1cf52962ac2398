"""Catalogues: official files in, faults named, nothing half done, nothing held open."""

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from step_envs.errors import DataError
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.catalogue_writer import CatalogueWriter
from step_envs.webshop.catalogue.generator import make_catalogue, make_product
from step_envs.webshop.catalogue.importer import import_folder
from step_envs.webshop.catalogue.json_stream import read_array, read_object
from step_envs.webshop.catalogue.products import read_product
from step_envs.webshop.shop.noun_tagger import content_words
from step_envs.webshop.shop.reward import score_purchase


def record(asin: str = "B000000001", **changes: Any) -> dict[str, Any]:
    """A product record in the official form."""
    return {
        "asin": asin,
        "name": "Oakline Wooden Desk Lamp",
        "full_description": "A lamp for reading.",
        "small_description": ["Warm light", "Solid oak"],
        "pricing": "$19.99",
        "images": ["https://example.org/lamp.jpg"],
        "customization_options": {"Color": [{"value": "Dark/Oak"}, {"value": " Pine "}], "Size": None},
        "product_category": "Home › Lighting › Lamps",
        "category": "garden",
        "query": "Desk Lamps ",
    } | changes


def entry(**changes: Any) -> dict[str, Any]:
    """An entry of the attribute file."""
    return {
        "attributes": ["warm light", "solid wood"],
        "instruction": "Find me desk lamps with solid wood",
        "instruction_attributes": ["solid wood"],
    } | changes


def write_files(folder: Path, products: Any, attributes: Any = None, human: Any = None) -> Path:
    """Write official files; texts are written as they are, so that they can be broken."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (
        ("items_shuffle_1000.json", products),
        ("items_ins_v2_1000.json", {} if attributes is None else attributes),
        ("items_human_ins.json", human),
    ):
        if value is not None:
            (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder


def brought_in(tmp_path: Path, products: Any, attributes: Any = None, human: Any = None, **options: Any) -> Catalogue:
    return import_folder(write_files(tmp_path / "files", products, attributes, human), tmp_path / "shop", **options)


def test_a_record_becomes_a_product_as_the_original_loads_it(tmp_path: Path) -> None:
    product = brought_in(tmp_path, [record()], {"B000000001": entry()}).product(0)
    assert product.options == {"color": ("dark | oak", "pine")}
    assert product.query == "desk lamps"
    assert product.price_tag == "$19.99"
    assert product.attributes == ("warm light", "solid wood")
    assert product.document() == "oakline wooden desk lamp a lamp for reading. warm light color: dark | oak, pine"


@pytest.mark.parametrize(
    ("pricing", "prices", "tag"),
    [
        ("", (100.0,), "$100.0"),
        (None, (100.0,), "$100.0"),
        ("$1,299.50", (1299.5,), "$1299.5"),
        ("$5 - $9.5", (5.0, 9.5), "$5.0 to $9.5"),
        ("$5 - $9 - $12", (5.0, 9.0), "$5.0 to $9.0"),
    ],
)
def test_prices(pricing: str | None, prices: tuple[float, ...], tag: str) -> None:
    product = read_product(record(pricing=pricing))
    assert product is not None
    assert (product.prices, product.price_tag) == (prices, tag)


def test_products_that_the_original_skips_are_skipped(tmp_path: Path) -> None:
    catalogue = brought_in(
        tmp_path, [record("nan"), record("B0000000012"), record(), record(name="A Copy"), record("B000000002")]
    )
    assert len(catalogue) == 2
    assert catalogue.product(0).title == "Oakline Wooden Desk Lamp"
    assert catalogue.manifest["skipped"] == 3


def test_human_instructions_without_attributes_make_no_goal(tmp_path: Path) -> None:
    wish = {"instruction": "a lamp.", "instruction_attributes": ["solid wood"], "instruction_options": ["pine"]}
    catalogue = brought_in(
        tmp_path, [record()], {}, {"B000000001": [wish, wish | {"instruction_attributes": []}], "B9": [wish]}
    )
    assert len(catalogue.goals("human")) == 1
    goal = catalogue.goal("human", 0)
    assert goal.goal_options == ("pine",)
    assert goal.instruction_text.startswith("a lamp, and price lower than ")


@pytest.mark.parametrize(
    ("products", "message"),
    [
        ([], "no product at all"),
        ("", r"line 1: a JSON array must begin with '\['"),
        ('{"a": 1}', r"line 1: a JSON array must begin with '\['"),
        ('[\n{"asin": "B1"},\n{"asin": }\n]', "line 2 .record 1.: the key 'images' is missing"),
        ("[" + json.dumps(record()) + ',\n{"asin": }]', "line 2, in record 2: Expecting value"),
        ("[" + json.dumps(record()) + ",\n{'asin': 1}]", "line 2, in record 2: Expecting property name"),
        ("[" + json.dumps(record()) + "\n", "line 2: the file ends where ',' or ']' should be"),
        ("[" + json.dumps(record()) + ",\n]", "line 2: there is a comma before the closing"),
        ("[" + json.dumps(record()) + "]\n[]", "line 2: there is more after the closing"),
        ("[" + json.dumps(record())[:60], "line 1, in record 1: Unterminated string"),
        (["lamp"], "record 1.: a product must be an object, not text"),
        ([record(name=None)], "product 'B000000001': 'name' must be text, not null"),
        ([record(name=7)], "'name' must be text, not a number"),
        ([{k: v for k, v in record().items() if k != "query"}], "the key 'query' is missing"),
        ([record(asin=5)], "'asin' must be text"),
        ([record(asin=["B000000001"])], "'asin' must be text, not a list"),
        ('[\n{"asin": ' + "9" * 5000 + "}]", "line 2, in record 1: it cannot be read .Exceeds the limit"),
        ([record(images=[])], "'images' must be a list with at least one address"),
        ([record(pricing="cheap")], "'pricing' must be text such as"),
        ([record(pricing=5)], "'pricing' must be text such as"),
        ([record(small_description=[1])], "'small_description' must be text or a list of texts"),
        ([record(customization_options={"Color": "red"})], "option 'Color' must be a list of choices"),
        ([record(customization_options={"Color": [{}]})], "option 'Color' has a choice without a text 'value'"),
    ],
)
def test_malformed_products_are_named_by_file_and_place(tmp_path: Path, products: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        brought_in(tmp_path, products)
    assert not (tmp_path / "shop").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("[]", "a JSON object must begin with"),
        ('{"B000000001" 5}', "':' is missing after the key 'B000000001'"),
        ('{"B000000001": []}', "entry of product 'B000000001' must be an object"),
        ({"B000000001": {"attributes": "wood"}}, "'attributes' of product 'B000000001' must be a list of texts"),
        (
            '{"B0": {},\n"B000000001": ' + json.dumps(entry(instruction_attributes=[])) + "}",
            r"items_ins_v2_1000\.json, line 2 .record 2.: .* text with 'instruction_attributes' is needed",
        ),
    ],
)
def test_malformed_attributes_are_named(tmp_path: Path, attributes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        brought_in(tmp_path, [record()], attributes)


@pytest.mark.parametrize(
    ("instructions", "message"),
    [
        ("[{}]", "an instruction of product 'B000000001' lacks 'instruction'"),
        ("{}", "instructions of product 'B000000001' must be a list"),
        (
            '[{"instruction": 5, "instruction_attributes": [], "instruction_options": []}]',
            "an instruction of product 'B000000001' has values of the wrong type",
        ),
    ],
)
def test_malformed_instructions_are_named(tmp_path: Path, instructions: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"items_human_ins\.json, line 2 .record 2.: {message}"):
        brought_in(tmp_path, [record()], {}, f'{{"B0": [],\n"B000000001": {instructions}}}')


def test_options_of_which_no_memory_could_hold_all_combinations_are_named(tmp_path: Path) -> None:
    options = {f"option {name}": [{"value": f"v{value}"} for value in range(100)] for name in range(8)}
    product = record(customization_options=options)
    assert len(brought_in(tmp_path, [product])) == 1
    with pytest.raises(
        DataError, match=r"line 1 .record 1.: product 'B000000001': its options make 10,000,000,000,000,000"
    ):
        brought_in(tmp_path, [product], {"B000000001": entry()}, overwrite=True)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no product file in .*items_shuffle\.json"):
        import_folder(tmp_path, tmp_path / "shop")
    (tmp_path / "items_shuffle.json").write_text("[]")
    with pytest.raises(DataError, match=r"no attribute file in .*items_ins_v2\.json"):
        import_folder(tmp_path, tmp_path / "shop")


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
def test_files_that_are_not_text_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("step_envs.webshop.catalogue.json_stream._CHUNK", block)
    path = tmp_path / "broken.json"
    path.write_bytes('["é",\n"★",\n"'.encode() + b'\xff"]')
    with pytest.raises(DataError, match=r"broken.json, line 3: this is not UTF-8 text"):
        list(read_array(path))
    path.write_bytes('["é",\n"'.encode() + "★".encode()[:2])
    with pytest.raises(DataError, match=r"broken.json, line 2: this is not UTF-8 text"):
        list(read_array(path))


def test_streams_give_what_json_gives_at_any_block_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [record(), 12345, -1.5e3, 'é\n"', None, True, [], {}, [[1, 2], {"a": "]"}]]
    listed, keyed = tmp_path / "listed.json", tmp_path / "keyed.json"
    listed.write_text(json.dumps(values, indent=1), encoding="utf-8")
    keyed.write_text(json.dumps({str(i): value for i, value in enumerate(values)}), encoding="utf-8")
    for block in (1, 2, 7, 64, 1 << 20):
        monkeypatch.setattr("step_envs.webshop.catalogue.json_stream._CHUNK", block)
        assert [value for _, value in read_array(listed)] == values
        assert [(key, value) for _, key, value in read_object(keyed)] == [(str(i), v) for i, v in enumerate(values)]


def test_a_limit_takes_the_first_products(tmp_path: Path) -> None:
    catalogue = brought_in(tmp_path, [record(f"B{n}") for n in range(9)], limit=4)
    assert [catalogue.product(n).asin for n in range(len(catalogue))] == ["B0", "B1", "B2", "B3"]


def test_an_existing_catalogue_is_replaced_only_when_asked(tmp_path: Path) -> None:
    brought_in(tmp_path, [record()])
    with pytest.raises(DataError, match="exists already"):
        brought_in(tmp_path, [record(), record("B000000002")])
    assert len(brought_in(tmp_path, [record(), record("B000000002")], overwrite=True)) == 2
    with pytest.raises(DataError, match="no product at all"):
        brought_in(tmp_path, [], overwrite=True)
    assert len(Catalogue(tmp_path / "shop")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "shop"]


def test_an_import_that_is_killed_leaves_nothing_half_done_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from step_envs.webshop.catalogue.generator import make_catalogue\n"
        "make_catalogue(pathlib.Path(sys.argv[1]), size=10**6, progress=lambda n: print(n, flush=True))"
    )
    target = tmp_path / "shop"
    process = subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    assert [path for path in tmp_path.iterdir() if ".partial-" in path.name]
    make_catalogue(target, size=20)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    assert len(Catalogue(target)) == 20


def test_processes_that_make_the_same_catalogue_at_once_all_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        for size in (60, 61, 62, 63):
            assert pool.map(_embedded, [size] * 3, chunksize=1) == [size] * 3
    assert not [path for path in (tmp_path / "webshop").iterdir() if ".partial-" in path.name]


def _embedded(size: int) -> int:
    from step_envs.webshop.catalogue.sources import open_catalogue

    return len(open_catalogue(size=size))


def test_of_two_different_catalogues_made_at_once_one_stands_and_the_other_says_so(tmp_path: Path) -> None:
    target = tmp_path / "shop"
    with (
        pytest.raises(DataError, match="Another process has made a different catalogue"),
        CatalogueWriter(target, "shop", {}) as writer,
    ):
        writer.add(record(), {}.get, {}.get)
        brought_in(tmp_path, [record("B000000002")])
    assert Catalogue(target).product(0).asin == "B000000002"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "shop"]


def test_a_catalogue_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought_in(tmp_path, [record()])
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if self.name == "catalogue":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(DataError, match="No space left"):
        brought_in(tmp_path, [record(), record("B000000002")], overwrite=True)
    assert len(Catalogue(tmp_path / "shop")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")
def test_a_catalogue_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        catalogue = brought_in(tmp_path, [record()])
    finally:
        os.umask(before)
    assert catalogue.folder.stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(sys.platform != "linux", reason="asks how much of a file is on disk")
def test_a_column_has_its_place_on_disk_before_it_is_mapped(tmp_path: Path) -> None:
    """On a full disk, a page that is mapped and has no place kills the process without a word."""
    from step_envs.webshop.catalogue.columns import new_array

    column = new_array(tmp_path, "column", "uint32", 1_000_000)
    assert column.shape == (1_000_000,) and not column.any()
    there = (tmp_path / "column.npy").stat()
    assert there.st_blocks * 512 >= there.st_size > 4_000_000


def test_a_damaged_catalogue_is_an_error(tmp_path: Path) -> None:
    catalogue = brought_in(tmp_path, [record()])
    (catalogue.folder / "prices.npy").unlink()
    with pytest.raises(DataError, match="damaged"):
        Catalogue(catalogue.folder)
    other = brought_in(tmp_path / "other", [record()]).folder
    with (other / "products.bin").open("r+b") as file:
        file.truncate(50)
    with pytest.raises(DataError, match=r"damaged \(products.bin has 50 bytes of \d+\)"):
        Catalogue(other)
    manifest = catalogue.folder / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        Catalogue(catalogue.folder)
    manifest.write_text('{"schema": "other"}')
    with pytest.raises(DataError, match="not of schema"):
        Catalogue(catalogue.folder)
    manifest.write_text('{"schema": "step-webshop-catalogue/1", "products": 0}')
    with pytest.raises(DataError, match="has no product"):
        Catalogue(catalogue.folder)


def test_a_catalogue_that_is_let_go_frees_everything(tmp_path: Path) -> None:
    """The original keeps every session it ever had, and a thousand threads with them (AgentGym#62)."""
    catalogue = brought_in(tmp_path, [record()])
    catalogue.search("lamp")
    product = weakref.ref(catalogue.product(0))
    there = weakref.ref(catalogue)
    catalogue.close()
    del catalogue
    gc.collect()
    assert there() is None and product() is None
    if sys.platform == "linux":
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_made_catalogues_depend_on_seed_alone(tmp_path: Path) -> None:
    small, large = make_catalogue(tmp_path / "a", size=5, seed=4), make_catalogue(tmp_path / "b", size=9, seed=4)
    assert [small.product(n).to_json() for n in range(5)] == [large.product(n).to_json() for n in range(5)]
    assert small.product(0).to_json() != make_catalogue(tmp_path / "c", size=1, seed=5).product(0).to_json()
    with pytest.raises(ValueError, match="at least one product"):
        make_catalogue(tmp_path / "d", size=0)


def test_made_ids_are_unique() -> None:
    from step_envs.webshop.catalogue.generator import _asin

    assert len({_asin(0, number) for number in range(200_000)}) == 200_000


def test_every_made_goal_can_be_fulfilled_to_the_full(made: Catalogue) -> None:
    for kind in ("human", "synthetic"):
        goals = made.goals(kind)
        assert len(goals) > 1000
        for number in range(len(goals)):
            place = goals.product_number(number)
            product = made.product(place)
            goal = goals.goal(number, product)
            if isinstance(goal.goal_options, tuple):
                options = {
                    name: value
                    for name, values in product.options.items()
                    for value in goal.goal_options
                    if value in values
                }
            else:
                options = dict(goal.goal_options)
            reward, info = score_purchase(product, goal, made.price(place), options, content_words)
            assert reward == 1.0, (goal, info)


def test_no_choice_in_the_vocabulary_hides_a_colour_word() -> None:
    """A hidden one ("sandalwood") would put full marks out of reach under the original's reward."""
    from step_envs.webshop.catalogue.generator import vocabulary
    from step_envs.webshop.shop.reward import normalize_color

    for values in vocabulary()["choices"].values():
        for value in values:
            assert normalize_color(value) == value or normalize_color(value) in value.split(), value


def test_made_records_are_in_the_official_form() -> None:
    made_record, made_entry, wishes = make_product(0, 3)
    assert set(made_record) == set(record())
    assert set(made_entry) == set(entry())
    assert all(set(wish) == {"instruction", "instruction_attributes", "instruction_options"} for wish in wishes)
