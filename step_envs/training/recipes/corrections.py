"""STeP without the reflection: the correction is trained, and nothing is said of the error.

What is left of STeP's gain without the words of reflection tells whether the words matter, or only that the model has seen
what to do after a mistake.
"""

from typing_extensions import override

from step_envs.replies import reply_format
from step_envs.training.filters import Selection
from step_envs.training.recipes.base import RecipeCard, SupervisedRecipe, TrainingStart
from step_envs.training.recipes.material import Material, with_turns
from step_envs.trajectory import Trajectory, Turn, Verdict


class Corrections(SupervisedRecipe):
    """Trains as ``step`` does, with corrections whose thought only says what to do next.

    Args:
        thought: ``plan`` keeps the part of the verdict that says what should be done (``Verdict.reflection``); ``none``
            leaves the thought empty.

    Raises:
        ValueError: ``thought`` is neither.
    """

    name = "corrections"
    card = RecipeCard(
        title="Corrections without reflection",
        paper="",
        signal="a teacher judges each step while the agent acts",
        data="golden and reflected trajectories, each correction without the words on what was wrong and why",
        loss="negative log-likelihood; wrong steps stay in the context and carry no loss",
    )
    command = "runs/golden runs/reflected"

    def __init__(self, thought: str = "plan") -> None:
        if thought not in ("plan", "none"):
            raise ValueError(f"thought must be 'plan' or 'none', got {thought!r}.")
        self.thought = thought

    @override
    def choose(self, material: Material, start: TrainingStart) -> Selection:
        selection = start.select(material.trajectories)
        return Selection([self._without_reflection(one) for one in selection.kept], selection.dropped)

    def _without_reflection(self, trajectory: Trajectory) -> Trajectory:
        write = reply_format(trajectory.protocol.get("reply_format", "react")).write
        turns: list[Turn] = []
        verdict: Verdict | None = None
        for turn in trajectory.turns:
            if turn.kind == "correction" and turn.action is not None:
                said = verdict.reflection if verdict is not None and self.thought == "plan" else None
                turn = turn.model_copy(update={"content": write(said or "", turn.action)})
            if turn.role == "assistant":
                verdict = turn.verdict
            turns.append(turn)
        return with_turns(trajectory, turns)
