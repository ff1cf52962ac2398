"""The experiments that come with the package, and how their settings are replaced."""

from collections.abc import Mapping
from typing import Any

from step_envs.errors import unknown_name
from step_envs.training.experiments.experiment_config import ExperimentConfig, Pretraining
from step_envs.training.experiments.worlds import EXPERIMENT_WORLDS, experiment_world
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.tiny_model import TinyModelSize

_ALFWORLD = EXPERIMENT_WORLDS["STeP-ALFWorld-v0"]

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


def _small_pairs(learning_rate: float, **further: Any) -> FinetuneConfig:
    options: dict[str, Any] = {
        "batch_size": 4,
        "max_length": 2048,
        "warmup": 0.05,
        "logging_steps": 25,
        "gradient_checkpointing": False,
        "trainer": _COUNTED,
    }
    return FinetuneConfig(learning_rate=learning_rate, **options | further)


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


PRESETS: dict[str, ExperimentConfig] = {
    "smoke": ExperimentConfig(
        name="smoke",
        env_options=dict(_ALFWORLD.tiny_options),
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
        pairs=_small_pairs(1e-3, save_steps=2, logging_steps=2),
        # An agent that has learnt nothing reaches the goal by corrections alone.
        max_steps=24,
        max_errors=24,
        max_tokens=24,
        workers=1,
    ),
    "cpu": ExperimentConfig(
        name="cpu",
        env_options=dict(_ALFWORLD.tiny_options),
        pretraining=Pretraining(
            size=TinyModelSize(),
            play=3000,
            copying=12_000,
            training=_small(2200, 3e-3, save_steps=500),
        ),
        tasks=7000,
        held_out=300,
        seeds=tuple(range(8)),
        base=_small(1500, 3e-3, save_steps=500),
        training=_small(1900, 3e-3, save_steps=500),
        pairs=_small_pairs(2e-5, save_steps=500),
    ),
    "gpu": ExperimentConfig(
        name="gpu",
        pretraining=Pretraining(
            size=TinyModelSize(width=768, layers=14, heads=12, context=4096),
            play=10_000,
            copying=30_000,
            training=_large(1200, 6e-4),
        ),
        env_options=dict(_ALFWORLD.tiny_options) | {"household": "full"},
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
"""The experiments that come with the package, in ALFWorld; ``preset`` takes them to the other worlds."""

_IN_WORLD: dict[str, dict[str, dict[str, Any]]] = {
    "STeP-WebShop-v0": {
        "smoke": {"max_steps": 10, "max_errors": 10, "env_options.size": 200},
        "cpu": {"max_steps": 10, "max_errors": 1},
        "gpu": {"max_steps": 10, "max_errors": 1},
    },
    "STeP-SciWorld-v0": {"smoke": {}, "cpu": {"tasks": 780}, "gpu": {"tasks": 780}},
}
"""World -> preset -> its settings that differ from those of ALFWorld."""


def preset(
    name: str, *, env: str = _ALFWORLD.env, model: str | None = None, download: bool = False
) -> ExperimentConfig:
    """Return a preset, in another world or with another original model if one is named.

    Args:
        name: One of ``PRESETS``.
        env: Id of the environment.
        model: Folder of a checkpoint, or its name on the hub. It gets a learning rate for pretrained models, and the
            world's manual in its prompt.
        download: Download the model if it is not on this machine.

    Raises:
        UnknownNameError: There is no such preset, or no experiment can be run in the world.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    chosen, world = PRESETS[name], experiment_world(env)
    if env != chosen.env:
        moved = with_changes(chosen, {"env": env, "env_options": dict(world.tiny_options)})
        chosen = with_changes(moved, _IN_WORLD[env][name])
    if model is None:
        return chosen
    pretrained: dict[str, Any] = {"learning_rate": 2e-5}
    changes: dict[str, Any] = {
        "name": f"{name} with {model}",
        "model": model,
        "download": download,
        "pretraining": None,
        "style": "eto",
        "env_options": dict(world.model_options),
        "max_tokens": 256,
    }
    for part in ("base", "training"):
        config: FinetuneConfig = getattr(chosen, part)
        if config.loop == "small":
            config = config.model_copy(update=_NAMED_MODEL)
        changes[part] = config.model_copy(update=pretrained | {"max_length": max(config.max_length or 0, 2048)})
    return ExperimentConfig.model_validate(chosen.model_copy(update=changes).model_dump())


def with_changes(chosen: ExperimentConfig, changes: dict[str, Any]) -> ExperimentConfig:
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
        # Which options an environment has is the environment's to say.
        if last not in part and path != ["env_options"]:
            raise unknown_name("part of the preset", name, _names(chosen.model_dump()))
        part[last] = value
    return ExperimentConfig.model_validate(values)


def with_settings(chosen: ExperimentConfig, settings: Mapping[str, Any]) -> ExperimentConfig:
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
        # Options of TRL's trainer and of an environment are one value: which names they may have is not ours to say.
        one_value = name in ("trainer", "env_options")
        if isinstance(value, Mapping) and isinstance(inner, Mapping) and not one_value:
            named |= _dotted(value, inner, f"{before}{name}.")
        else:
            named[f"{before}{name}"] = value
    return named


def _names(values: dict[str, Any], before: str = "") -> list[str]:
    names = []
    for name, value in values.items():
        names += _names(value, f"{before}{name}.") if isinstance(value, dict) and value else [f"{before}{name}"]
    return names
