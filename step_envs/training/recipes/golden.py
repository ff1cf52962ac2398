"""Behaviour cloning: training on golden trajectories alone."""

from collections import Counter

from typing_extensions import override

from step_envs.training.filters import Selection
from step_envs.training.recipes.base import RecipeCard, SupervisedRecipe, TrainingStart
from step_envs.training.recipes.material import Material


class Golden(SupervisedRecipe):
    """Trains on what an expert did, and on nothing else."""

    name = "golden"
    card = RecipeCard(
        title="Behaviour cloning (SFT)",
        paper="",
        signal="an expert acted",
        data="golden trajectories",
        loss="negative log-likelihood of every reply",
    )
    command = "runs/golden"

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        selection = start.select(material.golden)
        others = len(material.reflected) + len(material.explored)
        return Selection(selection.kept, selection.dropped + Counter({"of an agent": others}))
