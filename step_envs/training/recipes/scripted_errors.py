"""Errors injected by a script: the cheapest source of mistakes and corrections, because no model has to act."""

from collections import Counter

from typing_extensions import override

from step_envs.training.filters import Selection
from step_envs.training.recipes.base import RecipeCard, TrainingStart
from step_envs.training.recipes.material import Material
from step_envs.training.recipes.step import Step


class ScriptedErrors(Step):
    """Trains as ``step`` does, on the errors of scripted agents alone."""

    name = "scripted-errors"
    card = RecipeCard(
        title="Scripted errors",
        paper="",
        signal="a script made the error, so it is known",
        data="golden trajectories, and those of a scripted agent (`novice`) under a teacher",
        loss="negative log-likelihood; wrong steps stay in the context and carry no loss",
    )
    command = "runs/golden runs/novice"

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        scripted = [one for one in material.trajectories if one.agent.model is None]
        selection = start.select(scripted)
        models = len(material.trajectories) - len(scripted)
        return Selection(selection.kept, selection.dropped + Counter({"of an agent that is a model": models}))
