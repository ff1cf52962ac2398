"""Values by a learned estimator of progress (SPA-RL, arXiv 2505.20732): from outcomes alone, without oracle or world.

A language model reads the episode and says at the end of every reply what the reply contributes to the final score. It was
trained on nothing but final scores: what it expects at the start and all contributions add up to the score. So the value
after a reply is the sum of everything up to there: the part of the final score that is counted as reached. The scores are
not discounted, so the advantage of a step, the difference of two values, is its contribution.
"""

from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from step_envs.credit.episode_tokens import acting_replies
from step_envs.credit.value_functions import ValueFunction
from step_envs.errors import missing_package
from step_envs.trajectory import Actor, Trajectory

if TYPE_CHECKING:
    from step_envs.credit.estimator_model import EstimatorModel


class ProgressEstimator(ValueFunction):
    """What a state is worth according to an estimator that was trained with ``train_progress_estimator``.

    It reads a reply and not yet the answer of the world to it. An episode that does not fit into the model's context, even
    with its old observations shortened, gets no values.

    Args:
        model: Folder of the estimator.
        device: ``"auto"`` means a GPU if there is one; else a device name of torch.
        dtype: ``"auto"`` means ``"bfloat16"`` on a GPU that supports it, else ``"float32"``.

    Raises:
        DataError: The folder holds no complete estimator.
        TemplateError: Its tokenizer cannot turn a conversation into text.
        ValueError: There is no such device or number type.
        gymnasium.error.DependencyNotInstalled: torch or transformers is not installed.
    """

    name: ClassVar[str] = "estimator"

    def __init__(self, model: str, *, device: str = "auto", dtype: str = "auto") -> None:
        try:
            from step_envs.credit.estimator_model import shared_estimator
        except ModuleNotFoundError as error:
            raise missing_package(error.name or "torch", "A progress estimator", "train") from error
        self._folder = str(model)
        # All estimators of a process that name the same folder share one loaded model: threads have one each.
        self._model: EstimatorModel = shared_estimator(self._folder, device, dtype)

    @override
    def describe(self) -> Actor:
        """Return the name, the folder of the model, and the discount, which advantages are computed with."""
        return Actor(name=self.name, model=self._folder, params={"model": self._folder, "discount": 1.0})

    def contributions(self, trajectory: Trajectory) -> list[float] | None:
        """Predict what each reply contributes to the final score, not cut to any range.

        Returns:
            What is expected at the start, then one number for each reply. None if the episode has no reply or does not fit
            into the model's context.

        Raises:
            TemplateError: The chat template of the model cannot be used with this episode.
        """
        return self._model.contributions(trajectory)

    @override
    def values(self, trajectory: Trajectory) -> list[float | None]:
        """Value an episode: the sum of the contributions up to each reply, cut to 0 to 1.

        Raises:
            TemplateError: The chat template of the model cannot be used with this episode.
            ValueError: A contribution is no number.
        """
        found: list[float | None] = [None] * len(trajectory.turns)
        contributions = self.contributions(trajectory)
        if contributions is None:
            return found
        replies = acting_replies(trajectory)
        for turn, value in zip((replies[0] - 1, *replies), accumulate(contributions), strict=True):
            if value != value:
                raise ValueError(f"The estimator in {self._folder} predicts {value} for turn {turn}: train it again.")
            found[turn] = min(1.0, max(0.0, value))
        return found
