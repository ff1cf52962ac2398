"""The settings of an experiment, and the presets that come with the package.

A ``Preset`` is one validated object with every setting; it is kept as ``config.json``. Its validator refuses settings under
which arms would not have the same compute, because a comparison of such arms means nothing.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.generation.household import HouseholdSize
from step_envs.alfworld.generation.task_ids import SEEDS, make_task_id
from step_envs.errors import unknown_name
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.tiny_model import TinyModelSize

Arm = Literal["d1", "golden", "same-tasks", "step", "no-mask", "sequential"]

ARMS: tuple[Arm, ...] = get_args(Arm)

# First seed of the tasks for each purpose, within the train split; far enough apart that purposes share no task.
_FIRST_SEED = {"golden": 0, "play": 500_000, "samples": 900_000}


class Pretraining(BaseModel):
    """How a tiny model with random weights becomes the original model.

    Attributes:
        size: Size of the model.
        play: Number of episodes of random play.
        play_steps: Step limit of these episodes.
        samples: Number of corrected episodes; only the tokenizer learns from them.
        copying: Number of copying sequences.
        training: How the model is trained on random play and copying sequences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: TinyModelSize
    play: int = Field(ge=6)
    play_steps: int = Field(12, ge=1)
    samples: int = Field(300, ge=6)
    copying: int = Field(ge=1)
    training: FinetuneConfig


class Preset(BaseModel):
    """Everything that an experiment is started with; kept verbatim as ``config.json``.

    Attributes:
        name: Name of the preset.
        model: The original model: a folder or a name on the hub; None makes a tiny one, see ``pretraining``.
        download: Download the model if it is not on this machine.
        pretraining: How the original model is made if none is named.
        household: Size of the households.
        thoughts: Wording of the oracles' thoughts.
        style: Where the manual goes; see ``ReActWrapper``.
        max_steps: Step limit of all episodes: golden, collected and evaluated.
        tasks: Number of tasks with a golden trajectory; one half is U1 (for the base agent), the other U2 (played under the
            teacher).
        held_out: Number of tasks for evaluation, from ``valid_unseen``.
        max_errors: Errors corrected in an episode.
        base: How the base agent is trained; also the first part of the arm ``sequential``.
        training: How every arm is trained; its ``max_steps`` is the compute that all arms share.
        arms: The arms to compare.
        seeds: Training seeds; each arm is trained once with each of them.
        seed: Decides everything else: the halves of the tasks and their order.
        max_tokens: Longest reply, in tokens.
        concurrency: Episodes that a model plays at once.
        workers: Processes that play, train and evaluate at once.
        threads: Threads of each process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: str | None = None
    download: bool = False
    pretraining: Pretraining | None = None
    household: HouseholdSize = "small"
    thoughts: Literal["varied", "brief"] = "brief"
    style: Literal["eto", "system", "plain"] = "plain"
    max_steps: int = Field(20, ge=1)
    tasks: int = Field(ge=12)
    held_out: int = Field(ge=6)
    max_errors: int = Field(2, ge=0)
    base: FinetuneConfig
    training: FinetuneConfig
    arms: tuple[Arm, ...] = ARMS
    seeds: tuple[int, ...] = Field((0, 1), min_length=1)
    seed: int = 0
    max_tokens: int = Field(96, ge=1)
    concurrency: int = Field(64, ge=1)
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Preset":
        if (self.model is None) == (self.pretraining is None):
            raise ValueError("either a model is named, or pretraining says how one is made")
        if self.base.max_steps is None or self.training.max_steps is None:
            raise ValueError("base and training need max_steps: it is the compute that arms share")
        if self.base.max_steps >= self.training.max_steps:
            raise ValueError("base.max_steps must be below training.max_steps, the rest is what sequential trains on")
        for config in (self.base, self.training):
            if (config.save_steps or config.logging_steps) % config.logging_steps:
                raise ValueError("save_steps must be a multiple of logging_steps, or the log depends on interruptions")
        if self.base.lora_rank or self.training.lora_rank:
            raise ValueError("lora_rank must not be set: arms go on from whole checkpoints")
        parts = ("batch_size", "accumulate", "max_length", "packing", "loop")
        if any(getattr(self.base, part) != getattr(self.training, part) for part in parts):
            different = ", ".join(part for part in parts if getattr(self.base, part) != getattr(self.training, part))
            raise ValueError(f"base and training must have the same {different}, or their steps are not one compute")
        return self

    def task_ids(self, purpose: Literal["golden", "play", "samples", "held_out"]) -> tuple[str, ...]:
        """List the tasks for a purpose; no task serves two purposes."""
        if purpose == "held_out":
            first, count = SEEDS["valid_unseen"].start, self.held_out
        else:
            first = _FIRST_SEED[purpose]
            made = self.pretraining
            count = self.tasks if purpose == "golden" else 0 if made is None else getattr(made, purpose)
        number = len(TASK_TYPES)
        return tuple(make_task_id(TASK_TYPES[i % number], first + i // number, self.household) for i in range(count))

    def env_options(self, **changes: Any) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        options: dict[str, Any] = {
            "household": self.household,
            "source": "generated",
            "expert": "explorer",
            "thoughts": self.thoughts,
            "max_steps": self.max_steps,
        }
        return options | changes


# This count is saved with checkpoints, unlike TRL's own, so it does not depend on interruptions.
_COUNTED = {"include_num_input_tokens_seen": "all"}
# TRL's trainer for a named model, with the same number of tokens per step as the loop for tiny models.
_NAMED_MODEL: dict[str, Any] = {"loop": "trl", "batch_size": 1, "accumulate": 2, "trainer": _COUNTED}


def _small(steps: int, learning_rate: float, **further: Any) -> FinetuneConfig:
    options: dict[str, Any] = {
        "loop": "small",
        "batch_size": 2,
        "accumulate": 1,
        "packing": True,
        "max_length": 512,
        "warmup": 0.05,
        "weight_decay": 0.01,
        "logging_steps": 25,
        "gradient_checkpointing": False,
    }
    return FinetuneConfig(max_steps=steps, learning_rate=learning_rate, **options | further)


def _large(steps: int, learning_rate: float) -> FinetuneConfig:
    return FinetuneConfig(
        max_steps=steps,
        learning_rate=learning_rate,
        # The attention sees the packed rows of a batch as one sequence, and its cost grows with the square of the length.
        batch_size=4,
        accumulate=2,
        packing=True,
        max_length=2048,
        warmup=0.05,
        weight_decay=0.01,
        gradient_checkpointing=False,
        save_steps=200,
        trainer=_COUNTED,
    )


PRESETS: dict[str, Preset] = {
    "smoke": Preset(
        name="smoke",
        pretraining=Pretraining(
            size=TinyModelSize(vocabulary=600, width=32, layers=2, heads=2),
            play=12,
            samples=12,
            copying=40,
            training=_small(4, 4e-3, save_steps=2, logging_steps=2),
        ),
        tasks=24,
        held_out=6,
        base=_small(4, 4e-3, save_steps=2, logging_steps=2),
        training=_small(6, 4e-3, save_steps=2, logging_steps=2),
        # An agent that has learnt nothing reaches the goal by corrections alone.
        max_steps=24,
        max_errors=24,
        max_tokens=24,
        workers=1,
    ),
    "cpu": Preset(
        name="cpu",
        pretraining=Pretraining(
            size=TinyModelSize(),
            play=3000,
            copying=12_000,
            training=_small(2200, 3e-3, save_steps=500),
        ),
        tasks=7000,
        held_out=300,
        base=_small(1500, 3e-3, save_steps=500),
        training=_small(1900, 3e-3, save_steps=500),
    ),
    "gpu": Preset(
        name="gpu",
        pretraining=Pretraining(
            size=TinyModelSize(width=768, layers=14, heads=12, context=4096),
            play=10_000,
            copying=30_000,
            training=_large(1200, 6e-4),
        ),
        household="full",
        max_steps=30,
        tasks=20_000,
        held_out=504,
        base=_large(200, 3e-4),
        training=_large(320, 3e-4),
        seeds=(0, 1, 2),
        concurrency=256,
        workers=4,
        threads=4,
    ),
}
"""The experiments that come with the package."""


def preset(name: str, *, model: str | None = None, download: bool = False) -> Preset:
    """Return a preset, with another original model if one is named.

    Args:
        name: One of ``PRESETS``.
        model: Folder of a checkpoint, or its name on the hub. It gets a learning rate for pretrained models, and the
            world's manual in its prompt.
        download: Download the model if it is not on this machine.

    Raises:
        UnknownNameError: There is no such preset.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    chosen = PRESETS[name]
    if model is None:
        return chosen
    pretrained: dict[str, Any] = {"learning_rate": 2e-5}
    changes: dict[str, Any] = {
        "name": f"{name} with {model}",
        "model": model,
        "download": download,
        "pretraining": None,
        "style": "eto",
        "thoughts": "varied",
        "max_tokens": 256,
    }
    for part in ("base", "training"):
        config: FinetuneConfig = getattr(chosen, part)
        if config.loop == "small":
            config = config.model_copy(update=_NAMED_MODEL)
        changes[part] = config.model_copy(update=pretrained | {"max_length": max(config.max_length or 0, 2048)})
    return Preset.model_validate(chosen.model_copy(update=changes).model_dump())


def with_changes(chosen: Preset, changes: dict[str, Any]) -> Preset:
    """Replace single parts of a preset.

    Args:
        chosen: The preset.
        changes: Name, or ``part.name`` -> value; e.g. ``{"training.max_steps": 300}``.

    Raises:
        UnknownNameError: There is no part of that name.
        pydantic.ValidationError: A value does not fit.
    """
    values = chosen.model_dump()
    for name, value in changes.items():
        part: Any = values
        *path, last = name.split(".")
        for key in path:
            part = part[key] if isinstance(part.get(key), dict) else {}
        if last not in part:
            raise unknown_name("part of the preset", name, _names(chosen.model_dump()))
        part[last] = value
    return Preset.model_validate(values)


def with_settings(chosen: Preset, settings: Mapping[str, Any]) -> Preset:
    """Replace the parts of a preset that are in a table of settings; tables inside it replace single parts, too.

    Args:
        chosen: The preset.
        settings: Name -> value, as in ``config.json``; it need not be complete.

    Raises:
        UnknownNameError: There is no part of that name.
        pydantic.ValidationError: A value does not fit.
    """
    return with_changes(chosen, _dotted(settings, chosen.model_dump()))


def _dotted(settings: Mapping[str, Any], current: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Name the values of nested tables by one dotted name each, as ``with_changes`` takes them."""
    named: dict[str, Any] = {}
    for name, value in settings.items():
        inner = current.get(name)
        # The options of TRL's trainer are one value: which names they may have is TRL's to say.
        if isinstance(value, Mapping) and isinstance(inner, Mapping) and name != "trainer":
            named |= _dotted(value, inner, f"{before}{name}.")
        else:
            named[f"{before}{name}"] = value
    return named


def _names(values: dict[str, Any], before: str = "") -> list[str]:
    names = []
    for name, value in values.items():
        names += _names(value, f"{before}{name}.") if isinstance(value, dict) and value else [f"{before}{name}"]
    return names
