"""Writes a catalogue from a stream of product records: all of it, or nothing.

An import takes minutes and may be interrupted at any moment. So everything is written into a folder beside the target,
which gets the target's name only when it is complete, and the next run removes what an interrupted one left.
"""

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from step_envs.errors import DataError
from step_envs.webshop.catalogue.columns import GroupsWriter, TextColumnWriter, sort_key, write_array, write_texts
from step_envs.webshop.catalogue.goals import PRICE_SEED, GoalWriter
from step_envs.webshop.catalogue.index_writer import IndexWriter
from step_envs.webshop.catalogue.products import read_product

SCHEMA: Final = "step-webshop-catalogue/1"
MANIFEST: Final = "manifest.json"

_PARTIAL: Final = ".partial-"


class CatalogueWriter:
    """Writes a catalogue; use it as a context manager, and ``add`` every record in order.

    Args:
        target: The folder to make.
        name: What task ids call the catalogue.
        source: Where it comes from, for the record; JSON values.
        limit: Take only that many records, as the original's ``num_products``; None takes all.
        overwrite: Replace a catalogue that is already there.

    Raises:
        DataError: The target exists already, or (at the end) there was no product at all.
    """

    def __init__(
        self, target: Path, name: str, source: Mapping[str, Any], *, limit: int | None = None, overwrite: bool = False
    ) -> None:
        if target.exists() and not overwrite:
            raise DataError(
                f"{target} exists already: name another folder, or add --overwrite (in Python, overwrite=True)."
            )
        self._target, self._name, self._source, self._limit = target, name, dict(source), limit
        self._overwrite = overwrite
        self._records = 0
        self._skipped = 0
        self._asins: list[str] = []
        self._known: set[str] = set()
        self._prices = array("d")
        self._stream = random.Random(PRICE_SEED)
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target)
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}{_PARTIAL}{os.getpid()}-", dir=target.parent))
        # Only its owner can read a temporary folder; the folder within it has the permissions that the umask gives.
        self._folder = self._scratch / "catalogue"
        self._folder.mkdir()
        for part in ("index", "synthetic", "human"):
            (self._folder / part).mkdir()
        self._products = TextColumnWriter(self._folder, "products")
        self._index = IndexWriter(self._folder / "index")
        self._synthetic = GoalWriter(self._folder / "synthetic", "synthetic")
        self._human = GoalWriter(self._folder / "human", "human")
        self._groups = {name: GroupsWriter() for name in ("category", "query", "attribute")}

    @property
    def full(self) -> bool:
        """Whether the limit is reached, so that further records would be ignored."""
        return self._limit is not None and self._records >= self._limit

    def add(self, record: Any, attributes_of: Callable[[str], Any], instructions_of: Callable[[str], Any]) -> None:
        """Add a record of the product file.

        Args:
            record: As parsed.
            attributes_of: Returns a product's entry in the attribute file, or None.
            instructions_of: Returns a product's human instructions, or None.

        Raises:
            RecordError: The record is malformed.
        """
        if self.full:
            return
        self._records += 1
        asin = record.get("asin") if isinstance(record, dict) else None
        entry = None
        if isinstance(asin, str):
            if asin in self._known:
                self._skipped += 1
                return
            entry = attributes_of(asin)
        product = read_product(record, entry)
        if product is None:
            self._skipped += 1
            return
        number = len(self._asins)
        self._known.add(product.asin)
        self._asins.append(product.asin)
        self._products.append(product.to_json())
        self._index.add(product.document())
        low, *high = product.prices
        self._prices.append(self._stream.uniform(low, high[0]) if high else low)
        self._groups["category"].add(product.category, number)
        self._groups["query"].add(product.query, number)
        for attribute in dict.fromkeys(product.attributes):
            self._groups["attribute"].add(attribute, number)
        self._synthetic.add_synthetic(number, product, entry)
        instructions = instructions_of(product.asin)
        if instructions is not None:
            self._human.add_human(number, product, instructions)

    def __enter__(self) -> "CatalogueWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _finish(self) -> None:
        self._products.close()
        if not self._asins:
            file = next(iter(self._source.get("files", ())), "the product file")
            raise DataError(
                f"The catalogue {self._name!r} would have no product at all ({self._records} records read, "
                f"{self._skipped} skipped): check that {file} is the right one."
            )
        self._index.close(self._asins)
        order = sorted(range(len(self._asins)), key=lambda number: sort_key(self._asins[number]))
        write_texts(self._folder, "asins", (self._asins[number] for number in order))
        write_array(self._folder, "asins.products", order, np.uint32)
        write_array(self._folder, "prices", self._prices, np.float64)
        for name, groups in self._groups.items():
            groups.write(self._folder, name)
        after_prices = self._stream.getstate()
        counts = {}
        for kind, writer in (("synthetic", self._synthetic), ("human", self._human)):
            self._stream.setstate(after_prices)
            counts[kind] = writer.close(self._prices, self._stream)
        manifest = {
            "schema": SCHEMA,
            "name": self._name,
            "source": self._source,
            "records": self._records,
            "skipped": self._skipped,
            "products": len(self._asins),
            "goals": counts,
        }
        (self._folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        self._publish(manifest)

    def _publish(self, manifest: Mapping[str, Any]) -> None:
        replaced = self._scratch / "replaced"
        if self._overwrite:
            with contextlib.suppress(FileNotFoundError):
                self._target.rename(replaced)
        try:
            self._folder.rename(self._target)
        except OSError:
            # Another process may have written the same catalogue in the meantime: then that one is kept.
            there = self._published()
            if there is None:
                if replaced.exists():
                    replaced.rename(self._target)
                raise
            if there != json.loads(json.dumps(manifest)):
                raise DataError(
                    f"Another process has made a different catalogue in {self._target} meanwhile: name another folder, or "
                    "add --overwrite (in Python, overwrite=True)."
                ) from None

    def _published(self) -> Any:
        try:
            return json.loads((self._target / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def _clear_leftovers(target: Path) -> None:
    """Remove the folders that killed runs left beside the target."""
    for leftover in _leftovers(target):
        process = leftover.name.removeprefix(f"{target.name}{_PARTIAL}").split("-")[0]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)


def _leftovers(target: Path) -> Iterator[Path]:
    return (path for path in target.parent.iterdir() if path.name.startswith(f"{target.name}{_PARTIAL}"))


def _alive(process: int) -> bool:
    if sys.platform == "win32":
        # There, signal 0 is Ctrl+C, so that asking would interrupt; leftovers stay until a person removes them.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
