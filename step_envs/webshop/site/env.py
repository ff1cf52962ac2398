"""``STeP-WebShop-v0`` with ``backend="http"``: a running original site behind the contract."""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from typing_extensions import override

from step_envs.core import TextEnvOptions, WorldState
from step_envs.webshop.shop.shop_env import ShopEnv
from step_envs.webshop.site.oracle import SiteOracle
from step_envs.webshop.site.shop import DEFAULT_ADDRESS, SiteShop, SiteTasks


class WebShopSiteEnv(ShopEnv):
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

    @override
    def available_actions(self) -> dict[str, Any]:
        return self._shop.available_actions()

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
    def _save(self) -> Any:
        return self._shop.save()

    @override
    def _load(self, task_id: str, saved: Any) -> None:
        self._shop.load(saved)
