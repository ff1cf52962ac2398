"""IPR (arXiv 2406.11176): single steps from the same state are set against each other, beside whole episodes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from typing_extensions import override

from step_envs.training.preferences.pair_data import PairReport, PreferencePair
from step_envs.training.preferences.pairs import step_pairs, trajectory_pairs
from step_envs.training.recipes.base import RecipeCard
from step_envs.training.recipes.material import Material
from step_envs.training.recipes.preference import PreferenceOptions, PreferenceRecipe


class Ipr(PreferenceRecipe):
    """Trains a model to prefer the right step to the wrong one, and successes to its own failures.

    Args:
        episodes: Also train on pairs of whole episodes, as ``eto`` does.
        confirmed: Leave out pairs of steps that the oracle does not confirm.
        **options: Options of all recipes on pairs; see ``PreferenceOptions``.

    Raises:
        ValueError: An option is out of range.
    """

    name = "ipr"
    card = RecipeCard(
        title="IPR, step-wise DPO",
        paper="2406.11176",
        signal="a teacher judged a step wrong, and another step was right in the same state",
        data="pairs of single replies from the same snapshot; pairs of whole episodes",
        loss="DPO over the two replies, and over the replies of both episodes, plus the likelihood of the chosen side",
        difference="both replies start from the same bytes, and the oracle can confirm the pair; the paper estimates step "
        "rewards by five rollouts",
    )
    command = "runs/golden runs/explored runs/reflected"

    sft_weight = 1.0
    explorations: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "explored": {},
        # Both replies of a pair answer the same state if the wrong one never runs.
        "reflected": {"teacher": "step_reward", "intervene": "before"},
    }

    def __init__(self, *, episodes: bool = True, confirmed: bool = False, **options: Unpack[PreferenceOptions]) -> None:
        super().__init__(**options)
        self.episodes, self.confirmed = episodes, confirmed

    @override
    def pairs(self, material: Material) -> tuple[list[PreferencePair], PairReport]:
        pairs, report = step_pairs(material.reflected, confirmed=self.confirmed)
        if self.episodes:
            whole, whole_report = trajectory_pairs([*material.golden, *material.explored], extra_rounds=5)
            pairs += whole
            report = report + whole_report
        return pairs, report
