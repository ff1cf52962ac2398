"""The arms of an experiment: a recipe, the trajectories it is given, and the checkpoint it starts from."""

from dataclasses import dataclass
from typing import Literal

from step_envs.training.experiments.experiment_config import Arm

Part = Literal["d1", "golden", "same-tasks", "reflected", "explored", "scripted", "valued"]
"""A part of the trajectories of an experiment; see ``training_data.ExperimentData``."""


@dataclass(frozen=True)
class ArmDesign:
    """What one arm is.

    Attributes:
        title: Its name in tables and plots.
        description: What is trained on what.
        recipe: Specification of its recipe.
        parts: The trajectories that the recipe is given.
        from_base: Start from the base agent; if False, from the original model.
        on_pairs: The recipe trains on pairs.
    """

    title: str
    description: str
    recipe: str
    parts: tuple[Part, ...]
    from_base: bool = False
    on_pairs: bool = False


ARM_DESIGNS: dict[Arm, ArmDesign] = {
    "d1": ArmDesign(
        "D1 only", "the original model, trained on the golden trajectories of U1", recipe="golden", parts=("d1",)
    ),
    "golden": ArmDesign(
        "all golden",
        "the original model, trained on the golden trajectories of all tasks, U1 and U2",
        recipe="golden",
        parts=("golden",),
    ),
    "same-tasks": ArmDesign(
        "D1 + golden of D_r's tasks",
        "the original model, trained on D1 and on golden trajectories of exactly the tasks that D_r has, as many",
        recipe="golden",
        parts=("d1", "same-tasks"),
    ),
    "step": ArmDesign(
        "STeP: D1 + D_r, masked",
        "the original model, trained on D1 and D_r; error turns stay in the context and carry no loss",
        recipe="step",
        parts=("d1", "reflected"),
    ),
    "no-mask": ArmDesign(
        "STeP without mask",
        "the same trajectories, with loss on the error turns as on all others",
        recipe="step:masking=none",
        parts=("d1", "reflected"),
    ),
    "sequential": ArmDesign(
        "base, then D_r",
        "the base agent, trained further on D_r alone, masked",
        recipe="step",
        parts=("reflected",),
        from_base=True,
    ),
    "drop": ArmDesign(
        "STeP, errors dropped",
        "the same trajectories, without the error turns and the observations that answer them",
        recipe="step:masking=drop",
        parts=("d1", "reflected"),
    ),
    "corrections": ArmDesign(
        "corrections without reflection",
        "the original model, trained on D1 and D_r; corrections only say what to do next",
        recipe="corrections",
        parts=("d1", "reflected"),
    ),
    "scripted-errors": ArmDesign(
        "scripted errors",
        "the original model, trained as STeP on D1 and on a scripted agent's errors in U2, corrected",
        recipe="scripted-errors",
        parts=("d1", "scripted"),
    ),
    "dagger": ArmDesign(
        "DAgger",
        "the original model, trained on D1 and on the oracle's action in the states of the base agent's own episodes in U2",
        recipe="dagger",
        parts=("d1", "explored"),
    ),
    "rejection-sampling": ArmDesign(
        "rejection sampling",
        "the original model, trained on D1 and on the base agent's own successes in U2",
        recipe="rejection-sampling",
        parts=("d1", "explored"),
    ),
    "steca": ArmDesign(
        "STeCa",
        "the original model, trained on D1 and D_r: from the first correction on, each step weighted by its advantage",
        recipe="steca",
        parts=("d1", "valued"),
    ),
    "eto": ArmDesign(
        "ETO",
        "the base agent, trained to prefer golden trajectories of U2 to its own failures there",
        recipe="eto",
        parts=("golden", "explored"),
        from_base=True,
        on_pairs=True,
    ),
    "ipr": ArmDesign(
        "IPR",
        "as ETO, and with pairs of single steps from the same state, at the errors of D_r",
        recipe="ipr",
        parts=("golden", "explored", "reflected"),
        from_base=True,
        on_pairs=True,
    ),
}
"""Every arm that an experiment can have."""
