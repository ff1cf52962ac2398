"""``STeP-WebShop-v0`` with ``backend="http"``: the contract over a running original site."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from step_envs.core import TextEnv, WorldState
from step_envs.oracle import Oracle
from step_envs.snapshots import Snapshot
from step_envs.webshop.prompt import REACT
from step_envs.webshop.shop.instruction_parser import describe_blindly, search_words
from step_envs.webshop.site.shop import DEFAULT_ADDRESS, SiteShop, SiteTasks


class WebShopSiteEnv(TextEnv):
    """A running original WebShop site.

    What only the site knows is not here: ``details`` holds the address, and ``original_error`` where the site died on a
    special search; the oracle knows no way.

    Args:
        site_url: Where the site is.
        site_goals: How many goals it has.
        site_timeout: Seconds to wait for an answer.
        split: See ``WebShopEnv``.
        task_types: See ``TextEnv``; a site has only the type ``"site"``.
        observation_mode: ``"text"``, ``"html"`` or ``"url"``.
        max_steps: See ``TextEnv``.
        admissible_actions: See ``TextEnv``.
        render_mode: See ``TextEnv``.
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
        split: str = "train",
        task_types: Sequence[str] | None = None,
        observation_mode: str = "text",
        max_steps: int | Literal["eto"] | None = "eto",
        admissible_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self._site_tasks = self.task_set(site_goals=site_goals)
        super().__init__(
            self._site_tasks,
            split=split,
            task_types=task_types,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )
        self._shop = SiteShop(site_url, observation_mode=observation_mode, timeout=site_timeout)
        self._oracle = _NoOracle(self)
        self._address = site_url

    @classmethod
    def task_set(cls, **kwargs: Any) -> SiteTasks:
        """Number the goals of the site; it is not asked."""
        count = kwargs.get("site_goals")
        return SiteTasks() if count is None else SiteTasks(count)

    @property
    def oracle(self) -> Oracle[None]:
        """Knows no way: what the goal's product is, only the site knows."""
        return self._oracle

    def available_actions(self) -> dict[str, Any]:
        """Tell what can be done, in the original's form: ``has_search_bar`` and ``clickables``."""
        return self._shop.available_actions()

    def _accepts(self, action: str) -> bool:
        return self._shop.accepts(action)

    def provenance(self) -> dict[str, str]:
        """Name the site."""
        return {"webshop_site": self._address}

    def close(self) -> None:
        """Close the connections."""
        self._shop.close()
        super().close()

    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        return self._shop.begin(self._site_tasks.number(task_id))

    def _act(self, action: str) -> WorldState:
        return self._shop.act(action)

    def _instruction(self) -> str:
        return self._shop.instruction

    def _admissible(self) -> Sequence[str]:
        available = self._shop.available_actions()
        if available["has_search_bar"]:
            words = search_words(self._shop.instruction).replace("[", " ").replace("]", " ").strip()
            return (f"search[{words or 'shop'}]",)
        return tuple(f"click[{name}]" for name in available["clickables"] if self.accepts(f"click[{name}]"))

    def _save(self) -> Any:
        return self._shop.save()

    def _load(self, task_id: str, saved: Any) -> None:
        self._shop.load(saved)


class _NoOracle(Oracle[None]):
    def _state_now(self) -> None:
        return None

    def _state_of(self, snapshot: Snapshot) -> None:
        return None

    def _plan(self, state: None, after: Sequence[str]) -> list[str] | None:
        return None

    def _thought(self, action: str) -> str:
        return describe_blindly(action)
