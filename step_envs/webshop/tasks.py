"""The tasks of a catalogue: ids, splits, departments, step limits.

The splits are the original's own rule, by a goal's number in the fixed order: the first 500 are test, the next 1,000 eval,
the rest train. ETO's lists are numbers in the order of the 12,087 human goals of the full catalogue and mean nothing in any
other, so their splits exist only there.
"""

import json
from collections.abc import Sequence
from functools import cache, cached_property
from importlib import resources
from typing import Final, Literal, overload

from typing_extensions import override

from step_envs.errors import UnknownNameError, unknown_name
from step_envs.spaces import require_text
from step_envs.tasks import TaskSet
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal, GoalKind

TEST_GOALS: Final = 500
EVAL_GOALS: Final = 1000
FULL_HUMAN_GOALS: Final = 12_087
MAX_STEPS: Final = 10
"""The ETO protocol's limit."""

_ENOUGH_FOR_ALL_SPLITS: Final = TEST_GOALS + EVAL_GOALS + 1
_MOST_DIGITS: Final = 12

OFFICIAL_SPLITS: Final = ("train", "eval", "test")
ETO_SPLITS: Final = ("eto_train", "eto_test", "eto_train_published")


@cache
def eto_goals(split: Literal["train", "test"]) -> tuple[int, ...]:
    """Read ETO's own list of goal numbers, as published: its train list names one goal twice."""
    text = resources.files("step_envs.webshop").joinpath("data/eto_goals.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)[split])


@cache
def eto_leaked_goals() -> tuple[int, ...]:
    """List the 21 goals of ETO's test list that are also in its train list."""
    return tuple(sorted(set(eto_goals("train")) & set(eto_goals("test"))))


def choose_goals(catalogue: Catalogue, goals: GoalKind | Literal["auto"]) -> GoalKind:
    """Decide which kind of goals to play: for ``"auto"``, human ones where there are enough for every split.

    Raises:
        UnknownNameError: There is no such kind of goals.
    """
    if goals == "auto":
        return "human" if len(catalogue.goals("human")) >= _ENOUGH_FOR_ALL_SPLITS else "synthetic"
    catalogue.goals(goals)
    return goals


def read_number(digits: str) -> int | None:
    """Read the number of a goal, as task ids write it; None for anything else, ``"007"`` and ``"٧"`` included."""
    if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS and str(int(digits)) == digits:
        return int(digits)
    return None


class GoalIds(Sequence[str]):
    """The ids of some goals, written only when they are asked for.

    A large catalogue has millions of goals, so that keeping all their ids would cost hundreds of megabytes.

    Args:
        tasks: Whose goals they are.
        numbers: Their numbers.
    """

    def __init__(self, tasks: "WebShopTasks", numbers: Sequence[int]) -> None:
        self._tasks = tasks
        self._numbers = numbers
        # A range knows at once what is in it; a list of ETO's is short enough for a set.
        self._members = numbers if isinstance(numbers, range) else frozenset(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "GoalIds": ...
    def __getitem__(self, index: "int | slice") -> "str | GoalIds":
        if isinstance(index, slice):
            return GoalIds(self._tasks, self._numbers[index])
        return self._tasks.task_id(self._numbers[index])

    def __contains__(self, task_id: object) -> bool:
        if not isinstance(task_id, str):
            return False
        try:
            return self._tasks.number(task_id) in self._members
        except UnknownNameError:
            return False


class WebShopTasks(TaskSet):
    """The goals of a catalogue.

    ``eto_train`` is ETO's train list without the 21 goals that are also in its test list; ``eto_leaked_goals`` names them,
    and ``eto_train_published`` has them.

    Args:
        catalogue: What is sold.
        goals: ``"human"``, ``"synthetic"``, or ``"auto"`` for human ones where there are enough for every split.

    Raises:
        UnknownNameError: There is no such kind of goals.
    """

    def __init__(self, catalogue: Catalogue, goals: GoalKind | Literal["auto"] = "auto") -> None:
        self.catalogue = catalogue
        self.kind: GoalKind = choose_goals(catalogue, goals)
        self.name = f"{catalogue.name}-human" if self.kind == "human" else catalogue.name
        self._goals = catalogue.goals(self.kind)
        full = self.kind == "human" and len(self._goals) == FULL_HUMAN_GOALS
        self.splits = OFFICIAL_SPLITS + (ETO_SPLITS if full else ())

    @cached_property
    def types(self) -> tuple[str, ...]:  # type: ignore[override]
        """The departments of the shop."""
        return tuple(self.catalogue.departments)

    @override
    def ids(self, split: str) -> Sequence[str]:
        return GoalIds(self, self.numbers(split))

    @override
    def select(self, split: str, task_types: Sequence[str] | None = None) -> Sequence[str]:
        if split in self.splits and not len(self.numbers(split)):
            raise ValueError(
                f"Split {split!r} has no task: {self.catalogue.name!r} has {len(self._goals)} {self.kind} goals, of which "
                f"the first {TEST_GOALS} are 'test' and the next {EVAL_GOALS} 'eval'; name another split, other goals or "
                "a larger catalogue."
            )
        if task_types is None and split in self.splits:
            return self.ids(split)
        return super().select(split, task_types)

    def numbers(self, split: str) -> Sequence[int]:
        """List the goal numbers of a split.

        Raises:
            UnknownNameError: There is no such split.
        """
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        count = len(self._goals)
        if split == "test":
            return range(min(TEST_GOALS, count))
        if split == "eval":
            return range(min(TEST_GOALS, count), min(TEST_GOALS + EVAL_GOALS, count))
        if split == "train":
            return range(min(TEST_GOALS + EVAL_GOALS, count), count)
        if split == "eto_test":
            return eto_goals("test")
        published = list(dict.fromkeys(eto_goals("train")))
        if split == "eto_train_published":
            return published
        leaked = frozenset(eto_leaked_goals())
        return [number for number in published if number not in leaked]

    def task_id(self, number: int) -> str:
        """Return the id of a goal."""
        return f"{self.name}/{number}"

    def number(self, task_id: str) -> int:
        """Return the number of a goal.

        Raises:
            TypeError: The task id is not a str.
            UnknownNameError: There is no such task.
        """
        name, _, digits = require_text(task_id, "A task id").rpartition("/")
        number = read_number(digits)
        if name == self.name and number is not None and number < len(self._goals):
            return number
        raise UnknownNameError(
            f"Unknown task {task_id!r}. Tasks are named {self.name}/0 to {self.name}/{len(self._goals) - 1}."
        )

    def goal(self, task_id: str) -> Goal:
        """Read the goal of a task.

        Raises:
            UnknownNameError: There is no such task.
        """
        return self.catalogue.goal(self.kind, self.number(task_id))

    @override
    def split_of(self, task_id: str) -> str:
        number = self.number(task_id)
        if number < TEST_GOALS:
            return "test"
        return "eval" if number < TEST_GOALS + EVAL_GOALS else "train"

    @override
    def type_of(self, task_id: str) -> str:
        # The department of the goal's product.
        return self.catalogue.product(self._goals.product_number(self.number(task_id))).category

    @override
    def max_steps(self, task_id: str) -> int | None:
        return MAX_STEPS
