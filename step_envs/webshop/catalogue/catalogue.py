"""An opened catalogue: products, goals, prices and search.

Nothing is read when it is opened. Products and goals are read from memory-mapped files when they are asked for, and the
ones asked for last are kept.
"""

import shlex
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from step_envs.errors import DataError, unknown_name
from step_envs.file_reading import read_json
from step_envs.webshop.catalogue.catalogue_writer import MANIFEST, SCHEMA
from step_envs.webshop.catalogue.columns import Array, Groups, TextColumn, open_array
from step_envs.webshop.catalogue.goals import Goal, GoalKind, GoalList
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.catalogue.search import SearchIndex

_RECENT_PRODUCTS: Final = 1024
"""Parsed products that are kept: ten megabytes at most."""

_RECENT_NUMBERS: Final = 4096
_MOST_MANIFEST_BYTES: Final = 2**20


class Catalogue:
    """The products and goals of a shop, as ``CatalogueWriter`` wrote them.

    Args:
        folder: Folder of the catalogue.

    Raises:
        DataError: There is no catalogue, or it is incomplete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self.name: str = self.manifest["name"]
        try:
            self._products = TextColumn(self.folder, "products")
            self._asins = TextColumn(self.folder, "asins")
            self._by_asin = open_array(self.folder, "asins.products")
            self._prices = open_array(self.folder, "prices")
            self._groups = {name: Groups(self.folder, name) for name in ("category", "query", "attribute")}
            self._goals: dict[str, GoalList] = {kind: GoalList(self.folder / kind) for kind in ("synthetic", "human")}
            self.index = SearchIndex(self.folder / "index")
        except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, DataError) as error:
            raise DataError(
                f"The catalogue in {self.folder} is damaged ({error}): {_make_again(self.folder)}."
            ) from error
        self._recent: OrderedDict[int, Product] = OrderedDict()
        self._numbers: dict[str, int | None] = {}

    def __len__(self) -> int:
        return len(self._products)

    def product(self, number: int) -> Product:
        """Read a product by its place in the catalogue."""
        product = self._recent.get(number)
        if product is None:
            product = self._recent[number] = Product.from_json(self._products.bytes_at(number))
            if len(self._recent) > _RECENT_PRODUCTS:
                self._recent.popitem(last=False)
        return product

    def number_of(self, asin: str) -> int | None:
        """Find the place of a product by its id; None where there is none."""
        # Environments in several threads share a catalogue, so that another thread may clear the cache at any moment.
        try:
            return self._numbers[asin]
        except KeyError:
            place = self._asins.find(asin)
        number = None if place is None else int(self._by_asin[place])
        if len(self._numbers) >= _RECENT_NUMBERS:
            self._numbers.clear()
        self._numbers[asin] = number
        return number

    def price(self, number: int) -> float:
        """Return what a product costs in dollars; where it has a price range, a price within it, always the same one."""
        return float(self._prices[number])

    def search(self, query: str) -> list[int]:
        """Find the best products for some words, best first, at most fifty."""
        return self.index.search(query)

    def having(self, what: str, value: str) -> Array:
        """Return the places of all products with a certain value, in catalogue order.

        Args:
            what: ``"category"``, ``"query"`` or ``"attribute"``.
            value: The value.
        """
        return self._groups[what][value]

    @property
    def departments(self) -> list[str]:
        """The categories of its products, in alphabetical order."""
        return list(self._groups["category"])

    def goals(self, kind: GoalKind) -> GoalList:
        """Return the goals of a kind.

        Raises:
            UnknownNameError: There is no such kind.
        """
        if kind not in self._goals:
            raise unknown_name("kind of goals", kind, self._goals)
        return self._goals[kind]

    def goal(self, kind: GoalKind, number: int) -> Goal:
        """Read a goal by its place in the fixed order.

        Raises:
            IndexError: There is no such goal.
        """
        goals = self.goals(kind)
        if not 0 <= number < len(goals):
            raise IndexError(number)
        return goals.goal(number, self.product(goals.product_number(number)))

    def close(self) -> None:
        """Forget what was read; the operating system frees the mapped memory with the last reference to the catalogue."""
        self._recent.clear()
        self._numbers.clear()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.exists():
        raise DataError(
            f"There is no WebShop catalogue in {folder}: make one with `step-envs data webshop` and name the folder it "
            "tells, or name no data for the embedded one."
        )
    try:
        manifest = read_json(path, limit=_MOST_MANIFEST_BYTES, fault=DataError)
    except DataError as error:
        reason = str(error).removeprefix(f"Cannot read {path}: ").removeprefix(f"{path} ").rstrip(".")
        raise DataError(f"{path} cannot be read ({reason}): {_make_again(folder)}.") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise DataError(f"{path} is not of schema {SCHEMA!r}: {_make_again(folder)}.")
    if not manifest.get("products"):
        raise DataError(f"The catalogue in {folder} has no product: {_make_again(folder)}.")
    return manifest


def _make_again(folder: Path) -> str:
    """Return the end of a message that says how to replace a damaged catalogue."""
    command = f"step-envs data webshop --overwrite --to {shlex.quote(str(folder))}"
    return f"import it again, for example with `{command}`, or remove the folder if it was made by seed"
