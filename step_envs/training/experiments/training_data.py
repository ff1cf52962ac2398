"""What the arms of an experiment are trained on, read from the files of its steps.

All arms take the same number of optimizer steps from the same original model. Equal epochs would give arms with more
data more compute, and the comparison would measure that. A step on pairs reads two episodes, and a step on trajectories
one, so arms on pairs have more compute per step.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from step_envs.file_reading import read_json
from step_envs.store import read_trajectories
from step_envs.training.experiments.arms import ARM_DESIGNS, Part
from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig
from step_envs.training.experiments.folders import ExperimentFolders
from step_envs.training.filters import Selection, select
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.recipes import Material
from step_envs.trajectory import Trajectory


@dataclass(frozen=True)
class ExperimentData:
    """The trajectories of an experiment.

    Attributes:
        golden: Golden trajectories of all tasks that the expert solved, in the order of the tasks.
        u1: The tasks U1.
        reflected: The filtered trajectories that were collected under the teacher.
        explored: What the base agent played alone, if an arm needs it.
        scripted: What a scripted agent played under the teacher, if an arm needs it.
        valued: The same as ``reflected``, with values, if an arm needs it.
    """

    golden: Sequence[Trajectory]
    u1: frozenset[str]
    reflected: Selection
    explored: Sequence[Trajectory] = ()
    scripted: Sequence[Trajectory] = ()
    valued: Sequence[Trajectory] = ()

    def part(self, part: Part) -> Sequence[Trajectory]:
        """Return a part of the trajectories."""
        match part:
            case "d1":
                return self.d1()
            case "same-tasks":
                return self.golden_of_reflected_tasks()
            case "reflected":
                return self.reflected.kept
            case "golden" | "explored" | "scripted" | "valued":
                found: Sequence[Trajectory] = getattr(self, part)
                return found

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
        recipe: Specification of its recipe.
        material: Trajectories that the recipe is given.
        from_base: Start from the base agent; if False, from the original model.
        config: How it is trained.
    """

    recipe: str
    material: Material
    from_base: bool
    config: FinetuneConfig


def arm_training(arm: Arm, data: ExperimentData, config: ExperimentConfig) -> ArmTraining:
    """Return how an arm is trained; all arms take the same number of steps from the original model."""
    whole, before = config.training.max_steps, config.base.max_steps
    assert whole is not None and before is not None  # the configuration requires both
    design = ARM_DESIGNS[arm]
    training = config.pairs if design.on_pairs else config.training
    steps = whole - before if design.from_base else whole
    return ArmTraining(
        recipe=design.recipe,
        material=Material.of(one for part in design.parts for one in data.part(part)),
        from_base=design.from_base,
        config=training.model_copy(update={"max_steps": steps}),
    )


def load_data(
    config: ExperimentConfig, folders: ExperimentFolders, parts: Collection[Part] = get_args(Part)
) -> ExperimentData:
    """Read the trajectories that arms are trained on, in the order of their tasks, from whichever worker collected them.

    Args:
        config: The experiment.
        folders: The folders of the seed.
        parts: The parts that are needed; what others come from is not read. A part that was not made is empty.
    """
    tasks = read_tasks(folders)

    def of_u2(folder: str, *needed_for: Part) -> list[Trajectory]:
        wanted = not set(needed_for).isdisjoint(parts) and (folders.data / folder).exists()
        return _parts(config, folders.data / folder, tasks["u2"]) if wanted else []

    return ExperimentData(
        golden=select(_parts(config, folders.data / "golden", (*tasks["u1"], *tasks["u2"]))).kept,
        u1=frozenset(tasks["u1"]),
        reflected=select(of_u2("collected", "reflected", "same-tasks"), max_errors=config.max_errors),
        explored=of_u2("explored", "explored"),
        scripted=select(of_u2("scripted", "scripted"), max_errors=config.max_errors).kept,
        valued=select(of_u2("valued", "valued"), max_errors=config.max_errors).kept,
    )


def read_tasks(folders: ExperimentFolders) -> dict[str, list[str]]:
    """Read the tasks of U1, U2 and the held-out set."""
    found: dict[str, list[str]] = read_json(folders.tasks)
    return found


def _parts(config: ExperimentConfig, runs: Path, tasks: Iterable[str]) -> list[Trajectory]:
    place = {task: index for index, task in enumerate(tasks)}
    trajectories = [one for part in range(config.workers) for one in read_trajectories(runs / str(part))]
    return sorted(trajectories, key=lambda one: place[one.task_id])
