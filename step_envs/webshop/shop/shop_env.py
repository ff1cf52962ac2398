"""What every shop has in common, whether it runs in this process or is a site: the form of its actions."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from typing_extensions import override

from step_envs.core import TextEnv
from step_envs.spaces import require_text
from step_envs.webshop.prompt import REACT
from step_envs.webshop.shop.actions import goes_back, vaguer_searches, verb_of
from step_envs.webshop.shop.instruction_parser import search_action


class ShopEnv(TextEnv):
    """A shop in which ``search[words]`` and ``click[what]`` are the actions."""

    env_id: ClassVar[str] = "STeP-WebShop-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    max_errors: ClassVar[int] = 1

    @abstractmethod
    def available_actions(self) -> dict[str, Any]:
        """List what can be done, in the original's form: ``has_search_bar`` and ``clickables``."""

    @classmethod
    @override
    def verb_of(cls, action: str) -> str:
        return verb_of(require_text(action, "An action"))

    @classmethod
    @override
    def is_move(cls, action: str) -> bool:
        return goes_back(require_text(action, "An action"))

    @classmethod
    @override
    def takes_back(cls, action: str, earlier: str) -> bool:
        # Going back gives up the page that a search or a click has led to.
        back, was_back = cls.is_move(action), cls.is_move(earlier)
        return back and not was_back

    @classmethod
    @override
    def vaguer(cls, action: str) -> tuple[str, ...]:
        return vaguer_searches(require_text(action, "An action"))

    @override
    def _admissible(self) -> Sequence[str]:
        available = self.available_actions()
        if available["has_search_bar"]:
            return (search_action(self._instruction()),)
        clicks = (f"click[{name}]" for name in available["clickables"] if name != "search")
        return tuple(click for click in clicks if self.accepts(click))
