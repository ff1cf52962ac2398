"""``STeP-WebShop-v0`` with ``backend="http"``: a running original site behind the contract."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

from typing_extensions import override

from step_envs.core import TextEnv, TextEnvOptions, WorldState
from step_envs.spaces import require_text
from step_envs.webshop.prompt import REACT
from step_envs.webshop.shop.actions import goes_back, verb_of
from step_envs.webshop.shop.instruction_parser import search_action
from step_envs.webshop.site.oracle import SiteOracle
from step_envs.webshop.site.shop import DEFAULT_ADDRESS, SiteShop, SiteTasks


class WebShopSiteEnv(TextEnv):
    """A running original WebShop site.

    ``details`` holds the address of the page, and ``original_error`` where the site died on a special search. What a goal
    asks for and what a purchase is worth, only the site knows, so the oracle has no plans.

    Args:
        site_url: Address of the site.
        site_goals: How many goals it has; None is the number of human goals in the original.
        site_timeout: Seconds to wait for an answer.
        observation_mode: ``"text"``, ``"html"`` or ``"url"``.
        **options: See ``TextEnv``. ``split`` is ``train``, ``eval`` or ``test``; a site has one task type, ``"site"``.
    """

    env_id: ClassVar[str] = "STeP-WebShop-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    max_errors: ClassVar[int] = 1
    waits_outside_python: ClassVar[bool] = True

    def __init__(
        self,
        *,
        site_url: str = DEFAULT_ADDRESS,
        site_goals: int | None = None,
        site_timeout: float = 30.0,
        observation_mode: str = "text",
        **options: Unpack[TextEnvOptions],
    ) -> None:
        self._site_tasks = self.task_set(site_goals=site_goals)
        super().__init__(self._site_tasks, **options)
        self._shop = SiteShop(site_url, observation_mode=observation_mode, timeout=site_timeout)
        self._oracle = SiteOracle(self)
        self._address = site_url

    @classmethod
    @override
    def task_set(cls, **kwargs: Any) -> SiteTasks:
        count = kwargs.get("site_goals")
        return SiteTasks() if count is None else SiteTasks(count)

    @property
    @override
    def oracle(self) -> SiteOracle:
        return self._oracle

    def available_actions(self) -> dict[str, Any]:
        """List what can be done, in the original's form: ``has_search_bar`` and ``clickables``."""
        return self._shop.available_actions()

    @classmethod
    @override
    def verb_of(cls, action: str) -> str:
        return verb_of(require_text(action, "An action"))

    @classmethod
    @override
    def is_move(cls, action: str) -> bool:
        return goes_back(require_text(action, "An action"))

    @override
    def _accepts(self, action: str) -> bool:
        return self._shop.accepts(action)

    @override
    def provenance(self) -> dict[str, str]:
        return {"webshop_site": self._address}

    @override
    def close(self) -> None:
        self._shop.close()
        super().close()

    @override
    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        return self._shop.begin(self._site_tasks.number(task_id))

    @override
    def _act(self, action: str) -> WorldState:
        return self._shop.act(action)

    @override
    def _instruction(self) -> str:
        return self._shop.instruction

    @override
    def _admissible(self) -> Sequence[str]:
        available = self._shop.available_actions()
        if available["has_search_bar"]:
            return (search_action(self._shop.instruction),)
        return tuple(f"click[{name}]" for name in available["clickables"] if self.accepts(f"click[{name}]"))

    @override
    def _save(self) -> Any:
        return self._shop.save()

    @override
    def _load(self, task_id: str, saved: Any) -> None:
        self._shop.load(saved)
