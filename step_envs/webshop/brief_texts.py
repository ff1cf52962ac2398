"""The shop in brief: ``results: [1] yoga leggings classic fit $ 51 | [2] ...``, and ``click[2]`` for the second product.

Ids of ten characters, brands and model codes fill the pages of the shop, and none of them ever decides what to buy. So ids
become numbers, and texts keep only words that matter: those of the task, and those that tasks of the catalogue about
different products share. Prices lose their cents: price limits are whole dollars, so that no comparison changes.
"""

from dataclasses import replace
from functools import cache
from itertools import groupby
from typing import Final
from weakref import WeakKeyDictionary

from typing_extensions import override

from step_envs.brief_texts import BriefTexts
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import GoalKind
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.instruction_parser import content_words, split_price, without_filler
from step_envs.webshop.shop.pages import Page

_MOST_GOALS: Final = 10_000
"""Goals that are read to find out which words matter; a full catalogue has millions, which take hours."""

_SHARED_WORDS: Final["WeakKeyDictionary[Catalogue, dict[GoalKind, frozenset[str]]]"] = WeakKeyDictionary()


def shared_words(catalogue: Catalogue, kind: GoalKind) -> frozenset[str]:
    """Return the words that instructions about at least two products of a catalogue have.

    Args:
        catalogue: Its goals are read once, 10,000 at most, evenly spaced.
        kind: The kind of goals that is played.
    """
    known = _SHARED_WORDS.setdefault(catalogue, {})
    if kind not in known:
        goals = catalogue.goals(kind)
        first: dict[str, int] = {}
        shared: set[str] = set()
        for number in range(0, len(goals), -(-len(goals) // _MOST_GOALS)) if len(goals) else ():
            product = goals.product_number(number)
            for word in content_words(split_price(catalogue.goal(kind, number).instruction_text)[0]):
                if first.setdefault(word, product) != product:
                    shared.add(word)
        known[kind] = frozenset(shared)
    return known[kind]


@cache
def write_brief_task(instruction: str) -> str:
    """Write an instruction in few words: ``yoga leggings color burgundy size small | price lower than 90``."""
    wish, limit = split_price(instruction)
    words = without_filler(wish) or " ".join(wish.split())
    return words if limit is None else f"{words} | price lower than {limit:g}"


class WebShopBriefTexts(BriefTexts):
    """Says in few words what the pages of a shop say.

    Args:
        engine: The shop, with the running episode in it.
        kind: The kind of goals that is played.
    """

    def __init__(self, engine: ShopEngine, kind: GoalKind) -> None:
        self._engine = engine
        self._kind = kind
        self._instruction = ""
        self._matter: frozenset[str] = frozenset()
        self._products: WeakKeyDictionary[Product, Product] = WeakKeyDictionary()

    @override
    def instruction(self, text: str) -> str:
        return write_brief_task(text)

    @override
    def first_observation(self, text: str, instruction: str) -> str:
        return f"task: {write_brief_task(instruction)}"

    @override
    def observation(self, text: str) -> str:
        return self._page(self._engine.page) if text == self._engine.observe("text") else text

    @override
    def to_engine(self, action: str) -> str:
        return name_product(self._engine.page, action)

    @override
    def to_brief(self, action: str) -> str:
        return number_product(self._engine.page, action)

    def reading(self, page: Page) -> str:
        """Return a page as text with separators, in which products have no other words than on the brief page."""
        products = [self._product(product, page.instruction) for product in page.products]
        shown = replace(page, products=products) if products and page.kind != "done" else page
        return shown.text(show_attrs=self._engine.show_attrs)

    def _product(self, product: Product, instruction: str) -> Product:
        if self._instruction != instruction:
            words = content_words(split_price(instruction)[0])
            self._instruction = instruction
            self._matter = shared_words(self._engine.catalogue, self._kind).union(words)
            self._products = WeakKeyDictionary()
        brief = self._products.get(product)
        if brief is None:
            brief = self._products[product] = self._write_product(product)
        return brief

    def _write_product(self, product: Product) -> Product:
        # Without any word that matters, the first ones have to do: a page needs a title.
        title = self._words(product.title) or product.title.lower().split()[:3]
        bullets = dict.fromkeys(_without_told(self._words(bullet), title) for bullet in product.bullets)
        return replace(
            product,
            title=" ".join(title),
            bullets=tuple(filter(None, bullets)),
            description=_without_told(self._words(product.description), title),
        )

    def _words(self, text: str) -> list[str]:
        """Return the words of a text that matter, each once."""
        return list(dict.fromkeys(word for word in content_words(text) if word in self._matter))

    def _page(self, page: Page) -> str:
        if page.kind == "index":
            return "start page"
        if page.kind == "done":
            return f"bought | score {page.reward:g}"
        products = [self._product(product, page.instruction) for product in page.products]
        if page.kind == "results":
            listed = [f"[{place}] {_named(product)}" for place, product in enumerate(products, 1)]
            return f"results{f' {page.number}' if page.number != 1 else ''}: {' | '.join(listed) or 'nothing'}"
        (product,) = products
        if page.kind == "item":
            return f"page: {_choices(product)}{_named(product)}{_chosen(page.options)}"
        texts = {
            "Description": (product.description,),
            "Features": product.bullets,
            "Attributes": (*product.attributes, product.category, product.query, product.product_category),
        }.get(page.sub, ())
        return f"{page.sub.lower()}: {' | '.join(filter(None, texts)) or 'nothing'}"


def _without_told(words: list[str], title: list[str]) -> str:
    """Return words without those of the title; one that stands alone among others stays: ``wash`` in ``hand wash``."""
    runs = [list(run) for _, run in groupby(words, key=lambda word: word in title)]
    kept = [run for run in runs if run[0] not in title or (len(run) == 1 and len(runs) > 1)]
    return " ".join(word for run in kept for word in run)


def name_product(page: Page, action: str) -> str:
    """Return an action with the id of a product where it clicks on its number on a result page."""
    number = _clicked(page, action)
    numbers = {str(place): product.asin for place, product in enumerate(page.products, 1)}
    return f"click[{numbers[number].lower()}]" if number in numbers else action


def number_product(page: Page, action: str) -> str:
    """Return an action with the number of a product where it clicks on its id on a result page."""
    asin = _clicked(page, action)
    # Two entries may be the same product: either number is right, and the first one is taken.
    place = next((place for place, product in enumerate(page.products, 1) if product.asin.lower() == asin), None)
    return action if place is None else f"click[{place}]"


def _clicked(page: Page, action: str) -> str:
    """Return what an action clicks on, in lower case, if a result page is shown; else an empty text."""
    verb, argument = parse_action(action)
    return argument if page.kind == "results" and verb == "click" and argument else ""


def _named(product: Product) -> str:
    return f"{product.title} $ {' to '.join(f'{int(price)}' for price in product.prices)}"


def _choices(product: Product) -> str:
    options = [f"{name} {' '.join(f'[{value}]' for value in values)}" for name, values in product.options.items()]
    return "".join(f"{option} | " for option in options)


def _chosen(options: dict[str, str]) -> str:
    return f" | chosen {' '.join(f'[{value}]' for value in options.values())}" if options else ""
