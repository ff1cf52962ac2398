"""On-policy distillation (GKD, arXiv 2306.13649): the student plays, and a teacher model scores every token it wrote."""

from collections import Counter
from pathlib import Path
from typing import Any

from typing_extensions import override

from step_envs.training.distillation.config import DistillationConfig, IterationFigures
from step_envs.training.distillation.on_policy import RECORD, demonstrations, distill
from step_envs.training.exploration import same_tasks
from step_envs.training.recipes.base import (
    PreparedTraining,
    Recipe,
    RecipeCard,
    TrainingStart,
    Watch,
    trainer_settings,
)
from step_envs.training.recipes.material import Material
from step_envs.training.trainer_setup import TrainerConfig

_OTHERWISE = ("max_steps", "save_steps", "logging_steps", "epochs", "gradient_checkpointing")
"""Settings that have another name here, or no effect on the result."""
_SHARED = frozenset(TrainerConfig.model_fields) & frozenset(DistillationConfig.model_fields)


class Distillation(Recipe):
    """Trains a student towards a teacher's probabilities of the tokens that the student samples when it plays.

    ``--max-steps`` is the number of iterations, each with one optimizer step.

    Args:
        teacher: Folder of the teacher's checkpoint, with the tokenizer of the student. None takes the student's own start,
            which is told the actions of a trajectory that solved the task (self-distillation, arXiv 2601.19897).
        episodes: Episodes of an iteration.
        beta: Which divergence is minimised, from 1 (reverse KL) to 0 (forward KL).
        guided: Share of the turns that the teacher writes in the first iteration; it falls to 0 (arXiv 2606.15912).
        max_tokens: Most tokens of a reply.
        temperature: Sampling temperature.
        concurrency: Episodes that are played at once.

    Raises:
        ValueError: An option is out of range.
    """

    name = "distillation"
    trainer = "distill"
    command = "runs/golden"
    card = RecipeCard(
        title="On-policy distillation",
        paper="2306.13649",
        signal="a better model's probability of every token, or that of the same model when it is told the solution",
        data="the tasks of the golden runs (of all, if there are none), which the student plays",
        loss="divergence from the teacher over the whole vocabulary, on the tokens that the student sampled",
        difference="whole episodes in the world; the teacher's turns may guide the first ones; no text is tokenized twice",
    )

    def __init__(
        self,
        teacher: str | None = None,
        *,
        episodes: int = 32,
        beta: float = 1.0,
        guided: float = 0.0,
        max_tokens: int = 256,
        temperature: float = 1.0,
        concurrency: int = 64,
    ) -> None:
        self.teacher = teacher
        self.options: dict[str, Any] = {
            "episodes": episodes,
            "beta": beta,
            "guided": guided,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "concurrency": concurrency,
        }
        DistillationConfig.model_validate(self.options)  # raises an error if one of them does not fit

    @override
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        given = trainer_settings(start.config, self.name)
        usual = TrainerConfig().model_dump()
        unknown = sorted(
            name for name, value in given.items() if name not in (*_SHARED, *_OTHERWISE) and value != usual[name]
        )
        if unknown:
            raise ValueError(f"The recipe {self.name!r} does not know {', '.join(unknown)}: leave it away.")
        settings = {name: value for name, value in given.items() if name in _SHARED} | self.options
        if start.config.save_steps is not None:
            settings["save_every"] = start.config.save_steps
        if start.config.max_steps is not None:
            settings["iterations"] = start.config.max_steps
        config = DistillationConfig.model_validate(settings)
        trajectories = list(material.to_play())
        if self.teacher is None:
            # Only tasks that somebody solved have something that the teacher can be told.
            solved = demonstrations(trajectories)
            trajectories = [one for one in trajectories if one.task_id in solved]
        tasks = same_tasks(trajectories, "random").tasks or ()
        left_out = len({one.task_id for one in material.to_play()}) - len(tasks)

        def train(out: Path, watch: Watch) -> Path:
            return distill(
                trajectories,
                student=start.model,
                teacher=self.teacher,
                out=out,
                config=config,
                tokenizer=start.tokenizer,
                on_iteration=lambda figures: watch.on_line(iteration_line(figures)),
            )

        return PreparedTraining(
            kept=len(tasks),
            dropped=Counter({"that nobody solved": left_out}),
            unit="tasks",
            rows={"rows": len(tasks), "iterations": config.iterations, "episodes": config.iterations * config.episodes},
            lines=[f"{config.iterations} iterations of {config.episodes} episodes, on {len(tasks):,} tasks."],
            train=train,
            record=RECORD,
        )


def iteration_line(figures: IterationFigures) -> str:
    """Say what an iteration was like."""
    kl = "nothing was sampled" if figures.kl is None else f"KL {figures.kl:.3f}"
    return f"Iteration {figures.iteration}: {kl}, {figures.success:.0%} of the episodes succeeded."
