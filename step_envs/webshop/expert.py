"""A shopper who knows nothing but what the pages say: searches, reads, compares, chooses and buys.

Made for golden trajectories that a reader can follow: nothing in them could not be known from the observations. It reads
observations of mode ``"text"``.
"""

from dataclasses import dataclass, field
from typing import Final

from step_envs.webshop.shop.instruction_parser import content_words, join_words, search_words, shorten, split_price
from step_envs.webshop.shop.pages import BACK_TO_SEARCH, BUY_NOW, NEXT_PAGE, PREVIOUS_PAGE, SEPARATOR

_SHOWN_FROM: Final = 3
"""Segments of a result page before its buttons: the heading, the instruction, the way back."""

_READ_STEPS: Final = 2
"""Steps that reading a sub-page costs: there and back."""

_GOOD_ENOUGH: Final = 0.9

_OPTION_NAMES_TEXT: Final = """
capacity
color
fit type
flavor
flavor name
item package quantity
item shape
material type
number of items
pattern name
plug
product packaging
scent
size
style
"""
_OPTION_NAMES: Final = frozenset(_OPTION_NAMES_TEXT.strip().splitlines())
"""What options are commonly called: on the page, a name looks just like a choice."""


@dataclass(frozen=True, slots=True)
class Move:
    """What the shopper does next, and why.

    Attributes:
        thought: A sentence or two in the first person.
        action: What to do.
    """

    thought: str
    action: str


@dataclass(slots=True)
class _Offer:
    """A product as far as it is known.

    Attributes:
        asin: Its id.
        title: Its name.
        price: The least it costs; None where that could not be read.
        seen: Everything read about it, in lower case.
        read: Whether its features were read.
    """

    asin: str
    title: str
    price: float | None
    seen: str = ""
    read: bool = False


@dataclass(slots=True)
class _Memory:
    instruction: str = ""
    offers: dict[str, _Offer] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    here: str = ""
    settled: str = ""
    chosen: list[str] = field(default_factory=list)
    steps: int = 0


class Shopper:
    """Shops by reading.

    Args:
        max_steps: How many steps there are; it keeps enough of them to choose and to buy.
        most_opened: How many products to look into before settling for the best of them.
    """

    def __init__(self, max_steps: int = 10, most_opened: int = 2) -> None:
        self._max_steps = max_steps
        self._most_opened = most_opened
        self._memory = _Memory()

    def reset(self, instruction: str) -> None:
        """Begin anew.

        Args:
            instruction: What to shop for, as the shop says it.
        """
        self._memory = _Memory(instruction=instruction)

    def next_move(self, observation: str) -> Move:
        """Decide what to do.

        Args:
            observation: What the shop shows, in mode ``"text"``.
        """
        segments = observation.split(SEPARATOR)
        self._memory.steps += 1
        if segments[0] == "WebShop" or BACK_TO_SEARCH not in segments:
            return self._search()
        if BUY_NOW in segments:
            return self._at_product(segments)
        if NEXT_PAGE in segments:
            return self._at_results(segments)
        return self._at_sub_page(segments)

    def _search(self) -> Move:
        words = search_words(self._memory.instruction) or self._memory.instruction
        return Move(f"I start by searching for what matters: {words}.", f"search[{words.replace('[', ' ')}]")

    def _at_results(self, segments: list[str]) -> Move:
        memory = self._memory
        shown = _read_results(segments)
        for offer in shown:
            memory.offers.setdefault(offer.asin, offer)
        if memory.settled:
            return Move(
                "The earlier one was the better choice, so I open it again.", f"click[{memory.settled.lower()}]"
            )
        fresh = [memory.offers[offer.asin] for offer in shown if offer.asin not in memory.opened]
        if not fresh:
            return Move("Nothing here fits, so I look at the next page.", f"click[{NEXT_PAGE.lower()}]")
        best = max(fresh, key=self._promise)
        memory.here = best.asin
        memory.opened.append(best.asin)
        shared = [word for word in dict.fromkeys(self._wish()) if word in best.title.lower()]
        because = f" because it mentions {join_words(shared[:4])}" if shared else ""
        return Move(f"{shorten(best.title)!r} looks most promising{because}.", f"click[{best.asin.lower()}]")

    def _at_product(self, segments: list[str]) -> Move:
        memory = self._memory
        offer = memory.offers.get(memory.here) or memory.offers.setdefault(
            memory.here, _Offer(memory.here, _title(segments), None)
        )
        offer.seen += " " + " ".join(segments[_SHOWN_FROM:]).lower()
        wanted = self._choices(segments, offer)
        if not offer.read and self._left() >= _READ_STEPS + len(wanted) + 1:
            return Move("The title sounds right, but I want to read its features before I decide.", "click[features]")
        worth = self._worth(offer)
        if not memory.settled and worth < _GOOD_ENOUGH and self._can_look_further(len(wanted)):
            return Move(
                f"It says nothing of {join_words(self._missing(offer)[:3])}, so I go back and look at another one.",
                f"click[{PREVIOUS_PAGE.lower()}]",
            )
        best = max((memory.offers[asin] for asin in memory.opened), key=self._worth, default=offer)
        if self._worth(best) > worth and self._left() >= 3 + len(wanted):
            memory.settled = memory.here = best.asin
            memory.chosen = []
            return Move("An earlier one fits better, so I go back to it.", f"click[{PREVIOUS_PAGE.lower()}]")
        for value in wanted:
            if value not in memory.chosen and self._left() > 1:
                memory.chosen.append(value)
                return Move(f"I was asked for {value}, so I choose that.", f"click[{value}]")
        return Move(self._why(offer), f"click[{BUY_NOW.lower()}]")

    def _at_sub_page(self, segments: list[str]) -> Move:
        offer = self._memory.offers.get(self._memory.here)
        if offer is not None:
            offer.seen += " " + " ".join(segments[_SHOWN_FROM:]).lower()
            offer.read = True
        found = [word for word in dict.fromkeys(self._wish()) if offer is not None and word in offer.seen]
        told = f"It speaks of {join_words(found[:5])}." if found else "It does not speak of what I was asked for."
        return Move(f"{told} I go back to the product.", f"click[{PREVIOUS_PAGE.lower()}]")

    # Judging.

    def _wish(self) -> list[str]:
        return content_words(split_price(self._memory.instruction)[0])

    def _left(self) -> int:
        return self._max_steps - self._memory.steps + 1

    def _can_look_further(self, choices: int) -> bool:
        return len(self._memory.opened) < self._most_opened and self._left() >= 3 + _READ_STEPS + choices

    def _promise(self, offer: _Offer) -> float:
        wish = self._wish()
        title = offer.title.lower()
        share = sum(word in title for word in wish) / max(1, len(wish))
        return share - (1.0 if self._too_dear(offer) else 0.0)

    def _worth(self, offer: _Offer) -> float:
        missing = self._missing(offer)
        return 1 - len(missing) / max(1, len(set(self._wish()))) - (1.0 if self._too_dear(offer) else 0.0)

    def _missing(self, offer: _Offer) -> list[str]:
        return [word for word in dict.fromkeys(self._wish()) if word not in offer.seen]

    def _too_dear(self, offer: _Offer) -> bool:
        limit = split_price(self._memory.instruction)[1]
        return limit is not None and offer.price is not None and offer.price > limit

    def _choices(self, segments: list[str], offer: _Offer) -> list[str]:
        """Find what was asked for among the choices, which stand between the way back and the title."""
        start = segments.index(PREVIOUS_PAGE) + 1
        stop = segments.index(offer.title, start) if offer.title in segments[start:] else start
        wish = " " + " ".join(split_price(self._memory.instruction)[0].lower().replace(",", " ").split()) + " "
        wish = wish.replace(". ", " ")
        found = {value for value in segments[start:stop] if f" {' '.join(value.replace(',', ' ').split())} " in wish}
        # The name of an option is often in the wish too, and "large" in "x-large" is not meant: longer words go first.
        kept: list[str] = []
        for value in sorted(found, key=len, reverse=True):
            said = f" {' '.join(value.replace(',', ' ').split())} "
            if said in wish:
                kept.append(value)
                wish = wish.replace(said, " | ")
        return [value for value in segments[start:stop] if value in kept and not _is_name(segments, start, value)]

    def _why(self, offer: _Offer) -> str:
        wish = split_price(self._memory.instruction)[1]
        found = [word for word in dict.fromkeys(self._wish()) if word in offer.seen]
        price = f" and costs no more than {wish:.2f} dollars" if wish is not None and not self._too_dear(offer) else ""
        return f"{shorten(offer.title)!r} offers {join_words(found[:5]) or 'what I need'}{price}. I buy it."


def _read_results(segments: list[str]) -> list[_Offer]:
    start = segments.index(NEXT_PAGE) + 1
    offers = []
    for place in range(start, len(segments) - 2, 3):
        asin, title, tag = segments[place : place + 3]
        offers.append(_Offer(asin, title, _price(tag), title.lower()))
    return offers


def _price(tag: str) -> float | None:
    try:
        return float(tag.removeprefix("Price: ").removeprefix("$").split(" ")[0])
    except ValueError:
        return None


def _title(segments: list[str]) -> str:
    place = next((i for i, segment in enumerate(segments) if segment.startswith("Price: $")), 1)
    return segments[place - 1]


def _is_name(segments: list[str], start: int, value: str) -> bool:
    """Say whether a word is the name of an option: the first one always is."""
    return value in _OPTION_NAMES or segments.index(value, start) == start
