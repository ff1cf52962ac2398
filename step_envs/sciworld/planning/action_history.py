"""The state of a ScienceWorld episode, named by how it came about: the task and the actions so far.

The engine can neither copy nor save its state. But it is deterministic, so the actions that led to a state identify it:
plans, snapshots and everything remembered about a state are filed under an ``ActionHistory``, and any engine can be
brought there by replay.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

from step_envs.errors import SnapshotError, UnknownNameError
from step_envs.sciworld.tasks import SciWorldTasks, check_simplification


@dataclass(frozen=True, slots=True)
class ActionHistory:
    """A task and the actions that were carried out since its start.

    Attributes:
        task: Task name.
        variation: Variation of the task.
        simplification: The engine's simplifications, separated by commas.
        actions: The actions so far.
    """

    task: str
    variation: int
    simplification: str
    actions: tuple[str, ...]

    @classmethod
    def from_snapshot(cls, tasks: SciWorldTasks, task_id: str, world: Any) -> Self:
        """Read the world part of a snapshot.

        Raises:
            SnapshotError: A field is missing, has the wrong type, or names a simplification that does not exist.
        """
        name, variation = tasks.parse(task_id)
        try:
            simplification, actions = world["simplification"], world["actions"]
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"The snapshot lacks or garbles a field: {error}.") from error
        if not (
            isinstance(simplification, str)
            and isinstance(actions, list)
            and all(isinstance(action, str) for action in actions)
        ):
            raise SnapshotError("The snapshot's simplification must be text, and its actions a list of texts.")
        try:
            check_simplification(simplification, name)
        except UnknownNameError as error:
            raise SnapshotError(f"The snapshot's simplification cannot be played: {error}") from error
        return cls(name, variation, simplification, tuple(actions))

    def then(self, *actions: str) -> Self:
        """Return the state after further actions."""
        return replace(self, actions=self.actions + actions)

    def beginning(self) -> Self:
        """Return the state before the first action."""
        return replace(self, actions=())

    def up_to(self, count: int) -> Self:
        """Return the state after the first ``count`` actions."""
        return replace(self, actions=self.actions[:count])

    def leads_to(self, other: "ActionHistory") -> bool:
        """Return True if ``other`` is this state, or can be reached from it by its remaining actions."""
        return self.beginning() == other.beginning() and other.actions[: len(self.actions)] == self.actions
