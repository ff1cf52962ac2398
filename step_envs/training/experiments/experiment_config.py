"""Every setting of an experiment in one validated object, which is kept as ``config.json``.

The validator refuses settings under which arms would not have the same compute, because a comparison of such arms means
nothing.
"""

import json
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from step_envs.training.experiments.worlds import Purpose, experiment_world
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.tiny_model import TinyModelSize

Arm = Literal[
    "d1",
    "golden",
    "same-tasks",
    "step",
    "no-mask",
    "sequential",
    "drop",
    "corrections",
    "scripted-errors",
    "dagger",
    "rejection-sampling",
    "steca",
    "eto",
    "ipr",
]

ARMS: tuple[Arm, ...] = get_args(Arm)
"""All arms that there are; ``arms.ARM_DESIGNS`` describes them."""

STEP_ARMS: tuple[Arm, ...] = ("d1", "golden", "same-tasks", "step", "no-mask", "sequential")
"""The arms of the STeP paper, and of an experiment that names no others."""

SharedStages = Literal["nothing", "original", "data"]
"""What the seeds of an experiment share; see ``ExperimentConfig.shared``."""


class Pretraining(BaseModel):
    """How a tiny model with random weights becomes the original model.

    Attributes:
        size: Size of the model.
        play: Number of episodes of random play.
        play_steps: Step limit of these episodes.
        samples: Number of corrected episodes; only the tokenizer learns from them.
        copying: Number of copying sequences.
        training: How the model is trained on random play and copying sequences; None leaves its weights random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: TinyModelSize
    play: int = Field(ge=0)
    play_steps: int = Field(12, ge=1)
    samples: int = Field(300, ge=6)
    copying: int = Field(ge=0)
    training: FinetuneConfig | None

    @model_validator(mode="after")
    def _consistent(self) -> "Pretraining":
        if (self.training is None) != (self.play + self.copying == 0):
            raise ValueError(
                "play and copying are what is trained on: without training both must be 0, with it one is more"
            )
        return self


class Gate(BaseModel):
    """What the base agent has to be like before arms are trained.

    An agent that fails because it cannot copy names, or that hardly ever fails, cannot show what correcting mistakes does.

    Attributes:
        success: Lowest and highest share of held-out tasks in which it succeeds.
        invalid: Highest share of replies without an effect.
        stop: Stop the experiment where the gate is not met; if False, the report says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    success: tuple[float, float] = (0.4, 0.7)
    invalid: float = Field(0.15, ge=0, le=1)
    stop: bool = False

    @field_validator("success")
    @classmethod
    def _ordered(cls, success: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= success[0] < success[1] <= 1:
            raise ValueError(f"two shares from 0 to 1, the lower one first, got {success}")
        return success

    def met(self, success: float, invalid: float) -> bool:
        """Return True if a base agent with these shares meets the gate."""
        return self.success[0] <= success <= self.success[1] and invalid <= self.invalid


class ExperimentConfig(BaseModel):
    """Everything that an experiment is started with; kept verbatim as ``config.json``.

    Attributes:
        name: Name of the preset that it comes from.
        env: Id of the environment.
        env_options: Its options, without ``max_steps``.
        model: The original model: a folder or a name on the hub; None makes a tiny one, see ``pretraining``.
        download: Download the model if it is not on this machine.
        pretraining: How the original model is made if none is named.
        teacher: Who watches the base agent, e.g. ``oracle`` or ``openai:model=...``.
        style: Where the manual goes; see ``ReActWrapper``.
        max_steps: Step limit of all episodes: golden, collected and evaluated.
        tasks: Number of tasks with a golden trajectory; one half is U1 (for the base agent), the other U2 (played under the
            teacher).
        held_out: Number of tasks for evaluation.
        max_errors: Errors corrected in an episode.
        base: How the base agent is trained; also the first part of the arm ``sequential``.
        training: How every arm is trained; its ``max_steps`` is the compute that all arms share.
        pairs: How arms on preference pairs are trained, apart from ``max_steps``.
        arms: The arms to compare.
        against: The arms that STeP is compared with first. These comparisons are corrected for their own number; the
            comparisons with all other arms are a second family.
        seeds: Training seeds; each arm is trained once with each of them.
        shared: What the seeds share: ``nothing`` (each draws tasks, original model, base agent and D_r anew), ``original``
            (the original model), or ``data`` (all but the final training and its evaluation).
        seed: Seed of whatever is shared.
        gate: What the base agent has to be like; None asks nothing.
        margin: The smallest difference in success that matters.
        judged: Held-out tasks of each arm whose steps are judged by the oracle's distance to success.
        max_tokens: Longest reply, in tokens.
        concurrency: Episodes that a model plays at once.
        workers: Processes that play, train and evaluate at once.
        threads: Threads of each process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    env: str = "STeP-ALFWorld-v0"
    env_options: dict[str, Any] = Field(default_factory=dict)
    model: str | None = None
    download: bool = False
    pretraining: Pretraining | None = None
    teacher: str = "oracle"
    style: Literal["eto", "system", "plain"] = "plain"
    max_steps: int = Field(20, ge=1)
    tasks: int = Field(ge=12)
    held_out: int = Field(ge=6)
    max_errors: int = Field(2, ge=0)
    base: FinetuneConfig
    training: FinetuneConfig
    pairs: FinetuneConfig = FinetuneConfig(learning_rate=1e-6, batch_size=4, accumulate=4)
    arms: tuple[Arm, ...] = STEP_ARMS
    against: tuple[Arm, ...] = ("same-tasks", "no-mask", "dagger")
    seeds: tuple[int, ...] = Field((0, 1), min_length=1)
    shared: SharedStages = "nothing"
    seed: int = 0
    gate: Gate | None = Gate()
    margin: float = Field(0.05, gt=0)
    judged: int = Field(60, ge=0)
    max_tokens: int = Field(96, ge=1)
    concurrency: int = Field(64, ge=1)
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1)

    @field_validator("env_options")
    @classmethod
    def _as_json(cls, options: dict[str, Any]) -> dict[str, Any]:
        # As it will be read from config.json: a resumed experiment is compared with it.
        plain: dict[str, Any] = json.loads(json.dumps(options))
        return plain

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("every seed once: the same seed twice is one replication that counts double")
        if min(seeds) < 0 or max(seeds) > 99:
            raise ValueError("seeds go from 0 to 99: each has tasks of its own")
        return seeds

    @model_validator(mode="after")
    def _consistent(self) -> "ExperimentConfig":
        experiment_world(self.env)
        if "max_steps" in self.env_options:
            raise ValueError("max_steps is a setting of the experiment: leave it out of env_options")
        if (self.model is None) == (self.pretraining is None):
            raise ValueError("either a model is named, or pretraining says how one is made")
        if self.base.max_steps is None or self.training.max_steps is None:
            raise ValueError("base and training need max_steps: it is the compute that arms share")
        if self.base.max_steps >= self.training.max_steps:
            raise ValueError("base.max_steps must be below training.max_steps, the rest is what sequential trains on")
        if self.pairs.packing or self.pairs.loop != "trl":
            raise ValueError("pairs must not set packing or loop: pairs are trained on by TRL's trainer")
        for config in (self.base, self.training, self.pairs):
            if (config.save_steps or config.logging_steps) % config.logging_steps:
                raise ValueError("save_steps must be a multiple of logging_steps, or the log depends on interruptions")
        if self.base.lora_rank or self.training.lora_rank or self.pairs.lora_rank:
            raise ValueError("lora_rank must not be set: arms go on from whole checkpoints")
        parts = ("batch_size", "accumulate", "max_length", "packing", "loop")
        if any(getattr(self.base, part) != getattr(self.training, part) for part in parts):
            different = ", ".join(part for part in parts if getattr(self.base, part) != getattr(self.training, part))
            raise ValueError(f"base and training must have the same {different}, or their steps are not one compute")
        return self

    def task_ids(self, purpose: Purpose, draw: int) -> tuple[str, ...]:
        """Draw the tasks for a purpose.

        Args:
            purpose: What for.
            draw: Number of the draw, which is the training seed unless the seeds share their data.

        Raises:
            DataError: The world has not so many.
        """
        made = self.pretraining
        if purpose == "golden":
            count = self.tasks
        elif purpose == "held_out":
            count = self.held_out
        else:
            count = 0 if made is None else getattr(made, purpose)
        return experiment_world(self.env).draw_tasks(self.env_options, purpose, count, draw)

    def world_options(self, draw: int, **changes: Any) -> dict[str, Any]:
        """Return the keyword arguments of the environment for the tasks of a draw."""
        return experiment_world(self.env).options_of(self.env_options, draw) | {"max_steps": self.max_steps} | changes
