"""The one who knows the way: what every world's oracle can be asked."""

from abc import ABC, abstractmethod
from collections.abc import Sequence


class Oracle(ABC):
    """Knows the way to success from any state of one environment.

    It belongs to an environment (``env.unwrapped.oracle``) and never changes that environment's state. Its knowledge is
    privileged: it reads the world, not the observations.
    """

    @abstractmethod
    def plan(self, snapshot: bytes | None = None, *, after: Sequence[str] = ()) -> list[str] | None:
        """Find actions that lead to success.

        Args:
            snapshot: The state to start from, as ``TextEnv.snapshot()`` gives it; None is the state as it now is.
            after: Actions to imagine carried out first.

        Returns:
            The actions in order, empty where the task is already done, or None where no way is known.
        """

    @abstractmethod
    def thought(self, action: str) -> str:
        """Say in one plain first-person sentence why to take ``action`` in the state as it now is."""

    def next_action(self) -> str | None:
        """Give the first action of the plan from the state as it now is; None where there is none."""
        plan = self.plan()
        return plan[0] if plan else None

    def is_informative(self, action: str) -> bool:
        """Say whether ``action`` only looks or opens, so that taking it once without progress is no mistake."""
        return False
