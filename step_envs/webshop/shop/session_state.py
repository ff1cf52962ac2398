"""What the shop remembers of a visitor, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from step_envs.errors import SnapshotError
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.shop.pages import Page, PageKind


@dataclass(slots=True)
class Session:
    """What the shop remembers of a visitor.

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
class Outcome:
    """What an action led to.

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


@dataclass(slots=True)
class Visit:
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
    session: Session
    page: Page
    observations: list[str]
    actions: list[str]

    def to_json(self) -> dict[str, Any]:
        """Give the state as JSON values; products are named by their ids."""
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
    def from_json(cls, saved: Any, catalogue: Catalogue) -> "Visit":
        """Read what ``to_json`` gave.

        Args:
            saved: The state.
            catalogue: Where the products are.

        Raises:
            SnapshotError: The state does not fit, or names a product that this catalogue has not.
        """
        try:
            goal = Goal.from_dict(saved["goal"])
            remembered: Mapping[str, Any] = saved["session"]
            session = Session(**{**remembered, "visited": set(remembered["visited"])})
            shown = dict(saved["page"])
            places = [(asin, catalogue.number_of(asin)) for asin in shown.pop("products")]
            unknown = [asin for asin, place in places if place is None]
            products = [catalogue.product(place) for _, place in places if place is not None]
            page = Page(instruction=goal.instruction_text, products=products, **shown)
            visit = cls(goal, str(saved["session_id"]), session, page, saved["observations"], saved["actions"])
            visit._require_types()
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"The snapshot of the shop lacks or garbles a field: {error}.") from error
        if unknown:
            raise SnapshotError(f"The snapshot shows product {unknown[0]!r}, which {catalogue.name!r} has not.")
        return visit

    def _require_types(self) -> None:
        """See that nothing will fail later, in the middle of a step, because it is not what it should be.

        Raises:
            ValueError: A field has no value that it can have; the message names it.
        """
        session, page = self.session, self.page
        texts = [*(session.keywords or []), *session.visited, *self.observations, *self.actions, page.url, page.sub]
        choices = (session.options, page.options)
        fits = {
            "keywords": session.keywords is None or (isinstance(session.keywords, list) and session.keywords != []),
            "page": session.page is None or type(session.page) is int,
            "asin": session.asin is None or isinstance(session.asin, str),
            "draws": type(session.draws) is int,
            "options": all(isinstance(chosen, dict) for chosen in choices),
            "kind": page.kind in get_args(PageKind),
            "products": page.kind in ("index", "results") or len(page.products) == 1,
            "number": type(page.number) is int and type(page.total) is int,
            "reward": type(page.reward) in (int, float),
            "observations": isinstance(self.observations, list) and isinstance(self.actions, list),
        }
        for name, fit in fits.items():
            if not fit:
                raise ValueError(f"{name!r} cannot be so")
        texts += [text for chosen in choices for pair in chosen.items() for text in pair]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("what should be text is not")
