"""The arms of an experiment: which trajectories each is trained on, from which checkpoint, and for how many steps.

All arms take the same number of optimizer steps from the same original model. Equal epochs would give arms with more
data more compute, and the comparison would measure that.
"""

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
"""Description of each arm."""


@dataclass(frozen=True)
class ExperimentData:
    """The trajectories of an experiment.

    Attributes:
        golden: Golden trajectories of all tasks that the expert solved, in the order of the tasks.
        u1: The tasks U1.
        reflected: The filtered trajectories that were collected under the teacher.
    """

    golden: Sequence[Trajectory]
    u1: frozenset[str]
    reflected: Selection

    def d1(self) -> list[Trajectory]:
        """Return D1: the golden trajectories of U1."""
        return [trajectory for trajectory in self.golden if trajectory.task_id in self.u1]

    def golden_of_reflected_tasks(self) -> list[Trajectory]:
        """Return the golden trajectories of the tasks of D_r."""
        tasks = {trajectory.task_id for trajectory in self.reflected.kept}
        return [trajectory for trajectory in self.golden if trajectory.task_id in tasks]


class ArmTraining(NamedTuple):
    """How an arm is trained.

    Attributes:
        trajectories: Trajectories to train on.
        masking: How error turns are trained on.
        from_base: Start from the base agent; if False, from the original model.
        steps: Number of optimizer steps.
    """

    trajectories: list[Trajectory]
    masking: Masking
    from_base: bool
    steps: int


def arm_training(arm: Arm, material: ExperimentData, preset: Preset) -> ArmTraining:
    """Return how an arm is trained; all arms take the same number of steps from the original model."""
    whole, before = preset.training.max_steps, preset.base.max_steps
    assert whole is not None and before is not None  # the preset requires both
    d1, d_r = material.d1(), list(material.reflected.kept)
    if arm == "sequential":
        return ArmTraining(d_r, "partial", from_base=True, steps=whole - before)
    trajectories = {
        "d1": d1,
        "golden": list(material.golden),
        "same-tasks": d1 + material.golden_of_reflected_tasks(),
        "step": d1 + d_r,
        "no-mask": d1 + d_r,
    }[arm]
    return ArmTraining(trajectories, "none" if arm == "no-mask" else "partial", from_base=False, steps=whole)
