"""The state of a visit to the shop, and what the shop answers to an action.

Everything that the next page depends on is here, so that saving and loading it is a snapshot. What is loaded may come from
anywhere, so every field is checked when it is read: a wrong one would otherwise fail many steps later.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, get_args

from step_envs.errors import DataError, SnapshotError
from step_envs.snapshots import snapshot_faults
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.shop.pages import SUB_PAGES, Page, PageKind

_LARGEST_COUNT: Final = 1 << 31


@dataclass(slots=True)
class ShopSession:
    """The state of a visit to the shop.

    Attributes:
        keywords: Words of the last search.
        page: Number of the result page.
        asin: Id of the product looked at.
        options: Choices made for it, by option name.
        visited: Ids of the products opened since the last visit of the start page.
        draws: How many times products were drawn at random.
    """

    keywords: list[str] | None = None
    page: int | None = None
    asin: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)
    draws: int = 0


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """The result of an action.

    Attributes:
        observation: What the visitor sees.
        reward: What a purchase was worth, 0 to 1; else 0.
        done: A purchase was made.
        valid: The shop understood the action.
        details: Under the original's names: the session, and after a purchase the components of the reward.
    """

    observation: str
    reward: float
    done: bool
    valid: bool
    details: dict[str, Any]


class PlayedActions(NamedTuple):
    """The actions and pages that led to the present state of an episode.

    Attributes:
        start: The state in which it was taken over, as ``ShopState.to_json`` returns it; None is the start page.
        actions: The actions since then.
    """

    start: dict[str, Any] | None = None
    actions: tuple[str, ...] = ()

    def then(self, action: str) -> "PlayedActions":
        """Return these actions and one more."""
        return self._replace(actions=(*self.actions, action))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that ``from_json`` reads."""
        return {"start": self.start, "actions": list(self.actions)}

    @classmethod
    def from_json(cls, saved: Any, catalogue: Catalogue) -> "PlayedActions":
        """Read what ``to_json`` returned, and check every field.

        Raises:
            SnapshotError: A field is missing or wrong.
        """
        _require(type(saved) is dict and {"start", "actions"} <= saved.keys(), "history", saved)
        start, actions = saved["start"], saved["actions"]
        if start is not None:
            ShopState.from_json(start, catalogue)
        _require(type(actions) is list and _are_texts(actions), "actions", actions)
        return cls(start, tuple(actions))


@dataclass(slots=True)
class ShopState:
    """Everything there is to a state of the shop.

    Attributes:
        goal: What to shop for.
        session_id: What addresses call the visit.
        session: What the shop remembers.
        page: What is on the screen.
        observations: The last observations, as many as are shown again.
        actions: The last actions, likewise.
    """

    goal: Goal
    session_id: str
    session: ShopSession
    page: Page
    observations: list[str]
    actions: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values; products are named by their ids."""
        session, page = self.session, self.page
        return {
            "goal": self.goal.to_dict(),
            "session_id": self.session_id,
            "session": {
                "keywords": session.keywords,
                "page": session.page,
                "asin": session.asin,
                "options": dict(session.options),
                "visited": sorted(session.visited),
                "draws": session.draws,
            },
            "page": {
                "kind": page.kind,
                "url": page.url,
                "products": [product.asin for product in page.products],
                "number": page.number,
                "total": page.total,
                "sub": page.sub,
                "options": dict(page.options),
                "reward": page.reward,
            },
            "observations": list(self.observations),
            "actions": list(self.actions),
        }

    @classmethod
    def from_json(cls, saved: Any, catalogue: Catalogue) -> "ShopState":
        """Read what ``to_json`` returned, and check every field.

        Args:
            saved: The state.
            catalogue: Where the products are.

        Raises:
            SnapshotError: A field is missing or wrong, or names a product that this catalogue does not have.
        """
        try:
            goal = Goal.from_dict(saved["goal"])
            session_id, observations, actions = saved["session_id"], saved["observations"], saved["actions"]
            _require(type(session_id) is str, "session_id", session_id)
            for name, texts in (("observations", observations), ("actions", actions)):
                _require(type(texts) is list and _are_texts(texts), name, texts)
            session = _read_session(saved["session"])
            page = _read_page(saved["page"], goal.instruction_text, catalogue)
        except (DataError, AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, SnapshotError):
                raise
            raise SnapshotError(f"The snapshot of the shop lacks or garbles a field: {error}.") from error
        return cls(goal, session_id, session, page, list(observations), list(actions))


class SavedEpisode(NamedTuple):
    """The part of a snapshot that the shop writes.

    Attributes:
        shop: The state of the shop.
        score: What was bought was worth, 0 to 1; 0 before a purchase.
        own_goal: Whether the goal was given in full instead of taken from the catalogue.
        history: How the episode came to this state; only environments whose oracle is an explorer save it.
    """

    shop: ShopState
    score: float
    own_goal: bool
    history: PlayedActions

    @classmethod
    def from_json(cls, saved: Any, catalogue: Catalogue) -> "SavedEpisode":
        """Read an episode, and check every field.

        Args:
            saved: The world's part of a snapshot.
            catalogue: Where the products are.

        Raises:
            SnapshotError: A field is missing or wrong.
        """
        with snapshot_faults():
            shop = ShopState.from_json(saved["shop"], catalogue)
            score, own_goal = saved["score"], saved["own_goal"]
            _require(type(score) in (int, float) and 0 <= score <= 1, "score", score)
            _require(type(own_goal) is bool, "own_goal", own_goal)
            if "history" in saved["shop"]:
                history = PlayedActions.from_json(saved["shop"]["history"], catalogue)
            else:
                # An environment without an explorer saved it: who takes over here knows only the page that is shown.
                history = PlayedActions(start=saved["shop"])
            return cls(shop, float(score), own_goal, history)


def _read_session(saved: Mapping[str, Any]) -> ShopSession:
    keywords, page, asin, draws = saved["keywords"], saved["page"], saved["asin"], saved["draws"]
    _require(keywords is None or (type(keywords) is list and keywords and _are_texts(keywords)), "keywords", keywords)
    _require(page is None or _is_count(page), "page", page)
    _require(asin is None or type(asin) is str, "asin", asin)
    _require(_is_count(draws), "draws", draws)
    visited, options = saved["visited"], saved["options"]
    _require(type(visited) is list and _are_texts(visited), "visited", visited)
    return ShopSession(keywords, page, asin, _choices(options), set(visited), draws)


def _read_page(saved: Mapping[str, Any], instruction: str, catalogue: Catalogue) -> Page:
    kind, url, asins, sub, reward = (saved[name] for name in ("kind", "url", "products", "sub", "reward"))
    _require(kind in get_args(PageKind), "kind", kind)
    _require(type(url) is str, "url", url)
    _require(type(asins) is list and _are_texts(asins), "products", asins)
    # The pages of a product show exactly one.
    _require(kind in ("index", "results") or len(asins) == 1, "products", asins)
    _require(sub in ("", *SUB_PAGES), "sub", sub)
    _require(type(reward) in (int, float) and math.isfinite(reward), "reward", reward)
    for name in ("number", "total"):
        _require(_is_count(saved[name]), name, saved[name])
    return Page(
        kind,
        url,
        instruction,
        products=[_product(asin, catalogue) for asin in asins],
        number=saved["number"],
        total=saved["total"],
        sub=sub,
        options=_choices(saved["options"]),
        reward=reward,
    )


def _product(asin: str, catalogue: Catalogue) -> Product:
    number = catalogue.number_of(asin)
    if number is None:
        raise SnapshotError(f"The snapshot shows product {asin!r}, which {catalogue.name!r} has not.")
    return catalogue.product(number)


def _choices(options: Any) -> dict[str, str]:
    _require(type(options) is dict and _are_texts([*options, *options.values()]), "options", options)
    return dict(options)


def _are_texts(values: Collection[Any]) -> bool:
    return all(type(value) is str for value in values)


def _is_count(value: Any) -> bool:
    # A page number can be 0 or less: the session keeps the number of a search on which the original died.
    return type(value) is int and abs(value) < _LARGEST_COUNT


def _require(fits: object, name: str, value: object) -> None:
    if not fits:
        raise ValueError(f"{name!r} is {str(value)[:80]!r}")
