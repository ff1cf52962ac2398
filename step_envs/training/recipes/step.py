"""STeP (arXiv 2505.20023): golden trajectories, and an agent's own with errors, reflections and corrections."""

from typing_extensions import override

from step_envs.loss_weights import Masking
from step_envs.training.filters import Selection
from step_envs.training.masking import check_error_weight, check_masking
from step_envs.training.recipes.base import RecipeCard, SupervisedRecipe, TrainingStart
from step_envs.training.recipes.material import Material


class Step(SupervisedRecipe):
    """Trains on all trajectories that reach the goal with few errors; the errors themselves carry no loss.

    Args:
        masking: How error turns are trained on: ``partial``, ``none`` or ``drop``; see ``masked_messages``.
        error_weight: Weight of error turns under the mask ``partial``, from 0 to 1.

    Raises:
        UnknownNameError: There is no such mask.
        ValueError: The weight is out of range, or does not go with the mask.
    """

    name = "step"
    card = RecipeCard(
        title="STeP",
        paper="2505.20023",
        signal="a teacher judges each step while the agent acts",
        data="golden and reflected trajectories that reach the goal with few errors",
        loss="negative log-likelihood; wrong steps stay in the context and carry no loss",
        difference="the wrong step and the correction both run in the world; three masks and weights in between",
    )
    command = "runs/golden runs/reflected"

    def __init__(self, masking: Masking = "partial", error_weight: float = 0.0) -> None:
        self.masking = check_masking(masking)
        self.error_weight = check_error_weight(error_weight, self.masking)

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        return start.select(material.trajectories)
