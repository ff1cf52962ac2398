"""Generates a catalogue by seed: products, attributes, options and instructions in the official form.

The embedded catalogue needs no download, so it is made of words of our own (``data/shop.json``). Product ``n`` of a seed
is the same in a catalogue of any size. Every goal can get full marks: the words are chosen, and tested, so that buying
exactly what is asked for matches even with the faults of the original's reward.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.catalogue_writer import CatalogueWriter
from step_envs.webshop.catalogue.importer import Progress

VERSION: Final = 1
"""Version of the generator: raised whenever a seed gives other products than before."""

REQUESTS_A_PRODUCT: Final = 4

_ASIN_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ASIN_SPACE: Final = 36**8
_ASIN_STEP: Final = 1_000_000_000_039
_PROGRESS_EVERY: Final = 1000

GeneratedProduct = tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]
"""A record of the product file, its entry in the attribute file, and its human instructions."""


@cache
def vocabulary() -> dict[str, Any]:
    """Read the words that products and instructions are made of."""
    text = resources.files("step_envs.webshop").joinpath("data/shop.json").read_text(encoding="utf-8")
    words: dict[str, Any] = json.loads(text)
    return words


@cache
def _kinds() -> tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...]:
    departments = vocabulary()["departments"]
    return tuple((name, shop, kind) for name, shop in departments.items() for kind in shop["kinds"])


def make_product(seed: int, number: int) -> GeneratedProduct:
    """Generate one product.

    Args:
        seed: Seed of the catalogue.
        number: Place of the product in the catalogue, from 0.

    Returns:
        Record, attribute entry and human instructions, in the official form.
    """
    draw = random.Random(f"step-webshop|{VERSION}|{seed}|{number}")
    words = vocabulary()
    department, shop, kind = draw.choice(_kinds())
    attributes = draw.sample([*kind["attributes"], *shop["attributes"]], draw.randint(3, 6))
    brand = "".join(draw.choice(words["syllables"]) for _ in range(draw.randint(2, 4))).capitalize()
    model = f"{draw.choice('ABCDEFGHJKLMNPRSTVWXYZ')}{draw.choice('ABCDEFGHJKLMNPRSTVWXYZ')}{draw.randint(100, 9999)}"
    options = {name: _some(draw, words["choices"][choice]) for name, choice in kind["options"].items()}
    if draw.random() < 0.25:
        options = {}
    noun = kind["noun"]
    fill = {"noun": noun, "brand": brand, "model": model}
    asin = _asin(seed, number)
    record = {
        "asin": asin,
        "name": _title(draw, kind, brand, model, attributes),
        "full_description": _description(draw, attributes, fill) if draw.random() < 0.8 else "",
        "small_description": _bullets(draw, attributes, fill),
        "pricing": _pricing(draw, *kind["price"]),
        "images": [f"https://shop.invalid/{asin}.jpg"],
        "product_category": " › ".join([*shop["path"], *kind["path"]]),
        "customization_options": {
            _capitals(name): [{"value": value} for value in values] for name, values in options.items()
        },
        "category": department,
        "query": kind["query"],
    }
    wanted = attributes[: draw.randint(1, 3)]
    joined = ", ".join(wanted)
    entry = {
        "attributes": attributes,
        "instruction": f"Find me {kind['query']} with {joined}",
        "instruction_attributes": wanted,
    }
    return record, entry, list(_requests(draw, noun, attributes, options))


def make_catalogue(
    target: Path,
    *,
    size: int,
    seed: int = 0,
    name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Catalogue:
    """Generate a catalogue on disk.

    Args:
        target: The catalogue's folder, which is made. It appears only when it is complete.
        size: Number of products, at least 1.
        seed: Seed of its products and goals.
        name: Name of the catalogue in task ids; None makes one of seed and size.
        overwrite: Replace a catalogue that is already there.
        progress: Called every thousand products with the number generated so far.

    Returns:
        The catalogue, open.

    Raises:
        ValueError: The size is below 1.
        DataError: The target exists already.
    """
    if size < 1:
        raise ValueError(f"A catalogue has at least one product, got size={size}.")
    source = {"kind": "generated", "version": VERSION, "seed": seed, "size": size}
    with CatalogueWriter(target, name or f"generated-{seed}-{size}", source, overwrite=overwrite) as writer:
        for number in range(size):
            record, entry, instructions = make_product(seed, number)
            writer.add(record, {record["asin"]: entry}.get, {record["asin"]: instructions}.get)
            if progress is not None and (number + 1) % _PROGRESS_EVERY == 0:
                progress(number + 1)
    return Catalogue(target)


def _some(draw: random.Random, values: Sequence[str]) -> list[str]:
    count = draw.randint(2, min(6, len(values)))
    kept = set(draw.sample(values, count))
    return [value for value in values if value in kept]


def _title(draw: random.Random, kind: Mapping[str, Any], brand: str, model: str, attributes: Sequence[str]) -> str:
    first, second = draw.sample(kind["words"], 2)
    shown = ", ".join(_capitals(attribute) for attribute in attributes[:2])
    noun = _capitals(kind["noun"])
    return draw.choice(
        (
            f"{brand} {first} {noun} {model}, {shown}",
            f"{brand} {model} {noun} - {first} and {second}, with {shown}",
            f"{first} {second} {noun} by {brand}, {shown} ({model})",
        )
    )


def _capitals(words: str) -> str:
    return " ".join(word[0].upper() + word[1:] for word in words.split())


def _description(draw: random.Random, attributes: Sequence[str], fill: Mapping[str, str]) -> str:
    sentences = draw.sample(vocabulary()["sentences"], draw.randint(2, 5))
    return " ".join(_filled(draw, sentence, attributes, fill) for sentence in sentences)


def _bullets(draw: random.Random, attributes: Sequence[str], fill: Mapping[str, str]) -> list[str]:
    if draw.random() < 0.05:
        return [""]
    patterns = vocabulary()["bullets"]
    bullets = [_filled(draw, draw.choice(patterns), [attribute], fill) for attribute in attributes]
    return [bullet[0].upper() + bullet[1:] + " " for bullet in bullets]


def _filled(draw: random.Random, pattern: str, attributes: Sequence[str], fill: Mapping[str, str]) -> str:
    return pattern.format(attribute=draw.choice(attributes), use=draw.choice(vocabulary()["uses"]), **fill)


def _pricing(draw: random.Random, low: int, high: int) -> str:
    price = draw.randint(low, high) - 0.01
    if draw.random() < 0.1:
        return f"${price} - ${round(price * draw.uniform(1.1, 1.8), 2)}"
    return f"${price}"


def _requests(
    draw: random.Random, noun: str, attributes: Sequence[str], options: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    article = "some" if noun.endswith("s") and not noun.endswith("ss") else "an" if noun[0] in "aeiou" else "a"
    for pattern in draw.sample(vocabulary()["requests"], REQUESTS_A_PRODUCT):
        wanted = draw.sample(attributes, draw.randint(1, min(2, len(attributes))))
        named = draw.sample(list(options), draw.randint(1, len(options))) if options else []
        chosen = {name: draw.choice(options[name]) for name in options if name in named}
        said = " and ".join(f"{name} {value}" for name, value in chosen.items())
        text = pattern.format(
            article=article, noun=noun, attributes=" and ".join(wanted), options=f" in {said}" if said else ""
        )
        yield {
            "instruction": text + ".",
            "instruction_attributes": wanted,
            "instruction_options": list(chosen.values()),
        }


def _asin(seed: int, number: int) -> str:
    """Return the id of a product; no two numbers of a seed have the same."""
    rest = ((number + 1) * _ASIN_STEP + seed * 7_919) % _ASIN_SPACE
    digits = []
    for _ in range(8):
        rest, digit = divmod(rest, 36)
        digits.append(_ASIN_DIGITS[digit])
    return "B0" + "".join(reversed(digits))
