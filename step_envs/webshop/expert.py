"""A shopper that knows only what the pages have said: it searches, reads, compares, chooses and buys.

The planner goes straight to the goal's product, and a model that imitates it cannot learn how the product was found. All
that this shopper does follows from text that was shown. Its memory is computed from observations and actions alone, never
from what it intended to do, so that it can take over in any state, after the actions of any agent, and does the same in
every process. It reads observations of mode ``"text"``.
"""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from step_envs.webshop.brief_texts import WebShopBriefTexts
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.instruction_parser import content_words, search_words, split_price
from step_envs.webshop.shop.page_reader import kind_of, read_results, read_title
from step_envs.webshop.shop.pages import BACK_TO_SEARCH, BUY_NOW, PREVIOUS_PAGE, SEPARATOR
from step_envs.webshop.thoughts import shorten, word_briefly, word_fully

NO_LIMIT: Final = 1000
"""Steps left in an episode without a limit: more than shopping ever takes."""

_READ_STEPS: Final = 2
"""Steps that reading a sub-page takes: there and back."""

_REOPEN_STEPS: Final = 3
"""Least steps to buy another product: back to the results, open it, buy it."""

_SEARCH_STEPS: Final = 4
"""Least steps to buy after a search of its own: back to the start page, search, open, buy."""

_GOOD_ENOUGH: Final = 0.9
"""Share of the wanted words that a product must mention to be bought without opening another one."""

_PROMISING: Final = 0.3
"""Share of the wanted words that a title must mention to be opened after a search that was not the shopper's own."""

_HEADER: Final = 3
"""Texts at the top of every page: the heading, the instruction, the button back to the search."""

_NOT_SEARCHED: Final = re.compile(r"[\[\]\n]")


@dataclass(frozen=True, slots=True)
class ExplorerStep:
    """An action of the shopper.

    Attributes:
        thought: Why it is taken, in a sentence or two in the first person.
        action: The action.
    """

    thought: str
    action: str


@dataclass(slots=True)
class _KnownProduct:
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
    """The facts that the pages of an episode have shown so far.

    Attributes:
        page: The texts of the page that is shown.
        clickables: What can be clicked on it, in lower case.
        products: Every product that was shown, by id; one whose id is not known, by an empty text.
        results: Ids of the products on the result page that was shown last.
        opened: Ids of the products that were opened, in order.
        here: Id of the product that is looked at; empty where it is not known.
        chosen: Choices made for it.
        dead: Whether a link of the page led nowhere: after a search on which the original dies, nothing on it works.
        query: What the results that were shown last were searched with, in lower case; empty where that is not known.
    """

    page: list[str] = field(default_factory=list)
    clickables: frozenset[str] = frozenset()
    products: dict[str, _KnownProduct] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    here: str = ""
    chosen: list[str] = field(default_factory=list)
    dead: bool = False
    query: str = ""


class Shopper:
    """Shops by reading.

    Show it every page with ``see``, and ask it for the ``next_step`` at any time.

    Args:
        instruction: What to shop for, as the shop says it.
        most_opened: How many products to look into before settling for the best of them.
        texts: Brief texts of the shop; the shopper then reads brief pages, and thinks in few words.
    """

    def __init__(self, instruction: str, most_opened: int = 2, texts: WebShopBriefTexts | None = None) -> None:
        self._wish, self._price_limit = split_price(instruction)
        self._wanted = list(dict.fromkeys(content_words(self._wish)))
        # One line in lower case without brackets, as the shop reads it; "<" would begin one of its special searches.
        words = _NOT_SEARCHED.sub(" ", search_words(instruction) or instruction).lower()
        self._query = words.strip().lstrip("<").strip() or "shop"
        self._most_opened = most_opened
        self._texts = texts
        self._task = "" if texts is None else texts.instruction(instruction)
        self._memory = _Memory()

    def copy(self) -> "Shopper":
        """Return another shopper who remembers the same."""
        twin = copy.copy(self)
        twin._memory = copy.deepcopy(self._memory)
        return twin

    def see(self, observation: str, clickables: Iterable[str], action: str | None = None) -> None:
        """Take in a page.

        Args:
            observation: What the shop shows, in mode ``"text"``.
            clickables: What can be clicked, as ``available_actions`` lists it: in the text alone, the name of an option
                looks just like a choice.
            action: What the page was shown in answer to; None where that is not known, as at the beginning.
        """
        memory = self._memory
        before, memory.page = memory.page, observation.split(SEPARATOR)
        memory.clickables = frozenset(clickables)
        verb, argument = parse_action(action or "")
        kind = kind_of(memory.page)
        if memory.page == before:
            self._see_no_change(kind, verb, argument)
            return
        memory.dead = False
        if kind == "results":
            self._see_results()
            if verb == "search":
                memory.query = argument or ""
        if kind in ("start", "results"):
            memory.here, memory.chosen = "", []
        elif kind == "product":
            self._see_product(before, argument)
        elif kind == "sub-page":
            product = self._product_here()
            product.seen += _lower_text(memory.page)
            product.read = product.read or argument == "features"

    def look(self, engine: ShopEngine, action: str | None = None) -> None:
        """Take in the page that an engine shows, in answer to an action."""
        page = engine.observe("text") if self._texts is None else self._texts.reading(engine.page)
        self.see(page, engine.available_actions()["clickables"], action)

    def next_step(self, steps_left: int = NO_LIMIT) -> ExplorerStep | None:
        """Decide the next step by what the episode has shown so far.

        Args:
            steps_left: Steps until the episode is cut off; enough of them are kept to choose and to buy.

        Returns:
            The step; None where the purchase is made, or nothing was found to buy.
        """
        kind = kind_of(self._memory.page)
        if kind == "start":
            return self._search()
        if self._memory.dead:
            return self._step(_click(BACK_TO_SEARCH), "dead")
        if kind == "results":
            return self._at_results(steps_left)
        if kind == "product":
            return self._at_product(steps_left)
        return self._at_sub_page() if kind == "sub-page" else None

    def why_buy(self) -> str:
        """Return a sentence or two that say why to buy the product that is shown."""
        product, limit = self._product_here(), self._price_limit
        title, found = shorten(product.title), self._found(product)[:5] or "what I need"
        if limit is None or self._too_dear(product):
            return self._thought("buy", title=title, found=found)
        return self._thought("buy cheap", title=title, found=found, limit=f"{limit:.2f}")

    # Taking in.

    def _see_product(self, before: list[str], argument: str | None) -> None:
        memory = self._memory
        if kind_of(before) == "results" and argument is not None:
            memory.here = argument.upper()
            if memory.here not in memory.opened:
                memory.opened.append(memory.here)
        product = self._product_here()
        product.title = product.title or read_title(memory.page)
        product.seen += _lower_text(memory.page)

    def _see_no_change(self, kind: str, verb: str, argument: str | None) -> None:
        memory = self._memory
        if verb != "click" or argument not in memory.clickables:
            return
        if kind != "product" or argument not in self._choices():
            memory.dead = True
        elif argument not in memory.chosen:
            # The page of a product does not show which choices were made.
            memory.chosen.append(argument)

    def _see_results(self) -> None:
        memory = self._memory
        unnamed = memory.products.pop("", None)
        memory.results = []
        for asin, title, price in read_results(memory.page):
            product = _KnownProduct(asin, title, price, title.lower())
            memory.results.append(asin)
            if unnamed is not None and unnamed.title == product.title:
                # The product on whose page the shopper took over: only now it learns the id.
                product.seen, product.read = unnamed.seen, unnamed.read
                memory.opened.append(asin)
                unnamed = None
            memory.products.setdefault(asin, product)

    def _product_here(self) -> _KnownProduct:
        memory = self._memory
        return memory.products.setdefault(memory.here, _KnownProduct(memory.here, "", None))

    # Deciding.

    def _search(self) -> ExplorerStep:
        return self._step(f"search[{self._query}]", "search", query=self._query)

    def _at_results(self, left: int) -> ExplorerStep | None:
        memory = self._memory
        fresh = [memory.products[asin] for asin in memory.results if asin not in memory.opened]
        opened = [memory.products[asin] for asin in memory.opened if asin in memory.results]
        best = max(fresh, key=self._promise, default=None)
        searched = self._has_searched(left)
        if opened and (len(opened) >= self._most_opened or left < _REOPEN_STEPS or best is None):
            again = max(opened, key=self._worth)
            if searched or self._worth(again) >= _GOOD_ENOUGH:
                return self._step(_click(again.asin), "again", number=self._number(again))
        if best is not None and (searched or self._promise(best) >= _PROMISING):
            shared = [word for word in self._wanted if word in best.title.lower()]
            words: dict[str, str | list[str]] = {"title": shorten(best.title), "number": self._number(best)}
            if not shared:
                return self._step(_click(best.asin), "try", **words)
            return self._step(_click(best.asin), "open", **words, found=shared[:4])
        if not searched:
            return self._step(_click(BACK_TO_SEARCH), "other results")
        if PREVIOUS_PAGE in memory.page:
            return self._step(_click(PREVIOUS_PAGE), "turn back")
        return None

    def _at_product(self, left: int) -> ExplorerStep:
        memory, product = self._memory, self._product_here()
        wanted = self._wanted_choices()
        if not self._has_searched(left) and self._promise(product) < _PROMISING:
            return self._step(_click(BACK_TO_SEARCH), "other product")
        if not product.read and left >= _READ_STEPS + len(wanted) + 1:
            return self._step("click[features]", "read")
        worth = self._worth(product)
        others = [memory.products[asin] for asin in memory.opened if asin in memory.results]
        another = len(others) < self._most_opened and left >= _REOPEN_STEPS + _READ_STEPS + len(wanted)
        if worth < _GOOD_ENOUGH and another:
            if missing := self._missing(product):
                return self._step(_click(PREVIOUS_PAGE), "lacks", missing=missing[:3])
            return self._step(_click(PREVIOUS_PAGE), "too dear")
        best = max(others, key=self._worth, default=product)
        if self._worth(best) > worth and left >= _REOPEN_STEPS + len(wanted):
            return self._step(_click(PREVIOUS_PAGE), "earlier")
        for value in wanted:
            if value not in memory.chosen and left > 1:
                return self._step(f"click[{value}]", "choose", value=value)
        return ExplorerStep(self.why_buy(), _click(BUY_NOW))

    def _at_sub_page(self) -> ExplorerStep:
        found = self._found(self._product_here())
        if not found:
            return self._step(_click(PREVIOUS_PAGE), "nothing found")
        return self._step(_click(PREVIOUS_PAGE), "found", found=found[:5])

    def _step(self, action: str, case: str, **words: str | list[str]) -> ExplorerStep:
        return ExplorerStep(self._thought(case, **words), action)

    def _thought(self, case: str, **words: str | list[str]) -> str:
        return word_fully(case, **words) if self._texts is None else word_briefly(self._task, case, **words)

    def _number(self, product: _KnownProduct) -> str:
        """Return the number of a product on the result page."""
        return str(self._memory.results.index(product.asin) + 1)

    # Judging.

    def _has_searched(self, left: int) -> bool:
        """Return True if the results are those of its own search, or there is no time for one."""
        return self._memory.query == self._query or left < _SEARCH_STEPS

    def _promise(self, product: _KnownProduct) -> float:
        title = product.title.lower()
        words = content_words(self._wish)
        share = sum(word in title for word in words) / max(1, len(words))
        return share - (1.0 if self._too_dear(product) else 0.0)

    def _worth(self, product: _KnownProduct) -> float:
        missing = self._missing(product)
        return 1 - len(missing) / max(1, len(self._wanted)) - (1.0 if self._too_dear(product) else 0.0)

    def _found(self, product: _KnownProduct) -> list[str]:
        return [word for word in self._wanted if word in product.seen]

    def _missing(self, product: _KnownProduct) -> list[str]:
        return [word for word in self._wanted if word not in product.seen]

    def _too_dear(self, product: _KnownProduct) -> bool:
        limit = self._price_limit
        return limit is not None and product.price is not None and product.price > limit

    def _choices(self) -> list[str]:
        """List the texts between the button back and the title: names of options and their values."""
        page = self._memory.page
        start = page.index(PREVIOUS_PAGE) + 1 if PREVIOUS_PAGE in page else 0
        title = self._product_here().title
        return page[start : page.index(title, start)] if title in page[start:] else []

    def _wanted_choices(self) -> list[str]:
        """List the choices that were asked for, in the order of the page."""
        # The name of an option ("pack") looks just like a value ("pack of 2") in the text, and only values can be clicked.
        choices = [text for text in self._choices() if text in self._memory.clickables]
        wish = " " + " ".join(self._wish.lower().replace(",", " ").split()) + " "
        wish = wish.replace(". ", " ")
        found = {value for value in choices if _as_said(value) in wish}
        # "large" in "x-large" is not meant: longer words go first.
        kept: list[str] = []
        for value in sorted(found, key=len, reverse=True):
            if _as_said(value) in wish:
                kept.append(value)
                wish = wish.replace(_as_said(value), " | ")
        return [value for value in choices if value in kept]


def explore(engine: ShopEngine, shopper: Shopper, steps_left: int = NO_LIMIT, limit: int = 50) -> list[str] | None:
    """Compute what the shopper would do from here.

    Args:
        engine: Shows the page that the shopper saw last; the imagined actions are carried out in it.
        shopper: It is not changed.
        steps_left: Steps until the episode is cut off.
        limit: Most actions to try.

    Returns:
        Its actions, if they end in a purchase with full marks, else None.
    """
    imagined, actions = shopper.copy(), list[str]()
    while len(actions) < limit:
        step = imagined.next_step(steps_left - len(actions))
        if step is None:
            return None
        actions.append(step.action)
        outcome = engine.act(step.action)
        if outcome.done:
            return actions if outcome.reward == 1.0 else None
        imagined.look(engine, step.action)
    return None


def _click(name: str) -> str:
    return f"click[{name.lower()}]"


def _lower_text(page: list[str]) -> str:
    return " " + " ".join(page[_HEADER:]).lower()


def _as_said(value: str) -> str:
    return f" {' '.join(value.replace(',', ' ').split())} "
