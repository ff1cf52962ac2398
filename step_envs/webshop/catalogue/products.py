"""One product as the shop shows and scores it, made from a record of the official files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

NO_ATTRIBUTES: Final = ("DUMMY_ATTR",)
"""Attributes of a product that has no entry in the attribute file, as in the original."""

_NOT_IN_A_PRICE: Final = re.compile(r"[^\d.]")

_DEFAULT_PRICE: Final = 100.0


class RecordError(ValueError):
    """A record lacks a key or has a value of the wrong type; the caller adds the file and the place."""


class InstructionError(RecordError):
    """An entry of the attribute file or of the human instructions is malformed.

    Args:
        what: What is wrong with it.
        asin: The product it is about.
        human: Whether it is one of the human instructions.
    """

    def __init__(self, what: str, *, asin: str, human: bool) -> None:
        super().__init__(what)
        self.asin = asin
        self.human = human


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Product:
    """A product of the catalogue.

    Attributes:
        asin: Its id.
        title: Its name, as sold.
        description: A paragraph, may be empty.
        bullets: Its features; a single blank one is common.
        prices: One price in dollars, or the two ends of a range.
        options: The values of each option (colour, size, ...), lower case.
        attributes: What the reward may ask for.
        category: The shop's department, one of a handful.
        query: The search that the product was collected with, lower case.
        product_category: The path in the shop's tree, its parts joined by ``›``.
        image: Address of its picture.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    category: str
    query: str
    product_category: str
    image: str

    @property
    def price_tag(self) -> str:
        """The price as the pages show it."""
        low, *high = self.prices
        return f"${low} to ${high[0]}" if high else f"${low}"

    def document(self) -> str:
        """The text that is searched: title, description, first feature and options."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first = self.bullets[0] if self.bullets else ""
        return " ".join([self.title, self.description, first, options]).lower()

    def to_json(self) -> str:
        """Write the product as one line of JSON."""
        values = [getattr(self, field.name) for field in fields(self)]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> "Product":
        """Read what ``to_json`` wrote."""
        asin, title, description, bullets, prices, options, attributes, *rest = json.loads(line)
        values = {name: tuple(listed) for name, listed in options.items()}
        return cls(asin, title, description, tuple(bullets), tuple(prices), values, tuple(attributes), *rest)


def read_product(record: Any, attributes: Any = None) -> Product | None:
    """Make a product from a record of ``items_shuffle*.json``, as the original loader does.

    Args:
        record: The record, as parsed.
        attributes: Its entry in ``items_ins_v2*.json``, or None.

    Returns:
        The product, or None where the original skips the record: its id is "nan" or longer than ten characters.

    Raises:
        RecordError: A key is missing or a value has the wrong type.
    """
    if not isinstance(record, dict):
        raise RecordError(f"a product must be an object, not {_kind(record)}")
    asin = _text(record, "asin")
    if asin == "nan" or len(asin) > 10:
        return None
    images = _get(record, "images")
    if not isinstance(images, list) or not images:
        raise RecordError(f"product {asin!r}: 'images' must be a list with at least one address")
    try:
        return Product(
            asin=asin,
            title=_text(record, "name"),
            description=_text(record, "full_description"),
            bullets=_bullets(_get(record, "small_description")),
            prices=_prices(record.get("pricing")),
            options=_options(_get(record, "customization_options")),
            attributes=_attributes(attributes),
            category=_text(record, "category"),
            query=_text(record, "query").lower().strip(),
            product_category=_text(record, "product_category"),
            image=str(images[0]),
        )
    except RecordError as error:
        raise RecordError(f"product {asin!r}: {error}") from None


def _prices(pricing: Any) -> tuple[float, ...]:
    if not pricing:
        return (_DEFAULT_PRICE,)
    if not isinstance(pricing, str):
        raise RecordError(f"'pricing' must be text such as '$19.99' or '$5 - $9', not {_kind(pricing)}")
    try:
        prices = tuple(float(_NOT_IN_A_PRICE.sub("", part)) for part in pricing.split("$")[1:3])
    except ValueError:
        prices = ()
    if not prices:
        raise RecordError(f"'pricing' must be text such as '$19.99' or '$5 - $9', got {pricing!r}")
    return prices


def _bullets(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(bullet, str) for bullet in value):
        return tuple(value)
    raise RecordError(f"'small_description' must be text or a list of texts, not {_kind(value)}")


def _options(value: Any) -> dict[str, tuple[str, ...]]:
    if not value:
        return {}
    if not isinstance(value, dict):
        raise RecordError(f"'customization_options' must be an object of options, not {_kind(value)}")
    options: dict[str, tuple[str, ...]] = {}
    for name, contents in value.items():
        if contents is None:
            continue
        if not isinstance(contents, list):
            raise RecordError(f"option {name!r} must be a list of choices, not {_kind(contents)}")
        choices = []
        for content in contents:
            if not isinstance(content, dict) or not isinstance(content.get("value"), str):
                raise RecordError(f"option {name!r} has a choice without a text 'value'")
            choices.append(content["value"].strip().replace("/", " | ").lower())
        options[name.lower()] = tuple(choices)
    return options


def _attributes(entry: Any) -> tuple[str, ...]:
    if entry is None or "attributes" not in entry:
        return NO_ATTRIBUTES
    return tuple(entry["attributes"])


def _get(record: Mapping[str, Any], key: str) -> Any:
    if key not in record:
        raise RecordError(f"the key {key!r} is missing")
    return record[key]


def _text(record: Mapping[str, Any], key: str) -> str:
    value = _get(record, key)
    if not isinstance(value, str):
        raise RecordError(f"{key!r} must be text, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
