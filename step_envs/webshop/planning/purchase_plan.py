"""Plans a purchase with full marks from any page: where the target is, which choices it needs, and how to get there.

The planner knows the goal's product. Knowing it is not enough: the search has to bring it up, and some values of its
options do not match even when they are what was asked for, a fault of the original's reward. So queries and choices are
tried in the catalogue and by the reward itself, and every plan is played in a second engine before it is returned.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from step_envs.spaces import is_too_long
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.shop.instruction_parser import search_words
from step_envs.webshop.shop.pages import BACK_TO_SEARCH, BUY_NOW, NEXT_PAGE, PAGE_SIZE, PREVIOUS_PAGE
from step_envs.webshop.shop.reward import MATCH_ABOVE, normalize_color, token_set_ratio

_MOST_COMBINATIONS: Final = 4096
_MOST_PAGES: Final = 5
_BRACKETS: Final = re.compile(r"[\[\]]+")


class PurchasePlanner:
    """Finds the actions that lead to full marks from any page of one shop.

    Args:
        engine: The engine whose shop, rules and running episode it plans for; it is never changed.
    """

    def __init__(self, engine: ShopEngine) -> None:
        self._engine = engine
        self._twin = engine.twin()

    def plan(self, saved: Any = None, after: Iterable[str] = ()) -> list[str] | None:
        """Compute actions that lead to full marks.

        Args:
            saved: The state to start from, as ``ShopEngine.save`` returns it; None is the engine's present state.
            after: Actions to imagine carried out first.

        Returns:
            The actions, empty where a purchase with full marks was already made, or None where no plan is known: the
            original has goals whose own target does not get full marks.
        """
        found = self.best_plan(saved, after)
        return found[0] if found is not None and found[1] == 1.0 else None

    def best_plan(self, saved: Any = None, after: Iterable[str] = ()) -> tuple[list[str], float] | None:
        """Compute the actions that buy the target for the highest reward, and that reward.

        Args:
            saved: See ``plan``.
            after: See ``plan``.

        Returns:
            The actions and the reward, or None where the target cannot be bought.
        """
        twin = self._twin
        twin.load(self._engine.save() if saved is None else saved)
        for action in after:
            twin.act(action)
        if twin.page.kind == "done":
            return [], twin.page.reward
        plan = self._route(twin)
        if plan is None:
            return None
        outcome = None
        for action in plan:
            outcome = twin.act(action)
            if not outcome.valid:
                return None
        return None if outcome is None else (plan, outcome.reward)

    def _route(self, engine: ShopEngine) -> list[str] | None:
        goal, catalogue = engine.goal, engine.catalogue
        number = catalogue.number_of(goal.asin)
        if number is None:
            return None
        target = catalogue.product(number)
        rest = self._purchase(engine, target)
        page = engine.page
        if page.kind in ("item", "sub") and engine.session.asin == target.asin:
            chosen = engine.session.options
            clicks = [click for click in rest if click[1] is None or chosen.get(click[1]) != click[0]]
            back = [_click(PREVIOUS_PAGE)] if page.kind == "sub" else []
            return [*back, *(_click(name) for name, _ in clicks)]
        buy = [_click(target.asin), *(_click(name) for name, _ in rest)]
        if page.kind == "results" and engine.session.keywords is not None:
            turns = self._turns(engine, number)
            if turns is not None:
                return [*turns, *buy]
        query = best_query(catalogue, goal, number)
        if query is None:
            return None
        words, place = query
        back = [_click(BACK_TO_SEARCH)] if page.kind in ("results", "item", "sub") else []
        return [*back, f"search[{words}]", *[_click(NEXT_PAGE)] * (place // PAGE_SIZE), *buy]

    def _turns(self, engine: ShopEngine, number: int) -> list[str] | None:
        """List the clicks to the page of results with the target; None where there is none, or a new search is nearer."""
        found = [int(place) for place in engine.results()]
        if number not in found:
            return None
        away = found.index(number) // PAGE_SIZE + 1 - engine.page.number
        if abs(away) > 2:
            return None
        return [_click(NEXT_PAGE if away > 0 else PREVIOUS_PAGE)] * abs(away)

    def _purchase(self, engine: ShopEngine, target: Product) -> list[tuple[str, str | None]]:
        """List what to click on the target's page, each with the option it is for: the choices, then the purchase."""
        choices = choose_options(engine, target)
        return [*((value, name) for name, value in choices.items()), (BUY_NOW.lower(), None)]


def choose_options(engine: ShopEngine, product: Product) -> dict[str, str]:
    """Find the fewest choices that give a product its highest reward.

    Args:
        engine: Has the goal, and computes the reward; it is not changed.
        product: What is to be bought.

    Returns:
        Values by option name, in the order of the page.
    """
    asked = _asked(engine.goal)
    candidates = []
    for name, values in product.options.items():
        fitting = sorted({value for value in values if value and _fits(value, asked)}, key=lambda v: _fitness(v, asked))
        candidates.append([(name, value) for value in fitting[:8]] + [None])
    best: dict[str, str] = {}
    best_rank = (-1.0, 0)
    for combination in itertools.islice(itertools.product(*candidates), _MOST_COMBINATIONS):
        chosen = dict(pair for pair in combination if pair is not None)
        reward, _ = engine.purchase_value(chosen, product)
        rank = (reward, -len(chosen))
        if rank > best_rank:
            best, best_rank = chosen, rank
    return best


def best_query(catalogue: Catalogue, goal: Goal, number: int) -> tuple[str, int] | None:
    """Choose words to search for a product: the plainest that put it on the first page, else those that put it highest.

    Args:
        catalogue: Where to search.
        goal: What is asked for.
        number: The product.

    Returns:
        The words and the product's place among the results, or None where none of the words tried finds it.
    """
    product = catalogue.product(number)
    kind = goal.query
    attributes = " ".join(goal.attributes)
    options = " ".join(_asked(goal))
    best: tuple[str, int] | None = None
    for words in (
        search_words(goal.instruction_text),
        f"{kind} {attributes} {options}",
        f"{kind} {attributes}",
        product.title.lower(),
        f"{product.title.lower()} {' '.join(product.bullets[:1]).lower()}",
    ):
        words = " ".join(_BRACKETS.sub(" ", words).split())
        # Words that look like one of the shop's special searches would not be searched for.
        if not words or words.startswith("<") or is_too_long(f"search[{words}]"):
            continue
        found = catalogue.search(words)
        if number in found:
            place = found.index(number)
            if place < PAGE_SIZE:
                return words, place
            if best is None or place < best[1]:
                best = words, place
    return best


def _asked(goal: Goal) -> list[str]:
    options = goal.goal_options
    return list(options.values()) if isinstance(options, Mapping) else list(options)


def _fits(value: str, asked: list[str]) -> bool:
    return any(
        value == wanted or token_set_ratio(normalize_color(value), normalize_color(wanted)) > MATCH_ABOVE
        for wanted in asked
    )


def _fitness(value: str, asked: list[str]) -> tuple[bool, int, str]:
    """Return a sort key: the value asked for comes first, then the others by how well they match it."""
    return value not in asked, -max(token_set_ratio(value, wanted) for wanted in asked), value


def _click(name: str) -> str:
    return f"click[{name.lower()}]"
