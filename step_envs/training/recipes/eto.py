"""ETO (arXiv 2403.02502): an episode that failed is set against the best success of the same task."""

from typing import Unpack

from typing_extensions import override

from step_envs.training.preferences.pair_data import PairReport, PreferencePair
from step_envs.training.preferences.pairs import trajectory_pairs
from step_envs.training.recipes.base import RecipeCard
from step_envs.training.recipes.material import Material
from step_envs.training.recipes.preference import PreferenceOptions, PreferenceRecipe


class Eto(PreferenceRecipe):
    """Trains a model that has learnt from golden trajectories to prefer successes to its own failures.

    Args:
        golden_only: Only golden trajectories can be chosen, as in ETO's first iteration.
        min_gap: Least difference of the final scores, 0 to 1.
        max_pairs: The most pairs of a task; None sets no limit.
        extra_rounds: Cut a failure after as many replies as the success has and this many more; None keeps it whole.
        **options: Options of all recipes on pairs; see ``PreferenceOptions``.

    Raises:
        ValueError: An option is out of range.
    """

    name = "eto"
    card = RecipeCard(
        title="ETO",
        paper="2403.02502",
        signal="the final score of an episode, beside that of another one of the same task",
        data="pairs of golden trajectories (or the agent's successes) and the agent's failures",
        loss="DPO over the replies of both episodes; no observation, prompt or teacher's turn counts",
        difference="observations are excluded exactly, whatever the template; the agent's own best can be chosen, too",
    )
    command = "runs/golden runs/explored"

    def __init__(
        self,
        *,
        golden_only: bool = False,
        min_gap: float = 0.0,
        max_pairs: int | None = None,
        extra_rounds: int | None = 5,
        **options: Unpack[PreferenceOptions],
    ) -> None:
        super().__init__(**options)
        self.golden_only, self.min_gap, self.max_pairs = golden_only, min_gap, max_pairs
        self.extra_rounds = extra_rounds
        self.pairs(Material([]))  # raises an error if an option is out of range

    @override
    def pairs(self, material: Material) -> tuple[list[PreferencePair], PairReport]:
        pairs, report = trajectory_pairs(
            [*material.golden, *material.explored],
            golden_only=self.golden_only,
            min_gap=self.min_gap,
            max_pairs=self.max_pairs,
            extra_rounds=self.extra_rounds,
        )
        # A teacher's words in the chosen episode would be preferred to the agent's own.
        report.left_out["under a teacher"] += len(material.reflected)
        return pairs, report
