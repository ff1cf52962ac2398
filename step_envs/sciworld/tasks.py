"""The 30 tasks and 7,207 variations of ScienceWorld 1.2.3, their splits and their step limits.

Official splits: of a task's N variations the first 2 * (N // 4) are train, the next N // 4 dev, the rest test. The ETO
splits are lists of its authors over 24 of the tasks. 54 tasks of their train list are also in their dev list; ``eto_train``
leaves them out, ``eto_train_published`` has them.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import NamedTuple

from typing_extensions import override

from step_envs.errors import UnknownNameError, unknown_name
from step_envs.spaces import require_text
from step_envs.tasks import TaskSet


class TaskType(NamedTuple):
    """One of the 30 tasks: how many variations it has and after how many steps it is truncated.

    The limits are the ETO protocol's. Six tasks are not in that protocol (marked below): theirs are this project's, about a
    quarter above the longest gold path seen.
    """

    variations: int
    max_steps: int


TASK_TYPES: dict[str, TaskType] = {
    "boil": TaskType(30, 100),
    "melt": TaskType(30, 80),
    "freeze": TaskType(30, 80),
    "change-the-state-of-matter-of": TaskType(30, 80),
    "use-thermometer": TaskType(540, 30),
    "measure-melting-point-known-substance": TaskType(436, 120),
    "measure-melting-point-unknown-substance": TaskType(300, 120),  # not in ETO
    "power-component": TaskType(20, 20),
    "power-component-renewable-vs-nonrenewable-energy": TaskType(20, 30),
    "test-conductivity": TaskType(900, 30),
    "test-conductivity-of-unknown-substances": TaskType(600, 30),
    "find-living-thing": TaskType(300, 15),
    "find-non-living-thing": TaskType(300, 15),
    "find-plant": TaskType(300, 15),
    "find-animal": TaskType(300, 15),
    "grow-plant": TaskType(126, 30),
    "grow-fruit": TaskType(126, 60),
    "chemistry-mix": TaskType(32, 60),
    "chemistry-mix-paint-secondary-color": TaskType(36, 15),
    "chemistry-mix-paint-tertiary-color": TaskType(36, 30),
    "lifespan-longest-lived": TaskType(125, 10),
    "lifespan-shortest-lived": TaskType(125, 10),
    "lifespan-longest-lived-then-shortest-lived": TaskType(125, 12),
    "identify-life-stages-1": TaskType(14, 30),
    "identify-life-stages-2": TaskType(10, 30),
    "inclined-plane-determine-angle": TaskType(168, 100),  # not in ETO
    "inclined-plane-friction-named-surfaces": TaskType(1386, 400),  # not in ETO
    "inclined-plane-friction-unnamed-surfaces": TaskType(162, 250),  # not in ETO
    "mendelian-genetics-known-plant": TaskType(120, 180),  # not in ETO
    "mendelian-genetics-unknown-plant": TaskType(480, 180),  # not in ETO
}
"""Task name -> its figures, in the original's order."""

SIMPLIFICATIONS = (
    "easy",
    "teleportAction",
    "openDoors",
    "openContainers",
    "selfWateringFlowerPots",
    "noElectricalAction",
    "eto",
)
"""Names of simplifications: the engine's own, of which ``easy`` is a set that depends on the task, and our set ``eto``."""

_PRESETS = {
    "easy": ("teleportAction", "openDoors", "selfWateringFlowerPots", "noElectricalAction"),
    # ETO's jar is of engine 1.1.3, whose ``easy`` opens containers; this is what its published episodes were played with.
    "eto": ("teleportAction", "openDoors", "selfWateringFlowerPots", "openContainers"),
}
_NO_ELECTRICITY = "noElectricalAction"
_NEEDS_ELECTRICITY = ("power-component", "conductivity")

OFFICIAL_SPLITS = ("train", "dev", "test")
ETO_SPLITS = ("eto_train", "eto_dev", "eto_test", "eto_train_published")
_ETO_TEST_PER_TASK = 10  # ETO's test list is the first ten of each task's official test variations


class SciWorldTasks(TaskSet):
    """Tasks named ``<task>/<variation>``, e.g. ``boil/3``; the same for all environments, see ``SCIWORLD_TASKS``."""

    splits = OFFICIAL_SPLITS + ETO_SPLITS
    types = tuple(TASK_TYPES)

    @override
    def ids(self, split: str) -> Sequence[str]:
        # By task type, then by variation.
        variations = self._variations(split)
        return tuple(f"{name}/{i}" for name in TASK_TYPES for i in variations.get(name, ()))

    @override
    def split_of(self, task_id: str) -> str:
        name, variation = self.parse(task_id)
        quarter = TASK_TYPES[name].variations // 4
        if variation < 2 * quarter:
            return "train"
        return "dev" if variation < 3 * quarter else "test"

    @override
    def type_of(self, task_id: str) -> str:
        return self.parse(task_id)[0]

    @override
    def max_steps(self, task_id: str) -> int:
        return TASK_TYPES[self.type_of(task_id)].max_steps

    def parse(self, task_id: str) -> tuple[str, int]:
        """Split a task id into task name and variation.

        Raises:
            TypeError: The task id is not a str.
            UnknownNameError: There is no such task or variation.
        """
        require_text(task_id, "A task id")
        name, slash, number = task_id.partition("/")
        if name not in TASK_TYPES or not slash:
            raise unknown_name("task", task_id, [f"{known}/0" for known in TASK_TYPES])
        count = TASK_TYPES[name].variations
        # Compared as text: "boil/03" or other digits of Unicode would be second names of the same task.
        if number not in map(str, range(count)):
            raise unknown_name("task", task_id, [f"{name}/{i}" for i in (0, count - 1)])
        return name, int(number)

    def _variations(self, split: str) -> dict[str, Sequence[int]]:
        if split in OFFICIAL_SPLITS:
            return {name: _official(split, task.variations) for name, task in TASK_TYPES.items()}
        eto = self._eto_lists
        if split == "eto_test":
            return {
                name: _official("test", TASK_TYPES[name].variations)[:_ETO_TEST_PER_TASK] for name in eto["eto_dev"]
            }
        if split == "eto_train":
            published = eto["eto_train_published"]
            return {
                name: [i for i in listed if i not in set(eto["eto_dev"][name])] for name, listed in published.items()
            }
        if split in eto:
            return dict(eto[split])
        raise unknown_name("split", split, self.splits)

    @cached_property
    def _eto_lists(self) -> dict[str, dict[str, list[int]]]:
        text = files("step_envs.sciworld").joinpath("data/eto_splits.json").read_text()
        lists = json.loads(text)
        return {split: lists[split] for split in ("eto_train_published", "eto_dev")}


SCIWORLD_TASKS = SciWorldTasks()
"""The tasks, with everything that was once listed of them."""


def read_simplification(simplification: str) -> str:
    """Read a list of simplifications.

    Args:
        simplification: Names separated by commas, sets among them; an empty string means none.

    Returns:
        The same names, each once, without blanks around them.

    Raises:
        UnknownNameError: A name does not exist.
    """
    names = [name.strip() for name in simplification.split(",")] if simplification.strip() else []
    for name in names:
        if name not in SIMPLIFICATIONS:
            raise unknown_name("simplification", name, SIMPLIFICATIONS)
    return ",".join(dict.fromkeys(names))


def check_simplification(simplification: str, task: str | None = None) -> None:
    """Check a list of simplifications: the engine would answer a wrong one with an episode that has failed at its start.

    Args:
        simplification: See ``read_simplification``.
        task: Name of the task to be played with them; None if that is not known yet.

    Raises:
        UnknownNameError: A name does not exist, or the task cannot be done with a simplification.
    """
    names = read_simplification(simplification).split(",")
    if task is not None and _NO_ELECTRICITY in names and _needs_electricity(task):
        raise UnknownNameError(
            f"Task {task!r} cannot be done with {_NO_ELECTRICITY}: take it out of the simplifications."
        )


def simplification_labels(simplification: str, task: str) -> tuple[str, ...]:
    """Return the engine's own labels for a list of simplifications, sets among them expanded.

    Args:
        simplification: See ``read_simplification``.
        task: Name of the task: ``easy`` leaves ``noElectricalAction`` out where the task needs electricity.
    """
    labels: list[str] = []
    for name in filter(None, read_simplification(simplification).split(",")):
        left_out = {_NO_ELECTRICITY} if name == "easy" and _needs_electricity(task) else set()
        labels += (label for label in _PRESETS.get(name, (name,)) if label not in left_out)
    return tuple(dict.fromkeys(labels))


def engine_simplification(simplification: str, task: str) -> str:
    """Return what the engine is to be told: it takes its set ``easy`` only alone, and knows none of ours."""
    if read_simplification(simplification) == "easy":
        return "easy"
    return ",".join(simplification_labels(simplification, task))


def _needs_electricity(task: str) -> bool:
    return any(word in task for word in _NEEDS_ELECTRICITY)


def _official(split: str, count: int) -> range:
    quarter = count // 4
    return {
        "train": range(2 * quarter),
        "dev": range(2 * quarter, 3 * quarter),
        "test": range(3 * quarter, count),
    }[split]
