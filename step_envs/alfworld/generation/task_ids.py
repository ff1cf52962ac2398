"""Ids of generated tasks: ``generated/<type>/<seed>`` and ``generated-small/<type>/<seed>``.

The id alone says how to make the household, and the seed alone decides the split. So the splits are disjoint, whatever is
listed or played, and any seed can be played by naming it.
"""

import re
from typing import NamedTuple

from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.generation.household import HOUSEHOLD_SIZES, HouseholdSize
from step_envs.errors import unknown_name
from step_envs.spaces import require_text

SEEDS = {
    "train": range(1_000_000),
    "valid_seen": range(1_000_000, 2_000_000),
    "valid_unseen": range(2_000_000, 3_000_000),
}
"""Split -> its seeds."""

_SIZE_OF_PREFIX: dict[str, HouseholdSize] = {"generated": "full", "generated-small": "small"}
_PREFIX_OF_SIZE = {size: prefix for prefix, size in _SIZE_OF_PREFIX.items()}
# One spelling for each seed: no leading zero, no sign, no digits of other scripts.
_ID = re.compile(rf"({'|'.join(_SIZE_OF_PREFIX)})/({'|'.join(TASK_TYPES)})/(0|[1-9][0-9]{{0,6}})")


class GeneratedTask(NamedTuple):
    """What the id of a generated task says."""

    task_type: str
    seed: int
    size: HouseholdSize


def make_task_id(task_type: str, seed: int, size: HouseholdSize = "full") -> str:
    """Write the id of a generated task: ``generated/<type>/<seed>``, or ``generated-small/<type>/<seed>``."""
    return f"{_PREFIX_OF_SIZE[size]}/{task_type}/{seed}"


def parse_task_id(task_id: str) -> GeneratedTask:
    """Read the id of a generated task.

    Raises:
        TypeError: The id is not a str.
        UnknownNameError: There is no such task.
    """
    found = _ID.fullmatch(require_text(task_id, "A task id"))
    if found is not None and int(found[3]) < SEEDS["valid_unseen"].stop:
        return GeneratedTask(found[2], int(found[3]), _SIZE_OF_PREFIX[found[1]])
    examples = [make_task_id(task_type, 0, size) for size in HOUSEHOLD_SIZES for task_type in TASK_TYPES]
    raise unknown_name("task", task_id, examples)


def split_of_seed(seed: int) -> str:
    """Return the split that a seed belongs to.

    Raises:
        ValueError: The seed belongs to none.
    """
    for split, seeds in SEEDS.items():
        if seed in seeds:
            return split
    raise ValueError(f"Seeds go from 0 to {SEEDS['valid_unseen'].stop - 1}, got {seed}.")
