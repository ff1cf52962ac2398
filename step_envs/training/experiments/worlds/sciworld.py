"""ScienceWorld in experiments: short task types, whose variations are drawn without repetition."""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from step_envs.registration import list_tasks
from step_envs.training.experiments.worlds.base import ExperimentWorld, Purpose, draw_listed

_SHORT = (
    "find-living-thing",
    "find-non-living-thing",
    "find-plant",
    "find-animal",
    "lifespan-longest-lived",
    "lifespan-shortest-lived",
    "lifespan-longest-lived-then-shortest-lived",
)


class SciWorldExperiment(ExperimentWorld):
    """Short tasks of ScienceWorld. Its variations are few, so two draws share some of their tasks."""

    env: ClassVar[str] = "STeP-SciWorld-v0"
    held_out_split: ClassVar[str] = "test"
    tiny_options: ClassVar[Mapping[str, Any]] = {"simplification": "easy", "task_types": _SHORT, "brief": True}
    model_options: ClassVar[Mapping[str, Any]] = {"simplification": "easy", "task_types": _SHORT}

    @override
    def draw_tasks(self, options: Mapping[str, Any], purpose: Purpose, count: int, draw: int) -> tuple[str, ...]:
        split = self.held_out_split if purpose == "held_out" else "train"
        return draw_listed(self, list_tasks(self.env, split=split, **options), purpose, count, draw)
