"""Rejection sampling (RFT, arXiv 2308.01825; STaR): the agent's own successes."""

from collections import Counter, defaultdict

from typing_extensions import override

from step_envs.training.filters import Selection
from step_envs.training.recipes.base import (
    RecipeCard,
    SupervisedRecipe,
    TrainingStart,
    check_whole_number,
)
from step_envs.training.recipes.material import Material
from step_envs.trajectory import Trajectory


class RejectionSampling(SupervisedRecipe):
    """Trains on golden trajectories, and on episodes that the agent played alone and that reached the goal.

    Args:
        per_task: The most successes of a task, the shortest different ones; None keeps all. Without a limit, easy tasks
            come to fill the data.

    Raises:
        ValueError: ``per_task`` is below 1.
    """

    name = "rejection-sampling"
    card = RecipeCard(
        title="Rejection sampling (RFT)",
        paper="2308.01825",
        signal="the episode reached the goal",
        data="golden trajectories, and the agent's own successes",
        loss="negative log-likelihood of every reply",
        difference="several successes of a task count only if they differ",
    )
    command = "runs/golden runs/explored"

    def __init__(self, per_task: int | None = 4) -> None:
        if per_task is not None:
            check_whole_number("per_task", per_task, 1)
        self.per_task = per_task

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        golden, explored = start.select(material.golden), start.select(material.explored)
        dropped = golden.dropped + explored.dropped + Counter({"under a teacher": len(material.reflected)})
        taken: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place in sorted(range(len(explored.kept)), key=lambda place: explored.kept[place].steps):
            one = explored.kept[place]
            of_task = taken[one.env_id, one.task_id]
            if any(_actions(one) == _actions(explored.kept[other]) for other in of_task):
                dropped["the same as another success"] += 1
            elif self.per_task is not None and len(of_task) >= self.per_task:
                dropped["over per_task"] += 1
            else:
                of_task.append(place)
        places = sorted(place for of_task in taken.values() for place in of_task)
        return Selection([*golden.kept, *(explored.kept[place] for place in places)], dropped)


def _actions(trajectory: Trajectory) -> list[str | None]:
    return [turn.action for turn in trajectory.turns if turn.role == "assistant"]
