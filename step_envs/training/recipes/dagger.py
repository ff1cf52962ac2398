"""DAgger (arXiv 1011.0686): what the expert would do in the states that the agent itself came to."""

from collections import Counter

from typing_extensions import override

from step_envs.training.expert_labels import label_episodes
from step_envs.training.filters import Selection
from step_envs.training.recipes.base import (
    RecipeCard,
    SupervisedRecipe,
    TrainingStart,
    check_whole_number,
)
from step_envs.training.recipes.material import Material


class Dagger(SupervisedRecipe):
    """Trains on golden trajectories, and on the oracle's action in every state of the agent's own episodes.

    Args:
        max_labels: The most states of an episode in which the oracle acts otherwise that are trained, drawn at random; None
            takes all. The default is about as many as STeP corrects.
        seed: Decides which are drawn.

    Raises:
        ValueError: ``max_labels`` is below 1.
    """

    name = "dagger"
    card = RecipeCard(
        title="DAgger",
        paper="1011.0686",
        signal="the oracle's action in the agent's own state",
        data="golden trajectories, and episodes that the agent played alone, also failed ones",
        loss="negative log-likelihood of the oracle's reply, and of the agent's own where both act alike",
        difference="one round on given episodes; at most two disagreements of each, because each is a conversation to read",
    )
    command = "runs/golden runs/explored"

    def __init__(self, max_labels: int | None = 2, *, seed: int = 0) -> None:
        if max_labels is not None:
            check_whole_number("max_labels", max_labels, 1)
        self.max_labels, self.seed = max_labels, seed

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        golden = start.select(material.golden)
        labelled, unknown = label_episodes(material.explored, max_labels=self.max_labels, seed=self.seed)
        # A teacher's words would be in the context, and what the agent learns there is how to go on after a reflection.
        dropped = golden.dropped + Counter({"under a teacher": len(material.reflected)}) + unknown
        return Selection([*golden.kept, *labelled], dropped)
