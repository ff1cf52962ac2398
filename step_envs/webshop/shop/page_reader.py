"""Reads pages as text, the way a visitor has to: which page it is, and which products it lists.

The texts of a page carry no names, and some can be missing: a blank title leaves no trace. So products are told apart by
their price tags, the only text with a form of its own, and not by counting.
"""

import re
from typing import Final, NamedTuple

from step_envs.webshop.shop.pages import BACK_TO_SEARCH, BUY_NOW, NEXT_PAGE, SEPARATOR

_PRICE_TAG: Final = re.compile(r"\$(\d[\d.e+-]*)( to \$\d[\d.e+-]*)?")


class ListedProduct(NamedTuple):
    """A product on a result page.

    Attributes:
        asin: Its id.
        title: Its name; empty where it is blank.
        price: The least it costs in dollars; None where that cannot be read.
    """

    asin: str
    title: str
    price: float | None


def kind_of(page: list[str]) -> str:
    """Return the kind of a page: ``start``, ``results``, ``product``, ``sub-page`` or ``done``.

    Args:
        page: The texts on it.
    """
    if BACK_TO_SEARCH not in page:
        return "start" if page[:1] == ["WebShop"] else "done"
    if BUY_NOW in page:
        return "product"
    return "results" if NEXT_PAGE in page else "sub-page"


def read_results(page: list[str]) -> list[ListedProduct]:
    """Read the products of a result page.

    Args:
        page: The texts on it.
    """
    products = []
    entry: list[str] = []
    for text in page[page.index(NEXT_PAGE) + 1 :]:
        tag = _PRICE_TAG.fullmatch(text)
        if tag and entry:
            products.append(ListedProduct(entry[0], SEPARATOR.join(entry[1:]), _number(tag[1])))
            entry = []
        else:
            entry.append(text)
    return products


def read_title(page: list[str]) -> str:
    """Return the title on the page of a product: the text before the price."""
    place = next((i for i, text in enumerate(page) if text.startswith("Price: $")), 1)
    return page[place - 1]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
