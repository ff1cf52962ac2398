"""STeCa (arXiv 2502.14276): expert steps after a deviation, and successes weighted by what their steps were worth."""

from collections import Counter
from collections.abc import Iterator

from typing_extensions import override

from step_envs.credit.advantages import step_advantages
from step_envs.errors import DataError
from step_envs.loss_weights import turn_weight
from step_envs.training.filters import Selection, is_golden
from step_envs.training.recipes.base import RecipeCard, SupervisedRecipe, TrainingStart
from step_envs.training.recipes.material import Material, with_turns
from step_envs.trajectory import Trajectory, Turn


class Steca(SupervisedRecipe):
    """Trains on calibration trajectories, golden ones and the agent's own successes, each step weighted by its advantage.

    In a *calibration trajectory* a teacher found a step that lost value and corrected it. What came before the correction
    is context, and the correction and everything after it are trained. The turns of all trajectories need values: run
    ``step-envs annotate`` first.

    Args:
        temperature: How fast a reply loses weight with the value that its step lost: it weighs
            ``exp(advantage / temperature)``.

    Raises:
        ValueError: The temperature is not above 0.
    """

    name = "steca"
    card = RecipeCard(
        title="STeCa",
        paper="2502.14276",
        signal="the value of the state falls with the step",
        data="calibration trajectories (deviation, reflection, expert steps), golden ones, the agent's successes; all with "
        "values",
        loss="negative log-likelihood, weighted by what each step was worth; nothing before a correction is trained",
        difference="the correction and what follows run in the world; weights are of single steps, by their advantage, "
        "where the paper weighs whole trajectories by a distance from the expert's",
    )
    command = "runs/golden-valued runs/reflected-valued"

    def __init__(self, temperature: float = 0.05) -> None:
        turn_weight("agent", advantage=0.0, temperature=temperature)  # checks it
        self.temperature = temperature

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        selection = start.select(material.trajectories)
        valued = [one for one in selection.kept if is_golden(one) or any(turn.value is not None for turn in one.turns)]
        unvalued = len(selection.kept) - len(valued)
        if unvalued and all(is_golden(one) for one in valued):
            raise DataError(
                f"None of the {unvalued} trajectories of an agent has values: write them with step-envs annotate, and "
                "train on its result."
            )
        kept = [one if is_golden(one) else with_turns(one, self._turns(one)) for one in valued]
        return Selection(kept, selection.dropped + Counter({"without values": unvalued}))

    def _turns(self, trajectory: Trajectory) -> Iterator[Turn]:
        corrected = any(turn.kind == "correction" for turn in trajectory.turns)
        for turn, advantage in zip(trajectory.turns, step_advantages(trajectory), strict=True):
            corrected = corrected and turn.kind != "correction"
            if not turn.loss:
                yield turn
            elif corrected:
                # The correction is still to come: this is the way to the deviation.
                yield turn.model_copy(update={"loss": 0.0})
            else:
                worth = turn_weight("agent", advantage=advantage, temperature=self.temperature)
                yield turn.model_copy(update={"loss": turn.loss * worth})
