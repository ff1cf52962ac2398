"""The card of a model: what it was trained from, on what, under which mask and filter, by which command, and how far."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from step_envs.confidential import without_secrets
from step_envs.errors import StoreError
from step_envs.file_reading import read_json
from step_envs.hub.cards import code, json_block, make_card, table
from step_envs.training.loss_curves import LOSS_PLOTS

_ON_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_MOST_VERSIONS = 3
_MOST_TASKS = 20
_DEEPEST = 10
"""Trainings of one another's results that are followed to a model of the hub."""
_MASKS = {
    "partial": "wrong steps stay in the context and carry the loss weight {weight:g}",
    "none": "wrong steps are trained on like all other replies",
    "drop": "wrong steps are removed, together with the observation that followed",
}


def make_model_card(
    name: str,
    settings: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    left_out: Sequence[str],
    license: str | None,
    *,
    facts: Mapping[str, Any] | None = None,
    files: Collection[str] = (),
) -> str:
    """Write the card of a model that ``step-envs train`` made.

    Args:
        name: Name of the repository, ``USER/NAME``; or of the folder, for a model that is on no hub yet.
        settings: Content of ``train.json``.
        records: Name of each record of a training in the folder -> its content.
        left_out: What of the folder is not in the repository, one phrase each.
        license: The licence that the user named; None leaves the field away.
        facts: Content of ``training_data.json``; None where the model is older than that file.
        files: Names of the files beside the card.

    Returns:
        The text of README.md.
    """
    adapter = "adapter_config.json" in files
    recipe = str(settings.get("recipe", "step"))
    estimator = recipe.partition(":")[0] == "estimator"
    metadata: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "token-classification" if estimator else "text-generation",
        "tags": ["step-envs", "agent", "self-correction", "text-games", *(["lora"] if adapter else [])],
    }
    base = base_model(settings)
    if base is not None:
        metadata["base_model"] = base
    if license is not None:
        metadata["license"] = license
    owner, _, short = name.rpartition("/")
    what = "An estimator of progress" if estimator else "A language model that acts"
    use = str(facts["try_it"]) if facts else "step-envs eval --agent local:model={out}"
    load = [f"step-envs load {name} --out checkpoints/{short}"] if owner else []
    parts = [
        f"# {short}",
        f"{what} in text worlds, trained by `step-envs train` with the recipe {code(recipe)} from "
        f"{code(base) if base else 'a model that is not on the hub'}.",
        *(["This is a LoRA adapter; it needs its base model."] if adapter else []),
        "## Use it",
        "\n".join(
            [
                "```sh",
                *load,
                use.replace("{out}", f"checkpoints/{short}"),
                "```",
            ]
        ),
        *(_data(facts) if facts else []),
        "## How it was trained",
        *([f"The command:\n\n```sh\n{_one_line(facts['command'])}\n```"] if facts and facts.get("command") else []),
        "`step-envs train --config train.json --out checkpoints/again` trains it again where the runs are, with these "
        "settings:",
        json_block(without_secrets(dict(settings))),
        *_figures(records),
    ]
    plot = next((one for one in reversed(LOSS_PLOTS) if one in files), None)
    if plot is not None:
        parts.append(f"![Losses: training, validation, and by kind of turn]({plot})")
    if left_out:
        parts += ["## What was left out", "\n".join(f"- {phrase}" for phrase in left_out)]
    return make_card(metadata, "\n\n".join(parts))


def base_model(settings: Mapping[str, Any]) -> str | None:
    """Return the model of the hub that the training started from; None if it cannot be known.

    Where it started from a folder that ``step-envs train`` made, this is the model that that training started from.
    """
    for _ in range(_DEEPEST):
        model = str(settings.get("model", ""))
        folder = Path(model).expanduser()
        if not folder.exists():
            return model if _ON_THE_HUB.fullmatch(model) else None
        try:
            settings = dict(read_json(folder / "train.json"))
        except (StoreError, TypeError, ValueError):
            return None
    return None


def _data(facts: Mapping[str, Any]) -> list[str]:
    """Say what the model was trained on, what was left out of it, and how it is masked."""
    rows: Mapping[str, Any] = facts["rows"]
    parts = ", ".join(f"{count:,} {part}" for part, count in facts["parts"].items() if count)
    what: list[tuple[str, object]] = [
        ("trajectories", f"{facts['trajectories']:,} ({parts}), {facts['successes']:,} of them successful"),
        ("tasks", facts["tasks"]),
        ("environment", ", ".join(map(code, facts["environments"]))),
        ("split of the tasks", ", ".join(f"{code(split)} ({count:,})" for split, count in facts["splits"].items())),
    ]
    what += [("agent", code(agent)) for agent in facts["agents"]]
    what += [("teacher", code(teacher)) for teacher in facts["teachers"]]
    for package, found in facts["recorded_with"].items():
        many = f"{len(found):,} different ones"
        what.append(
            (f"{package}, when recorded", ", ".join(map(code, found)) if len(found) <= _MOST_VERSIONS else many)
        )
    what.append(("step-envs, when trained", code(facts["step_envs"])))
    said = ["## Data", table(("what", "of what"), what), "## Filter and mask", _filter(facts)]
    if rows.get("masking") in _MASKS:
        mask = _MASKS[rows["masking"]].format(weight=rows.get("error_weight", 0.0))
        said.append(f"The mask is {code(rows['masking'])}: {mask}.")
    if rows.get("tokens_by_kind"):
        tokens = [(kind, rows["trained_by_kind"].get(kind, 0), count) for kind, count in rows["tokens_by_kind"].items()]
        said.append(table(("kind of turn", "tokens trained", "tokens in the rows"), tokens))
    elif rows.get("trained_tokens"):
        said.append(f"{rows['trained_tokens']:,} of {rows['tokens']:,} tokens are trained.")
    return said + _validation(facts.get("validation"))


def _filter(facts: Mapping[str, Any]) -> str:
    dropped = "; ".join(f"{count:,}: {rule}" for rule, count in facts["dropped"].items())
    kept = f"{facts['kept']:,} {facts['unit']} are used"
    return f"{kept}. Left out: {dropped}." if dropped else f"{kept}, and nothing was left out."


def _validation(split: Mapping[str, Any] | None) -> list[str]:
    if split is None:
        return ["No task was held out for validation."]
    tasks = split["tasks"]
    named = ", ".join(map(code, tasks)) if len(tasks) <= _MOST_TASKS else "they are listed in training_data.json"
    return [
        f"Validation: {len(tasks):,} tasks (a share of {split['share']:g}, seed {split['seed']}) are not trained on, with "
        f"{split['rows']['rows']:,} rows under the same mask: {named}."
    ]


def _one_line(command: object) -> str:
    return " ".join(str(command).replace("```", "'''").split())


def _figures(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parts = []
    for file, record in sorted(records.items()):
        rows = [("rows", record.get("rows")), *dict(record.get("figures") or {}).items()]
        rows += [(f"version of {package}", version) for package, version in dict(record.get("versions") or {}).items()]
        shown = [(what, value) for what, value in rows if isinstance(value, (str, int, float))]
        parts.append(f"Figures of the training ({code(file)}):\n\n{table(('what', 'figure'), shown)}")
    return parts
