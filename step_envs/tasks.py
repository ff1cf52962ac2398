"""The tasks of a world: its splits, the task ids of each in a fixed order, and the step limit of each task."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property

from step_envs.errors import unknown_name


class TaskSet(ABC):
    """The tasks of one world, found by name.

    Splits are decided by the identity of a task, never by its position in a shuffled list, and the official splits of a
    world are disjoint.
    """

    splits: tuple[str, ...]
    """Names of the splits; the first is the one to train on."""

    types: tuple[str, ...]
    """Names of the task types, in the world's own order."""

    @abstractmethod
    def ids(self, split: str) -> Sequence[str]:
        """List the task ids of a split in their fixed order.

        Raises:
            UnknownNameError: There is no such split.
            DataError: The split's data is absent or incomplete.
        """

    @abstractmethod
    def split_of(self, task_id: str) -> str:
        """Return the official split that a task belongs to.

        Raises:
            TypeError: The task id is not a str.
            UnknownNameError: There is no such task.
        """

    @abstractmethod
    def type_of(self, task_id: str) -> str:
        """Return the type of a task.

        Raises:
            TypeError: The task id is not a str.
            UnknownNameError: There is no such task.
        """

    @abstractmethod
    def max_steps(self, task_id: str) -> int | None:
        """Return the default step limit of a task: the ETO protocol's where it has one."""

    def holds(self, split: str, task_id: str) -> bool:
        """Return True if a task is in a split, official or not.

        Args:
            split: A name from ``splits``.
            task_id: A task that exists.
        """
        if split not in self._members:
            ids = self.ids(split)
            if not isinstance(ids, tuple | list):
                return task_id in ids  # a sequence that writes ids when asked knows at once what is in it
            self._members[split] = frozenset(ids)
        return task_id in self._members[split]

    @cached_property
    def _members(self) -> dict[str, frozenset[str]]:
        return {}

    @cached_property
    def _selected(self) -> dict[tuple[str, tuple[str, ...] | None], tuple[str, ...]]:
        # All environments that play the same tasks share these lists: thousands of ids each.
        return {}

    def select(self, split: str, task_types: Sequence[str] | None = None) -> Sequence[str]:
        """List the task ids of a split, of the given types only.

        Args:
            split: A name from ``splits``.
            task_types: Names from ``types``; None means all.

        Raises:
            UnknownNameError: A split or a type does not exist.
            ValueError: Nothing is left to play.
        """
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        if task_types is not None:
            if isinstance(task_types, str):
                raise TypeError(f"task_types takes a list of names, got the single string {task_types!r}.")
            if not isinstance(task_types, Sequence):
                raise TypeError(f"task_types takes a list of names, got {task_types!r}.")
            for name in task_types:
                if name not in self.types:
                    raise unknown_name("task type", name, self.types)
            if not task_types:
                raise ValueError("task_types names no type: leave it away to play all.")
        key = split, None if task_types is None else tuple(task_types)
        if key not in self._selected:
            ids: Iterable[str] = self.ids(split)
            if task_types is not None:
                wanted = frozenset(task_types)
                ids = (task_id for task_id in ids if self.type_of(task_id) in wanted)
            self._selected[key] = tuple(ids)
        if not self._selected[key]:
            chosen = "" if task_types is None else f" of type {', '.join(task_types)}"
            raise ValueError(f"Split {split!r} has no task{chosen}.")
        return self._selected[key]
