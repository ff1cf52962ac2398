"""A state of this world, named by how it came about: the task and the actions so far."""

from dataclasses import dataclass, replace
from typing import Any, Self

from step_envs.errors import SnapshotError
from step_envs.sciworld.tasks import SciWorldTasks


@dataclass(frozen=True, slots=True)
class Episode:
    """The engine is deterministic, so that these four fields are a state of the world.

    Attributes:
        task: Task name.
        variation: Variation of the task.
        simplification: The engine's simplifications.
        actions: What was done so far.
    """

    task: str
    variation: int
    simplification: str
    actions: tuple[str, ...]

    @classmethod
    def saved(cls, tasks: SciWorldTasks, task_id: str, world: Any) -> Self:
        """Read the world part of a snapshot.

        Raises:
            SnapshotError: It lacks a field or holds one of the wrong type.
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
        return cls(name, variation, simplification, tuple(actions))

    def then(self, *actions: str) -> Self:
        """Give the state after further actions."""
        return replace(self, actions=self.actions + actions)

    def beginning(self) -> Self:
        """Give the state before the first action."""
        return replace(self, actions=())

    def leads_to(self, other: "Episode") -> bool:
        """Say whether ``other`` is this state or comes after it."""
        return self.beginning() == other.beginning() and other.actions[: len(self.actions)] == self.actions
