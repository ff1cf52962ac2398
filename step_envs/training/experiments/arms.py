"""What is compared: which trajectories each arm is trained on, from which checkpoint, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from step_envs.training.experiments.presets import Arm, Preset
from step_envs.training.filters import Selection
from step_envs.training.masking import Masking
from step_envs.trajectory import Trajectory

TITLES: dict[Arm, str] = {
    "d1": "D1 only",
    "golden": "all golden",
    "same-tasks": "D1 + golden of D_r's tasks",
    "step": "STeP: D1 + D_r, masked",
    "no-mask": "STeP without mask",
    "sequential": "base, then D_r",
}
"""Name of each arm in tables and plots."""

DESCRIPTIONS: dict[Arm, str] = {
    "d1": "the original model, trained on the golden trajectories of U1",
    "golden": "the original model, trained on the golden trajectories of all tasks, U1 and U2",
    "same-tasks": "the original model, trained on D1 and on golden trajectories of exactly the tasks that D_r has, as many",
    "step": "the original model, trained on D1 and D_r; error turns stay in the context and carry no loss",
    "no-mask": "the same trajectories, with loss on the error turns as on all others",
    "sequential": "the base agent, trained further on D_r alone, masked",
}
"""What each arm is, in words."""


@dataclass(frozen=True)
class Material:
    """The trajectories of an experiment.

    Attributes:
        golden: Golden trajectories of all tasks that the expert solved, in the order of the tasks.
        first: The tasks U1.
        reflected: What the filter says of the trajectories collected under the teacher.
    """

    golden: Sequence[Trajectory]
    first: frozenset[str]
    reflected: Selection

    def of_first_half(self) -> list[Trajectory]:
        """Give D1."""
        return [trajectory for trajectory in self.golden if trajectory.task_id in self.first]

    def of_same_tasks(self) -> list[Trajectory]:
        """Give golden trajectories of the tasks of D_r."""
        tasks = {trajectory.task_id for trajectory in self.reflected.kept}
        return [trajectory for trajectory in self.golden if trajectory.task_id in tasks]


class Training(NamedTuple):
    """How an arm is trained.

    Attributes:
        trajectories: What on.
        masking: What becomes of error turns.
        from_base: From the base agent; else from the original model.
        steps: For how many optimizer steps.
    """

    trajectories: list[Trajectory]
    masking: Masking
    from_base: bool
    steps: int


def training_of(arm: Arm, material: Material, preset: Preset) -> Training:
    """Say how an arm is trained; in all of them the steps from the original model on are the same."""
    whole, before = preset.training.max_steps, preset.base.max_steps
    assert whole is not None and before is not None  # the preset has made sure
    d1, d_r = material.of_first_half(), list(material.reflected.kept)
    if arm == "sequential":
        return Training(d_r, "partial", from_base=True, steps=whole - before)
    trajectories = {
        "d1": d1,
        "golden": list(material.golden),
        "same-tasks": d1 + material.of_same_tasks(),
        "step": d1 + d_r,
        "no-mask": d1 + d_r,
    }[arm]
    return Training(trajectories, "none" if arm == "no-mask" else "partial", from_base=False, steps=whole)
