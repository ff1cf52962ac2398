"""The goals of a catalogue: shopping instructions and what they reward, in the original's fixed order.

The original draws prices of products with a price range, and the price limit of every goal, from Python's global random
stream without seeding it, so that they differ in every process. Here they are what the original draws if that stream is
seeded with 0 just before the catalogue is loaded: one possible outcome of the original, and always the same one. The order
of the goals is the original's (seed 233).
"""

import json
import random
import sys
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from step_envs.errors import DataError
from step_envs.webshop.catalogue.columns import TextColumn, TextColumnWriter, open_array, write_array
from step_envs.webshop.catalogue.products import InstructionError, Product, RecordError

GoalKind = Literal["synthetic", "human"]

PRICE_SEED: Final = 0
ORDER_SEED: Final = 233

PRICE_STEPS: Final = tuple(10.0 * step for step in range(1, 100))
NO_PRICE_LIMIT: Final = 1_000_000.0

MOST_CHOICES: Final = 10_000_000
"""Most combinations of options that a product may have: each is a goal, and a number in memory while goals are sorted."""

_FIELDS: Final = (
    "asin",
    "category",
    "query",
    "name",
    "product_category",
    "instruction_text",
    "attributes",
    "price_upper",
    "goal_options",
)


@dataclass(frozen=True, slots=True)
class Goal:
    """One shopping instruction and what it rewards.

    Attributes:
        asin: The product it was written for.
        category: That product's department.
        query: The search that product was collected with.
        name: That product's title.
        product_category: That product's path in the shop's tree.
        instruction_text: What the shopper is told.
        attributes: What the purchase should have; at least one.
        price_upper: What it may cost at most, in dollars.
        goal_options: The choices it should have: by option name in synthetic goals, bare values in human ones.
        weight: How often the original draws it at random.
    """

    asin: str
    category: str
    query: str
    name: str
    product_category: str
    instruction_text: str
    attributes: tuple[str, ...]
    price_upper: float
    goal_options: Mapping[str, str] | tuple[str, ...]
    weight: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the goal as JSON values, in the original's form."""
        values: dict[str, Any] = {name: getattr(self, name) for name in (*_FIELDS, "weight")}
        values["attributes"] = list(self.attributes)
        options = self.goal_options
        values["goal_options"] = dict(options) if isinstance(options, Mapping) else list(options)
        return values

    @classmethod
    def from_dict(cls, values: Any) -> "Goal":
        """Make a goal from its fields.

        Args:
            values: The fields of ``Goal``; ``weight`` may be absent.

        Raises:
            DataError: A field is missing, unknown or of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"A goal is a dict with the keys {', '.join(_FIELDS)}; got {type(values).__name__}.")
        missing = [name for name in _FIELDS if name not in values]
        unknown = [str(name) for name in values if name not in _FIELDS and name != "weight"]
        if missing or unknown:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has the unknown key {unknown[0]!r}"
            raise DataError(f"The goal {wrong}; a goal has the keys {', '.join(_FIELDS)} (and weight).")
        for name in _FIELDS[:6]:
            if not isinstance(values[name], str):
                raise DataError(f"The goal's {name!r} must be text, got {values[name]!r}.")
        attributes, options = values["attributes"], values["goal_options"]
        if not _texts(attributes) or not attributes:
            raise DataError(f"The goal's 'attributes' must be a list with at least one text, got {attributes!r}.")
        if not (_texts(options) or (isinstance(options, Mapping) and _texts([*options, *options.values()]))):
            raise DataError(f"The goal's 'goal_options' must be a list of texts or a dict of texts, got {options!r}.")
        for name in ("price_upper", "weight"):
            number = values.get(name, 1.0)
            if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
                raise DataError(f"The goal's {name!r} must be a positive number, got {number!r}.")
        return cls(
            asin=values["asin"],
            category=values["category"],
            query=values["query"],
            name=values["name"],
            product_category=values["product_category"],
            instruction_text=values["instruction_text"],
            attributes=tuple(attributes),
            price_upper=float(values["price_upper"]),
            goal_options=dict(options) if isinstance(options, Mapping) else tuple(options),
            weight=float(values.get("weight", 1.0)),
        )


def _texts(values: Any) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(v, str) for v in values)


class GoalWriter:
    """Writes the goals of one kind, of which it takes the instructions one product after the other.

    Args:
        folder: Where they go; it exists and is empty.
        kind: ``"synthetic"`` or ``"human"``.
    """

    def __init__(self, folder: Path, kind: GoalKind) -> None:
        self._folder = folder
        self._kind = kind
        self._products = array("I")
        self._choices = array("Q")
        self._instructions = TextColumnWriter(folder, "instructions")
        self._attributes: list[tuple[str, ...]] = []
        self._uses: Counter[str] = Counter()

    def add_synthetic(self, number: int, product: Product, entry: Any) -> None:
        """Add a product's entry in ``items_ins_v2*.json``; without an instruction it makes no goal.

        Raises:
            InstructionError: The entry is malformed.
            RecordError: The product has too many combinations of options.
        """
        if not entry or entry.get("instruction") is None:
            return
        attributes = entry.get("instruction_attributes")
        if not isinstance(entry["instruction"], str) or not _texts(attributes) or not attributes:
            raise InstructionError(
                f"instruction of product {product.asin!r}: text with 'instruction_attributes' is needed",
                asin=product.asin,
                human=False,
            )
        choices = 1
        for values in product.options.values():
            choices *= len(values)
        if choices > MOST_CHOICES:
            raise RecordError(
                f"product {product.asin!r}: its options make {choices:,} goals, one for each combination; {MOST_CHOICES:,} "
                "is the most there can be"
            )
        self._add(number, {"text": entry["instruction"], "attributes": attributes}, choices)

    def add_human(self, number: int, product: Product, entries: Any) -> None:
        """Add a product's entries in ``items_human_ins.json``; those without attributes make no goal.

        Raises:
            InstructionError: An entry is malformed.
        """
        asin = product.asin
        if not isinstance(entries, list):
            raise InstructionError(f"instructions of product {asin!r} must be a list", asin=asin, human=True)
        for entry in entries:
            try:
                text, attributes = entry["instruction"], entry["instruction_attributes"]
                options = entry["instruction_options"]
            except (KeyError, TypeError):
                raise InstructionError(
                    f"an instruction of product {asin!r} lacks 'instruction', 'instruction_attributes' "
                    "or 'instruction_options'",
                    asin=asin,
                    human=True,
                ) from None
            if not isinstance(text, str) or not _texts(attributes) or not _texts(options):
                raise InstructionError(
                    f"an instruction of product {asin!r} has values of the wrong type", asin=asin, human=True
                )
            if attributes:
                self._add(number, {"text": text, "attributes": attributes, "options": options}, 1)

    def _add(self, number: int, instruction: Mapping[str, Any], choices: int) -> None:
        self._products.append(number)
        self._choices.append(choices)
        self._instructions.append(json.dumps(instruction, ensure_ascii=False, separators=(",", ":")))
        if self._kind == "synthetic":
            attributes = tuple(sys.intern(attribute) for attribute in instruction["attributes"])
            self._attributes.append(attributes)
            for attribute in attributes:
                self._uses[attribute] += choices

    def close(self, prices: Sequence[float], stream: random.Random) -> int:
        """Draw the price limits, put the goals in order and write them.

        Args:
            prices: The price of every product.
            stream: The random stream as it is after the prices were drawn.

        Returns:
            How many goals there are.
        """
        self._instructions.close()
        limits = [_price_limit(prices[number], stream) for number in self._products]
        weights = np.ones(len(self._products), dtype=np.float64)
        for place, attributes in enumerate(self._attributes):
            # An option without values makes no goal, so that its attributes may never have been counted.
            if all(self._uses[attribute] for attribute in attributes):
                # Added one by one, because sum() rounds differently since Python 3.12.
                total = 0.0
                for attribute in attributes:
                    total += 1.0 / self._uses[attribute]
                weights[place] = total / len(attributes)
        choices = np.asarray(self._choices, dtype=np.int64)
        firsts = np.cumsum(choices) - choices
        order = array("I", range(int(choices.sum())))
        random.Random(ORDER_SEED).shuffle(order)
        places = np.asarray(order, dtype=np.int64)
        bases = np.searchsorted(firsts, places, side="right") - 1 if len(places) else places
        # A product with an option that has no values makes no goal and shares its start with the next one.
        write_array(self._folder, "products", self._products, np.uint32)
        write_array(self._folder, "limits", limits, np.float64)
        write_array(self._folder, "weights", weights, np.float64)
        write_array(self._folder, "order.instruction", bases, np.uint32)
        write_array(self._folder, "order.choice", places - firsts[bases] if len(places) else places, np.uint32)
        return len(places)


def _price_limit(price: float, stream: random.Random) -> float:
    steps = [step for step in PRICE_STEPS if step > price][:4]
    return max(stream.sample(steps, 2)) if len(steps) >= 2 else NO_PRICE_LIMIT


class GoalList:
    """The goals of one kind in a catalogue, in their fixed order, read one at a time.

    Args:
        folder: What ``GoalWriter`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._instructions = TextColumn(folder, "instructions")
        self._products = open_array(folder, "products")
        self._limits = open_array(folder, "limits")
        self._weights = open_array(folder, "weights")
        self._order = open_array(folder, "order.instruction")
        self._choices = open_array(folder, "order.choice")

    def __len__(self) -> int:
        return len(self._order)

    def product_number(self, number: int) -> int:
        """Return the place in the catalogue of a goal's product."""
        return int(self._products[int(self._order[number])])

    def goal(self, number: int, product: Product) -> Goal:
        """Read a goal.

        Args:
            number: Its place in the order.
            product: The product at ``product_number(number)``.
        """
        base = int(self._order[number])
        instruction = json.loads(self._instructions[base])
        limit = float(self._limits[base])
        price = f", and price lower than {limit:.2f} dollars" if limit != NO_PRICE_LIMIT else ""
        options: Mapping[str, str] | tuple[str, ...]
        if "options" in instruction:
            options = tuple(instruction["options"])
            text = instruction["text"].strip(".") + price
        else:
            options = _choice(product.options, int(self._choices[number]))
            listed = ", and ".join(f"{name}: {value}" for name, value in options.items())
            text = instruction["text"] + (f" with {listed}" if listed else "") + price
        return Goal(
            asin=product.asin,
            category=product.category,
            query=product.query,
            name=product.title,
            product_category=product.product_category,
            instruction_text=text,
            attributes=tuple(instruction["attributes"]),
            price_upper=limit,
            goal_options=options,
            weight=float(self._weights[base]),
        )


def _choice(options: Mapping[str, tuple[str, ...]], number: int) -> dict[str, str]:
    """Return the ``number``-th combination of option values; the last option name in the alphabet varies fastest."""
    chosen: dict[str, str] = {}
    for name in sorted(options, reverse=True):
        number, place = divmod(number, len(options[name]))
        chosen[name] = options[name][place]
    return {name: chosen[name] for name in sorted(options)}
