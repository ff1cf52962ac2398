"""The progress estimator of SPA-RL (arXiv 2505.20732): it is no policy, but tells what each step contributed."""

from collections import Counter
from pathlib import Path

from typing_extensions import override

from step_envs.training.progress.training import RECORD, ProgressConfig, train_progress_estimator
from step_envs.training.recipes.base import (
    PreparedTraining,
    Recipe,
    RecipeCard,
    TrainingStart,
    Watch,
    trainer_settings,
)
from step_envs.training.recipes.material import Material


class Estimator(Recipe):
    """Trains an estimator of progress on all episodes, whatever their outcome.

    Args:
        held_out: Share of the tasks that is not trained on, to measure how well their outcomes are predicted.

    Raises:
        ValueError: The share is not from 0 to 1.
    """

    name = "estimator"
    trainer = "train_progress_estimator"
    no_validation = "holds tasks out by its own option, estimator:held_out=0.1"
    command = "runs/explored"
    card = RecipeCard(
        title="Progress estimator",
        paper="2505.20732",
        signal="the final score of an episode",
        data="episodes with different outcomes, all replies",
        loss="squared error of the sum of the contributions of all replies against the final score",
        difference="a head on the hidden state at the end of each reply, where SPA-RL's is on the logits",
    )

    def __init__(self, held_out: float = 0.1) -> None:
        self.held_out = ProgressConfig(held_out=held_out).held_out

    @override
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        settings = trainer_settings(start.config, self.name)
        config = ProgressConfig.model_validate(settings | {"held_out": self.held_out})
        outcomes = Counter(one.score for one in material.trajectories)

        def train(out: Path, watch: Watch) -> Path:
            return train_progress_estimator(
                material.trajectories,
                model=start.model,
                out=out,
                config=config,
                tokenizer=start.tokenizer,
                on_trainer=watch.on_trainer,
            )

        return PreparedTraining(
            kept=len(material.trajectories),
            dropped=Counter(),
            unit="episodes",
            rows={"rows": len(material.trajectories), "outcomes": len(outcomes)},
            lines=[f"{len(material.trajectories):,} episodes with {len(outcomes)} different outcomes."],
            train=train,
            record=RECORD,
            try_it="step-envs annotate RUN --value estimator:model={out} --out RUN-valued",
        )
