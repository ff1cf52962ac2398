"""The card of a model: what it was trained from, on what, by which recipe, and how far."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from step_envs.confidential import without_secrets
from step_envs.hub.cards import code, json_block, make_card, table

_ON_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def make_model_card(
    name: str,
    settings: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    left_out: Sequence[str],
    license: str | None,
) -> str:
    """Write the card of a model that ``step-envs train`` made.

    Args:
        name: Name of the repository.
        settings: Content of ``train.json``.
        records: Name of each record of a training in the folder -> its content.
        left_out: What of the folder is not in the repository, one phrase each.
        license: The licence that the user named; None leaves the field away.

    Returns:
        The text of README.md.
    """
    metadata: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["step-envs", "agent", "self-correction", "text-games"],
    }
    base = base_model(settings)
    if base is not None:
        metadata["base_model"] = base
    if license is not None:
        metadata["license"] = license
    short = name.partition("/")[2]
    recipe = str(settings.get("recipe", "step"))
    parts = [
        f"# {short}",
        f"A language model that acts in text worlds, trained by `step-envs train` with the recipe {code(recipe)} from "
        f"{code(base) if base else 'a model that is not on the hub'}.",
        "## Use it",
        f"```sh\nstep-envs load {name} --out checkpoints/{short}\n"
        f"step-envs eval --agent local:model=checkpoints/{short} --out runs/{short}\n```",
        "## How it was trained",
        "`step-envs train --config train.json --out checkpoints/again` trains it again where the runs are, with these "
        "settings:",
        json_block(without_secrets(dict(settings))),
        *_figures(records),
    ]
    if left_out:
        parts += ["## What was left out", "\n".join(f"- {phrase}" for phrase in left_out)]
    return make_card(metadata, "\n\n".join(parts))


def base_model(settings: Mapping[str, Any]) -> str | None:
    """Return the model that the training started from, if it is one of the hub and not a folder of somebody's machine."""
    from pathlib import Path

    model = str(settings.get("model", ""))
    return model if _ON_THE_HUB.fullmatch(model) and not Path(model).exists() else None


def _figures(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parts = []
    for file, record in sorted(records.items()):
        rows = [("rows", record.get("rows")), *dict(record.get("figures") or {}).items()]
        rows += [(f"version of {package}", version) for package, version in dict(record.get("versions") or {}).items()]
        shown = [(what, value) for what, value in rows if isinstance(value, (str, int, float))]
        parts.append(f"Figures of the training ({code(file)}):\n\n{table(('what', 'figure'), shown)}")
    return parts
