"""The pages of the shop: what they show as text, as text with buttons and as HTML, and what can be clicked on them.

A page is a value that says what is on it. Its elements are listed as the original's HTML parser finds them, blank texts
included, so that observations equal the original's to the byte; every way to show a page is made from that one list.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from step_envs.webshop.catalogue.products import Product

SEPARATOR: Final = " [SEP] "
BACK_TO_SEARCH: Final = "Back to Search"
NEXT_PAGE: Final = "Next >"
PREVIOUS_PAGE: Final = "< Prev"
BUY_NOW: Final = "Buy Now"
SUB_PAGES: Final = ("Description", "Features", "Reviews", "Attributes")
PAGE_SIZE: Final = 10

ObservationMode = Literal["text", "text_rich", "html", "url"]
PageKind = Literal["index", "results", "item", "sub", "done"]

_BLANK: Final = " \n\t\f\r"
_ITEM_BUTTONS: Final = frozenset(name.lower() for name in (BACK_TO_SEARCH, PREVIOUS_PAGE, *SUB_PAGES[:-1], BUY_NOW))
_ITEM_BUTTONS_WITH_ATTRIBUTES: Final = _ITEM_BUTTONS | {SUB_PAGES[-1].lower()}


class ElementKind(Enum):
    """What a text on a page is; the value is its HTML tag."""

    TEXT = "span"
    BUTTON = "button"
    LINK = "a"
    OPTION = "label"


@dataclass(frozen=True, slots=True)
class PageElement:
    """A text on a page, as an HTML parser finds it between two tags.

    Attributes:
        kind: Whether it can be clicked, and as what.
        text: The text.
        option: For a choice, the name of the option that it belongs to.
    """

    kind: ElementKind
    text: str
    option: str = ""


@dataclass(slots=True)
class Page:
    """The page that is on the screen.

    Attributes:
        kind: Which of the five sorts of page.
        url: Its address, as in the original.
        instruction: The task.
        products: The products of a result page, or the one product of the other pages.
        number: Number of the result page, from 1.
        total: How many products were found.
        sub: Which sub-page of a product.
        options: The choices made when the page was shown.
        reward: What the purchase was worth.
    """

    kind: PageKind
    url: str
    instruction: str
    products: Sequence[Product] = ()
    number: int = 0
    total: int = 0
    sub: str = ""
    options: dict[str, str] = field(default_factory=dict)
    reward: float = 0.0

    def elements(self, *, show_attrs: bool) -> list[PageElement]:
        """List the texts on the page in order.

        Args:
            show_attrs: Offer the page of attributes, which lists what the reward may ask for.
        """
        elements: list[PageElement] = []
        add = _ElementList(elements)
        if self.kind == "done":
            self._done(add)
            return elements
        if self.kind == "index":
            add.text("WebShop")
            add.text("Instruction: ")
            add.text(self.instruction)
            add.button("Search")
            return elements
        add.text("Instruction:")
        add.text(self.instruction)
        add.button(BACK_TO_SEARCH)
        if self.kind == "results":
            add.text(f"Page {self.number} (Total results: {self.total})")
            if self.number > 1:
                add.button(PREVIOUS_PAGE)
            add.button(NEXT_PAGE)
            for product in self.products:
                _entry(add, product)
            return elements
        add.button(PREVIOUS_PAGE)
        (product,) = self.products
        if self.kind == "item":
            _item(add, product, show_attrs=show_attrs)
        elif self.sub == "Description":
            add.text(product.description)
        elif self.sub == "Features":
            for bullet in product.bullets:
                add.text(" " + bullet)
        elif self.sub == "Attributes":
            for attribute in product.attributes:
                add.text(" " + attribute)
            for text in (product.category, product.query, product.product_category):
                add.text(text)
        return elements

    def _done(self, add: "_ElementList") -> None:
        (product,) = self.products
        # The original hides what it says about purchase and target on this page, and leaves most of it empty.
        for text in ("Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)"):
            add.text(text)
        bought = ("Purchased", "asin", product.asin, "options", _template_json(self.options), "attrs", "None")
        unknown = ("category", "None", "query", "None", "product category", "None")
        target = ("Target", "asin", "options", "attrs", "price upper", "instuction text", "category")
        rest = ("product category", "query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)")
        for text in (*bought, *unknown, *target, *rest, str(self.reward), "Reward Details ", "None"):
            add.text(text)

    def text(self, *, show_attrs: bool) -> str:
        """Return the page as the texts on it, with separators."""
        # These pages are shown most, so the part of them that never changes is joined once and kept.
        if self.kind == "item" and self.instruction.strip(_BLANK):
            head = f"Instruction:{SEPARATOR}{self.instruction.strip()}{SEPARATOR}{BACK_TO_SEARCH}{SEPARATOR}"
            return head + PREVIOUS_PAGE + SEPARATOR + _texts_of(self.products[0]).page(show_attrs=show_attrs)
        if self.kind == "results" and self.instruction.strip(_BLANK):
            found = f"Page {self.number} (Total results: {self.total})"
            turns = [PREVIOUS_PAGE, NEXT_PAGE] if self.number > 1 else [NEXT_PAGE]
            top = ["Instruction:", self.instruction.strip(), BACK_TO_SEARCH, found, *turns]
            return SEPARATOR.join([*top, *(_texts_of(product).entry for product in self.products)])
        return SEPARATOR.join(element.text.strip() for element in self.elements(show_attrs=show_attrs))

    def rich_text(self, visited: set[str], *, show_attrs: bool) -> str:
        """Return the page as lines, with buttons marked and the choices that were made named.

        Args:
            visited: Ids of the products opened since the last visit of the start page.
            show_attrs: As ``elements``.
        """
        lines: list[str] = []
        clicked: list[str] = []
        for element in self.elements(show_attrs=show_attrs):
            text = element.text
            if element.kind is ElementKind.BUTTON:
                lines.append(f"[button] {text} [button_]")
            elif element.kind is ElementKind.OPTION:
                chosen = f'"{text}"' in self.url
                if chosen:
                    clicked.append(f"You have clicked {text}.")
                lines.append(
                    f"  [clicked button] {text} [clicked button_]" if chosen else f"  [button] {text} [button_]"
                )
            elif element.kind is ElementKind.LINK:
                button = "clicked button" if text in visited else "button"
                lines.append(f"\n[{button}] {text} [{button}_]")
            else:
                lines.append(text)
        return "".join(line + "\n" for line in (*reversed(clicked), *lines))

    def html(self, *, show_attrs: bool) -> str:
        """Return the page as HTML with the original's texts, classes and names, but not its layout."""
        parts = ["<!DOCTYPE html>", "<html>", "<body>", '<div class="container">']
        for element in self.elements(show_attrs=show_attrs):
            text = html.escape(element.text)
            if element.kind is ElementKind.BUTTON:
                if self.kind == "index":
                    parts.append('<input id="search_input" type="text" name="search_query">')
                purchase = " purchase" if element.text == BUY_NOW else ""
                parts.append(f'<button type="submit" class="btn{purchase}">{text}</button>')
            elif element.kind is ElementKind.LINK:
                parts.append(f'<h4 class="product-asin"><a class="product-link" href="#">{text}</a></h4>')
            elif element.kind is ElementKind.OPTION:
                name = html.escape(element.option)
                parts.append(f'<input type="radio" name="{name}" value="{text}">')
                parts.append(f"<label>{text}</label>")
            elif element.text == self.instruction:
                parts.append(f'<div id="instruction-text"><h4>{text}</h4></div>')
            else:
                parts.append(f"<p>{text}</p>")
        return "\n".join([*parts, "</div>", "</body>", "</html>"])

    def choices(self) -> Mapping[str, tuple[str, ...]]:
        """Return the options of the product on this page, as names with their values; empty on other pages."""
        return self.products[0].options if self.kind == "item" else {}

    def can_click(self, name: str, *, show_attrs: bool) -> bool:
        """Return True if something can be clicked, without listing all that can.

        Args:
            name: In lower case.
            show_attrs: As ``elements``.
        """
        if self.kind == "results":
            if name in (BACK_TO_SEARCH.lower(), NEXT_PAGE.lower()):
                return True
            if name == PREVIOUS_PAGE.lower():
                return self.number > 1
            return any(product.asin.lower() == name for product in self.products)
        if self.kind == "item":
            names = _ITEM_BUTTONS_WITH_ATTRIBUTES if show_attrs else _ITEM_BUTTONS
            return name in names or name in _texts_of(self.products[0]).option_of
        if self.kind == "sub":
            return name in (BACK_TO_SEARCH.lower(), PREVIOUS_PAGE.lower())
        return self.kind == "index" and name == "search"

    def option_of(self, value: str) -> str:
        """Return the name of the option that a value belongs to; where several have it, the last one, as the original."""
        return _texts_of(self.products[0]).option_of[value]

    def clickables(self, *, show_attrs: bool) -> list[str]:
        """List what can be clicked, in the original's order: buttons, products, options."""
        elements = self.elements(show_attrs=show_attrs)
        buttons = [element.text.lower() for element in elements if element.kind is ElementKind.BUTTON]
        links = [element.text.lower() for element in elements if element.kind is ElementKind.LINK]
        # A choice without a text can be clicked in principle, though it leaves no text on the page.
        options = [value for values in self.choices().values() for value in values]
        return list(dict.fromkeys([*buttons, *links, *options]))


class _ElementList:
    """Adds elements as an HTML parser finds them: no empty text, and a blank one as a single space at most."""

    def __init__(self, elements: list[PageElement]) -> None:
        self._elements = elements

    def text(self, text: str) -> None:
        self._add(ElementKind.TEXT, text)

    def button(self, text: str) -> None:
        self._elements.append(PageElement(ElementKind.BUTTON, text))

    def link(self, text: str) -> None:
        self._add(ElementKind.LINK, text)

    def option(self, name: str, value: str) -> None:
        self._add(ElementKind.OPTION, value, name)

    def _add(self, kind: ElementKind, text: str, option: str = "") -> None:
        if not text.strip(_BLANK):
            if not text or "\n" in text:
                return
            text = " "
        self._elements.append(PageElement(kind, text, option))


class _ProductTexts:
    """The parts of pages that are the same whenever a product is shown, joined once."""

    def __init__(self, product: Product) -> None:
        elements: list[PageElement] = []
        _entry(_ElementList(elements), product)
        self.entry = _joined(elements)
        self.option_of = {value: name for name, values in product.options.items() for value in values}
        # Texts only: a reference to the product would keep it, the key of a weak dictionary, alive for ever.
        self._pages = tuple(_joined(_item_elements(product, show_attrs=show)) for show in (False, True))

    def page(self, *, show_attrs: bool) -> str:
        return self._pages[show_attrs]


_PRODUCT_TEXTS: Final["WeakKeyDictionary[Product, _ProductTexts]"] = WeakKeyDictionary()


def _texts_of(product: Product) -> _ProductTexts:
    texts = _PRODUCT_TEXTS.get(product)
    if texts is None:
        texts = _PRODUCT_TEXTS[product] = _ProductTexts(product)
    return texts


def _joined(elements: list[PageElement]) -> str:
    return SEPARATOR.join(element.text.strip() for element in elements)


def _item_elements(product: Product, *, show_attrs: bool) -> list[PageElement]:
    elements: list[PageElement] = []
    _item(_ElementList(elements), product, show_attrs=show_attrs)
    return elements


def _entry(add: _ElementList, product: Product) -> None:
    add.link(product.asin)
    add.text(product.title)
    add.text(product.price_tag)


def _item(add: _ElementList, product: Product, *, show_attrs: bool) -> None:
    for name, values in product.options.items():
        add.text(name)
        for value in values:
            add.option(name, value)
    add.text(product.title)
    add.text(f"Price: {product.price_tag}")
    add.text("Rating: N.A.")
    for name in SUB_PAGES if show_attrs else SUB_PAGES[:-1]:
        add.button(name)
    add.button(BUY_NOW)


def _template_json(value: Any) -> str:
    """Write JSON as Flask's templates do: keys sorted, and nothing in it that HTML could take for markup."""
    text = json.dumps(value, sort_keys=True)
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
