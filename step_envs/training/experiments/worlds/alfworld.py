"""ALFWorld in experiments: households generated from seeds, as many as are wanted."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from typing_extensions import override

from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.generation.task_ids import SEEDS, make_task_id
from step_envs.training.experiments.worlds.base import ExperimentWorld, Purpose

# First seed of the tasks for each purpose. A draw has a block of seeds of its own, so no two draws and no two purposes
# share a task.
_FIRST_SEED: dict[Purpose, int] = {
    "golden": SEEDS["train"].start,
    "play": SEEDS["train"].start + 500_000,
    "samples": SEEDS["train"].start + 900_000,
    "held_out": SEEDS["valid_unseen"].start,
}
_BLOCK: dict[Purpose, int] = {"golden": 5000, "play": 4000, "samples": 1000, "held_out": 1000}


class AlfworldExperiment(ExperimentWorld):
    """Households generated from seeds. The expert searches, as somebody must who has not seen the house before."""

    env: ClassVar[str] = "STeP-ALFWorld-v0"
    held_out_split: ClassVar[str] = "valid_unseen"
    tiny_options: ClassVar[Mapping[str, Any]] = {
        "source": "generated",
        "household": "small",
        "expert": "explorer",
        "thoughts": "brief",
    }
    model_options: ClassVar[Mapping[str, Any]] = {**tiny_options, "thoughts": "varied"}

    @override
    def draw_tasks(self, options: Mapping[str, Any], purpose: Purpose, count: int, draw: int) -> tuple[str, ...]:
        size = options.get("household", "full")
        types = options.get("task_types") or TASK_TYPES
        first = _FIRST_SEED[purpose] + draw * _BLOCK[purpose]
        return tuple(make_task_id(types[i % len(types)], first + i // len(types), size) for i in range(count))

    @override
    def names(self, texts: Iterable[str]) -> tuple[str, ...]:
        from step_envs.alfworld.generation.vocabulary import RECEPTACLES, THINGS

        names = sorted({name.lower() for name in (*RECEPTACLES, *THINGS)})
        # "cabinet 3" is one name: a tiny model copies one token far sooner than two that belong together.
        numbered = re.compile(rf"\b(?:{'|'.join(names)}) [0-9]+\b")
        return (*names, *sorted({name for text in texts for name in numbered.findall(text)}))
