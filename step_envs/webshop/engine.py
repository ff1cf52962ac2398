"""The shop: which page a search or a click leads to, what it shows, and what a purchase is worth.

It reproduces the original WebShop exactly, faults included, without its web server: there, every click renders a page of
HTML that is parsed again at once. Here a page is a value, and text, HTML and clickables are made from it when asked for.
"""

import json
import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, get_args

from step_envs.errors import unknown_name
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.noun_tagger import NounChoice, choose_tagger
from step_envs.webshop.shop.pages import (
    BACK_TO_SEARCH,
    BUY_NOW,
    NEXT_PAGE,
    PAGE_SIZE,
    PREVIOUS_PAGE,
    SEPARATOR,
    SUB_PAGES,
    ObservationMode,
    Page,
)
from step_envs.webshop.shop.reward import score_purchase
from step_envs.webshop.shop.session_state import ActionOutcome, ShopSession, ShopState

BASE_URL: Final = "http://127.0.0.1:3000"

_PAGE_NAMES: Final = ("search_results", "item_page", "item_sub_page", "done")
_RANDOM_RESULTS: Final = 50
_RECENT_SEARCHES: Final = 64


class _OriginalFaultError(Exception):
    """Raised where the original would have died with the exception of this name."""


class ShopEngine:
    """One visitor in the shop.

    Args:
        catalogue: What is sold.
        observation_mode: ``"text"``, ``"text_rich"``, ``"html"`` or ``"url"``.
        nouns: Finds the nouns of titles for the reward, see ``noun_tagger``.
        strict: Behave as the original, faults included. Otherwise a purchase with exactly the options asked for always
            gets full marks for them, and the special searches ``<a>``, ``<c>`` and ``<r>`` answer instead of failing.
        show_attrs: Offer each product's page of attributes.
        num_prev_obs: How many earlier observations to put before each one.
        num_prev_actions: How many earlier actions to put before each one.

    Raises:
        UnknownNameError: There is no such observation mode or tagger.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        observation_mode: ObservationMode = "text",
        nouns: NounChoice = "default",
        strict: bool = True,
        show_attrs: bool = False,
        num_prev_obs: int = 0,
        num_prev_actions: int = 0,
    ) -> None:
        if observation_mode not in get_args(ObservationMode):
            raise unknown_name("observation mode", observation_mode, get_args(ObservationMode))
        for name, number in (("num_prev_obs", num_prev_obs), ("num_prev_actions", num_prev_actions)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(f"{name} must be a whole number from 0 on, got {number!r}.")
        self.catalogue = catalogue
        self.observation_mode = observation_mode
        self.nouns_name, self._nouns = choose_tagger(nouns)
        self.strict = strict
        self.show_attrs = show_attrs
        self._num_prev_obs, self._num_prev_actions = num_prev_obs, num_prev_actions
        self._prev_obs: list[str] = []
        self._prev_actions: list[str] = []
        self._searches: OrderedDict[str, list[int]] = OrderedDict()
        self._goal: Goal | None = None
        self._session_id = ""
        self.session = ShopSession()
        self.page = Page("index", "", "")

    # Playing.

    def begin(self, goal: Goal, session_id: str) -> ActionOutcome:
        """Start an episode on the start page.

        Args:
            goal: What to shop for.
            session_id: What addresses call the visit; random searches follow from it too.
        """
        self._goal, self._session_id = goal, session_id
        self.session = ShopSession()
        self._show_index()
        observation = self._observe()
        self._prev_obs, self._prev_actions = [observation], []
        return ActionOutcome(observation, 0.0, False, True, self._details({}))

    def act(self, action: str) -> ActionOutcome:
        """Carry out an action: ``search[words]`` or ``click[what]``; anything else changes nothing.

        Args:
            action: Any string.
        """
        reward, done, valid = 0.0, False, False
        extra: dict[str, Any] = {}
        verb, argument = parse_action(action)
        try:
            if verb == "search" and argument:
                self._search(argument.split(" "), 1, extra)
                valid = True
            elif verb == "click" and argument is not None and argument != "search" and self._can_click(argument):
                reward, done = self._click(argument, extra)
                valid = True
        except _OriginalFaultError as fault:
            extra["original_error"] = str(fault)
        observation = self._with_history(action, self._observe())
        return ActionOutcome(observation, reward, done, valid, self._details(extra))

    def available_actions(self) -> dict[str, Any]:
        """List what can be done, in the original's form: ``has_search_bar`` and ``clickables``."""
        return {
            "has_search_bar": self.page.kind == "index",
            "clickables": self.page.clickables(show_attrs=self.show_attrs),
        }

    def accepts(self, action: str) -> bool:
        """Return True if the shop would understand an action on this page."""
        verb, argument = parse_action(action)
        if not argument:
            return False
        return verb == "search" or (verb == "click" and argument != "search" and self._can_click(argument))

    def purchase_value(self, options: dict[str, str], product: Product) -> tuple[float, dict[str, Any]]:
        """Return what a purchase would be worth, 0 to 1, and its components, without making it."""
        number = self.catalogue.number_of(product.asin)
        if number is None:
            raise KeyError(product.asin)
        return score_purchase(
            product, self.goal, self.catalogue.price(number), options, self._nouns, strict=self.strict
        )

    @property
    def goal(self) -> Goal:
        """The task: what to buy.

        Raises:
            RuntimeError: No episode was begun.
        """
        if self._goal is None:
            raise RuntimeError("No episode is running: call begin() first.")
        return self._goal

    def twin(self) -> "ShopEngine":
        """Make another engine over the same catalogue and with the same rules, for trying things out."""
        twin = ShopEngine(self.catalogue, strict=self.strict, show_attrs=self.show_attrs)
        twin.nouns_name, twin._nouns = self.nouns_name, self._nouns
        return twin

    def results(self) -> Sequence[int]:
        """Return the places in the catalogue of all that the last search found; none if it draws anew on every page."""
        keywords = self.session.keywords
        if not keywords or keywords[0] == "<r>":
            return ()
        try:
            return [int(place) for place in self._find(keywords, {})]
        except _OriginalFaultError:
            return ()

    # Where actions lead.

    def _can_click(self, argument: str) -> bool:
        return self.page.can_click(argument, show_attrs=self.show_attrs)

    def _click(self, name: str, extra: dict[str, Any]) -> tuple[float, bool]:
        where = next((known for known in _PAGE_NAMES if known in self.page.url), "")
        session = self.session
        if name == BUY_NOW.lower():
            return self._buy(extra), True
        if name == BACK_TO_SEARCH.lower():
            self.session = ShopSession(draws=session.draws)
            self._show_index()
        elif name in (NEXT_PAGE.lower(), PREVIOUS_PAGE.lower()) and where == "search_results":
            step = 1 if name == NEXT_PAGE.lower() else -1
            self._search(self._keywords(), self._page_number() + step, extra)
        elif name == PREVIOUS_PAGE.lower() and where == "item_sub_page":
            self._show_item()
        elif name == PREVIOUS_PAGE.lower() and where == "item_page":
            self._search(self._keywords(), self._page_number(), extra)
        elif name in (sub.lower() for sub in SUB_PAGES):
            self._show_sub_page(name.capitalize())
        else:
            self._choose(name)
            self._show_item()
        return 0.0, False

    def _choose(self, name: str) -> None:
        """Remember a product or an option that was clicked. Of options with equal values, the last one counts."""
        if self.page.kind == "results":
            if any(product.asin.lower() == name for product in self.page.products):
                self.session.asin = name.upper()
                self.session.visited.add(self.session.asin)
        elif self.page.kind == "item":
            self.session.options[self.page.option_of(name).lower()] = name

    def _search(self, keywords: list[str], number: int, extra: dict[str, Any]) -> None:
        session = self.session
        session.keywords, session.page, session.asin, session.options = keywords, number, None, {}
        found = self._find(keywords, extra)
        shown = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        self.page = Page(
            "results",
            f"{BASE_URL}/search_results/{self._session_id}/{'+'.join(keywords)}/{number}",
            self.goal.instruction_text,
            products=[self.catalogue.product(int(place)) for place in shown],
            number=number,
            total=len(found),
        )

    def _find(self, keywords: list[str], extra: dict[str, Any]) -> Any:
        form, rest = keywords[0], " ".join(keywords[1:]).strip()
        if form == "<r>":
            self.session.draws += 1
            stream = random.Random(f"{self._session_id}|{self.goal.instruction_text}|{self.session.draws}")
            size = len(self.catalogue)
            if size < _RANDOM_RESULTS:
                if self.strict:
                    raise _OriginalFaultError("ValueError")
                extra["mended"] = "search"
            return stream.sample(range(size), min(_RANDOM_RESULTS, size))
        if form == "<q>":
            return self.catalogue.having("query", rest)
        if form == "<a>":
            if self.strict:
                raise _OriginalFaultError("TypeError")
            extra["mended"] = "search"
            return self.catalogue.having("attribute", rest)
        if form == "<c>":
            if len(keywords) > 1:
                return self.catalogue.having("category", keywords[1].strip())
            if self.strict:
                raise _OriginalFaultError("IndexError")
            extra["mended"] = "search"
            return []
        return self._words_found(" ".join(keywords))

    def _words_found(self, words: str) -> list[int]:
        found = self._searches.get(words)
        if found is None:
            found = self._searches[words] = self.catalogue.search(words)
            if len(self._searches) > _RECENT_SEARCHES:
                self._searches.popitem(last=False)
        return found

    def _buy(self, extra: dict[str, Any]) -> float:
        product, session = self._product(), self.session
        reward, info = self.purchase_value(session.options, product)
        if not self.strict:
            original = score_purchase(
                product, self.goal, self._price(product), session.options, self._nouns, strict=True
            )
            if original != (reward, info):
                extra["mended"] = "options"
        extra.update(reward_info=info, price=self._price(product), nouns=self.nouns_name)
        self.page = Page(
            "done",
            f"{BASE_URL}/done/{self._session_id}/{product.asin}/{session.options}",
            self.goal.instruction_text,
            products=(product,),
            options=dict(session.options),
            reward=reward,
        )
        return reward

    def _show_index(self) -> None:
        self.page = Page("index", f"{BASE_URL}/{self._session_id}", self.goal.instruction_text)

    def _show_item(self) -> None:
        product = self._product()
        self.page = Page(
            "item",
            f"{self._item_address('item_page', product)}/{json.dumps(self.session.options)}",
            self.goal.instruction_text,
            products=(product,),
            options=dict(self.session.options),
        )

    def _show_sub_page(self, sub: str) -> None:
        product = self._product()
        self.page = Page(
            "sub",
            f"{self._item_address('item_sub_page', product)}/{sub}/{self.session.options}",
            self.goal.instruction_text,
            products=(product,),
            sub=sub,
            options=dict(self.session.options),
        )

    def _item_address(self, page: str, product: Product) -> str:
        keywords = "+".join(self._keywords())
        return f"{BASE_URL}/{page}/{self._session_id}/{product.asin}/{keywords}/{self._page_number()}"

    def _product(self) -> Product:
        number = None if self.session.asin is None else self.catalogue.number_of(self.session.asin)
        if number is None:
            raise _OriginalFaultError("KeyError")
        return self.catalogue.product(number)

    def _price(self, product: Product) -> float:
        number = self.catalogue.number_of(product.asin)
        return 0.0 if number is None else self.catalogue.price(number)

    def _keywords(self) -> list[str]:
        if self.session.keywords is None:
            raise _OriginalFaultError("TypeError")
        return self.session.keywords

    def _page_number(self) -> int:
        if self.session.page is None:
            raise _OriginalFaultError("TypeError")
        return self.session.page

    # What is seen.

    def observe(self, mode: ObservationMode) -> str:
        """Return the current page as text in any mode."""
        if mode == "text":
            return self.page.text(show_attrs=self.show_attrs)
        if mode == "text_rich":
            return self.page.rich_text(self.session.visited, show_attrs=self.show_attrs)
        if mode == "html":
            return self.page.html(show_attrs=self.show_attrs)
        return self.page.url

    def _observe(self) -> str:
        return self.observe(self.observation_mode)

    def _with_history(self, action: str, observation: str) -> str:
        if not (self._num_prev_obs or self._num_prev_actions):
            return observation
        self._prev_actions.append(action)
        parts = [observation]
        for back in range(1, 1 + max(self._num_prev_obs, self._num_prev_actions)):
            if self._num_prev_actions >= back and len(self._prev_actions) >= back:
                parts.append(self._prev_actions[-back])
            if self._num_prev_obs >= back and len(self._prev_obs) >= back:
                parts.append(self._prev_obs[-back])
        self._prev_obs.append(observation)
        # Only what can be shown again is kept: an episode need not have a step limit.
        del self._prev_obs[: -self._num_prev_obs or None], self._prev_actions[: -self._num_prev_actions or None]
        return SEPARATOR.join(reversed(parts))

    def _details(self, extra: dict[str, Any]) -> dict[str, Any]:
        session = self.session
        details: dict[str, Any] = {
            "page": self.page.kind,
            "asin": session.asin,
            "options": dict(session.options),
            "keywords": None if session.keywords is None else " ".join(session.keywords),
            # A number always: 0 before a search. Gymnasium makes one array of it for several environments.
            "result_page": session.page or 0,
        }
        if not self.strict:
            details["strict"] = False
        details.update(extra)
        return details

    # Saving.

    def save(self) -> dict[str, Any]:
        """Return the state of the visit as JSON values."""
        return ShopState(
            self.goal,
            self._session_id,
            self.session,
            self.page,
            self._prev_obs[-self._num_prev_obs :] if self._num_prev_obs else [],
            self._prev_actions[-self._num_prev_actions :] if self._num_prev_actions else [],
        ).to_json()

    def load(self, saved: Any) -> None:
        """Go back to a state that ``save`` returned, in this process or another with the same catalogue.

        Raises:
            SnapshotError: A field is missing or wrong, or names a product that this catalogue does not have; then nothing
                was changed.
        """
        self.enter(ShopState.from_json(saved, self.catalogue))

    def enter(self, state: ShopState) -> None:
        """Go to a state; it belongs to the engine from now on."""
        self._goal, self._session_id = state.goal, state.session_id
        self.session, self.page = state.session, state.page
        self._prev_obs, self._prev_actions = state.observations, state.actions
