"""Reads a page of an original WebShop site: its texts, and what can be clicked.

The original's text observations are the texts that BeautifulSoup finds in this HTML. This reader finds the same ones, blank
ones included, with the standard library's parser.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

from step_envs.webshop.shop.pages import SEPARATOR

_HIDDEN: Final = frozenset({"style", "script", "head", "title", "meta"})
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_KEEPS_SPACE: Final = frozenset({"pre", "textarea"})
_BLANK: Final = " \n\t\f\r"


@dataclass(frozen=True, slots=True)
class Request:
    """The request that a click sends to the site.

    Attributes:
        method: ``GET`` or ``POST``.
        address: Absolute, or relative to the page.
    """

    method: str
    address: str


@dataclass(slots=True)
class SitePage:
    """The content of a page.

    Attributes:
        texts: The visible texts in order.
        clickables: What can be clicked, in the original's order, and what that asks for.
        has_search_bar: Whether it is the start page.
        instruction: The task, where the page tells it.
        reward: The reward of the purchase; None before it.
    """

    texts: list[str] = field(default_factory=list)
    clickables: dict[str, Request] = field(default_factory=dict)
    has_search_bar: bool = False
    instruction: str = ""
    reward: float | None = None

    @property
    def text(self) -> str:
        """The page as the texts on it, with separators."""
        return SEPARATOR.join(text.strip() for text in self.texts)


def read_page(html: str) -> SitePage:
    """Read a page.

    Args:
        html: As the site sent it.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_text()
    page = reader.page
    page.clickables = {**reader.buttons, **reader.links, **reader.options}
    return page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = SitePage()
        self.buttons: dict[str, Request] = {}
        self.links: dict[str, Request] = {}
        self.options: dict[str, Request] = {}
        self._open: list[tuple[str, dict[str, str]]] = []
        self._text = ""
        self._form: Request | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.end_text()
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Request(values.get("method", "get").upper(), values.get("action", ""))
        if tag == "input" and values.get("type") == "radio" and "value" in values:
            self.options[values["value"]] = Request("GET", values.get("data-url", ""))
        if values.get("id") == "search_input":
            self.page.has_search_bar = True
        if tag not in _VOID:
            self._open.append((tag, values))

    def handle_endtag(self, tag: str) -> None:
        self.end_text()
        if tag == "form":
            self._form = None
        names = [name for name, _ in self._open]
        if tag in names:
            del self._open[len(names) - 1 - names[::-1].index(tag) :]

    def handle_comment(self, data: str) -> None:
        self.end_text()

    def handle_decl(self, decl: str) -> None:
        self.end_text()

    def handle_data(self, data: str) -> None:
        self._text += data

    def end_text(self) -> None:
        """Add the text up to a tag; of a blank text only a space stays, and no line break."""
        text, self._text = self._text, ""
        if not text or not self._open or self._open[-1][0] in _HIDDEN:
            return
        if not text.strip(_BLANK) and not any(name in _KEEPS_SPACE for name, _ in self._open):
            text = "\n" if "\n" in text else " "
        if text == "\n":
            return
        self.page.texts.append(text)
        self._note(text)

    def _note(self, text: str) -> None:
        classes = [name for _, values in self._open for name in values.get("class", "").split()]
        ids = [values.get("id") for _, values in self._open]
        if "btn" in classes and self._form is not None:
            self.buttons[text.lower()] = self._form
        elif "product-link" in classes:
            self.links[text.lower()] = Request("GET", self._open[-1][1].get("href", ""))
        if "instruction-text" in ids:
            told = text.strip().removeprefix("Instruction:").strip()
            self.page.instruction = self.page.instruction or told
        if "reward" in ids and self._open[-1][0] == "pre":
            try:
                self.page.reward = float(text)
            except ValueError:
                self.page.reward = None
