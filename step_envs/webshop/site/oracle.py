"""The oracle of a running site: it has no plans, because only the site knows which product a goal is about."""

from collections.abc import Sequence

from typing_extensions import override

from step_envs.oracle import Oracle
from step_envs.snapshots import Snapshot
from step_envs.webshop.site.shop import SiteState
from step_envs.webshop.thoughts import describe_blindly


class SiteOracle(Oracle[None]):
    """Words thoughts, and knows no plan."""

    @override
    def _state_now(self) -> None:
        return None

    @override
    def _state_of(self, snapshot: Snapshot) -> None:
        SiteState.from_json(snapshot.world)

    @override
    def _plan(self, state: None, after: Sequence[str]) -> list[str] | None:
        return None

    @override
    def _thought(self, action: str) -> str:
        return describe_blindly(action)
