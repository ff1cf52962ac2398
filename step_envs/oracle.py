"""The oracle: plans from any state of an environment to success.

What can be wrong with a question (no episode, bytes that are not a snapshot, an action that is not a str) is checked here,
once for all worlds. A world implements four methods of its own: its state now, its state in a snapshot, the plan from a
state, and the reason for an action.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, final

from step_envs.snapshots import RestorePoint, Snapshot, snapshot_faults
from step_envs.spaces import MAX_ACTION_LENGTH, is_too_long, require_text

State = TypeVar("State")
"""What a world plans from: a copy of its engine, the actions so far, whatever it needs."""


class OracleEnv(Protocol):
    """What an oracle needs of its environment; ``TextEnv`` has it."""

    def require_episode(self, purpose: str) -> object:
        """Raise ``ResetNeeded`` where no episode is running."""

    def open_snapshot(self, snapshot: bytes | RestorePoint) -> Snapshot:
        """Open a snapshot of this environment."""


class Oracle(ABC, Generic[State]):
    """Computes plans from any state of one environment to success.

    It belongs to an environment (``env.unwrapped.oracle``) and never changes that environment's state. Its knowledge is
    privileged: it reads the world, not the observations.

    Args:
        env: The environment it belongs to.
    """

    def __init__(self, env: OracleEnv) -> None:
        self._env = env

    # What a world supplies.

    @abstractmethod
    def _state_now(self) -> State:
        """Return the state of the running episode, for planning; what is done with it must not change the episode."""

    @abstractmethod
    def _state_of(self, snapshot: Snapshot) -> State:
        """Return the state that a snapshot was taken in; what is done with it must not change the snapshot.

        Errors that wrong data raises (``ValueError``, ``LookupError``, ``TypeError``, ...) become ``SnapshotError``.
        """

    @abstractmethod
    def _plan(self, state: State, after: Sequence[str]) -> list[str] | None:
        """Return actions that lead from a state, after some more actions, to success; None where no way is known."""

    @abstractmethod
    def _thought(self, action: str) -> str:
        """Return one plain first-person sentence that says why to take ``action`` now."""

    def _next_action(self) -> str | None:
        """Return the first action of the plan from the running episode; for worlds that know it without the whole plan."""
        plan = self.plan()
        return plan[0] if plan else None

    def _is_informative(self, action: str) -> bool:
        """Return True if ``action`` only looks or opens."""
        return False

    # What is alike in all worlds.

    @final
    def plan(self, snapshot: bytes | RestorePoint | None = None, *, after: Sequence[str] = ()) -> list[str] | None:
        """Compute actions that lead to success.

        Args:
            snapshot: The state to start from, as ``TextEnv.snapshot()`` or ``restore_point()`` gives it; None is the state
                of the running episode.
            after: Actions to imagine carried out first.

        Returns:
            The actions in order, empty where the task is already done, or None where no way is known.

        Raises:
            SnapshotError: The bytes are not a snapshot of this environment.
            TypeError: ``after`` is not a sequence of str.
            gymnasium.error.ResetNeeded: No episode is running, and no snapshot was given.
        """
        if isinstance(after, str):
            raise TypeError(f"after takes a list of actions, got the single string {after!r}.")
        # Actions that are too long never reach the engine, see ``TextEnv.step``.
        actions = [action for action in after if not is_too_long(require_text(action, "An action"))]
        if snapshot is None:
            self._env.require_episode("asking the oracle")
            return self._plan(self._state_now(), actions)
        opened = self._env.open_snapshot(snapshot)
        with snapshot_faults():
            state = self._state_of(opened)
        return self._plan(state, actions)

    @final
    def distance(self, snapshot: bytes | RestorePoint | None = None, *, after: Sequence[str] = ()) -> int | None:
        """Count the actions of the plan: how far a state is from success.

        Args:
            snapshot: See ``plan``.
            after: See ``plan``.

        Returns:
            The number of actions, 0 where the task is already done; None where no way is known.

        Raises:
            SnapshotError: The bytes are not a snapshot of this environment.
            TypeError: ``after`` is not a sequence of str.
            gymnasium.error.ResetNeeded: No episode is running, and no snapshot was given.
        """
        plan = self.plan(snapshot, after=after)
        return None if plan is None else len(plan)

    @final
    def next_action(self) -> str | None:
        """Return the first action of the plan from the running episode; None where there is no plan, or nothing to do.

        Raises:
            gymnasium.error.ResetNeeded: No episode is running.
        """
        self._env.require_episode("asking the oracle")
        return self._next_action()

    @final
    def thought(self, action: str) -> str:
        """Explain an action in one plain first-person sentence, for ReAct text.

        Args:
            action: What is done next in the running episode.

        Raises:
            TypeError: The action is not a str.
            gymnasium.error.ResetNeeded: No episode is running.
        """
        require_text(action, "An action")
        self._env.require_episode("asking the oracle")
        # A thought is one line of a reply; the action that it may quote can be any text.
        return " ".join(self._thought(action[:MAX_ACTION_LENGTH]).splitlines())

    @final
    def is_informative(self, action: str) -> bool:
        """Return True if ``action`` only looks or opens, so that taking it once without progress is no mistake.

        Raises:
            TypeError: The action is not a str.
            gymnasium.error.ResetNeeded: No episode is running.
        """
        require_text(action, "An action")
        self._env.require_episode("asking the oracle")
        return not is_too_long(action) and self._is_informative(action)
