"""What a model was trained on, counted once when it is trained: ``training_data.json``, from which its card is written.

The card of a model stands beside its weights from the first day, and on the hub from the day that it is pushed. Both are
written from this file, for the runs may be elsewhere by then.
"""

from pathlib import Path
from typing import Any

from step_envs.confidential import without_secrets
from step_envs.errors import StoreError
from step_envs.file_reading import read_json, read_text
from step_envs.hub.cards import BEGIN, merge_cards
from step_envs.hub.model_card import make_model_card
from step_envs.hub.run_facts import RunFacts
from step_envs.run_folder import write_json
from step_envs.training.recipes import Material, PreparedTraining

TRAINING_DATA = "training_data.json"
"""File beside a model: what it was trained on, and by which command."""
CARD = "README.md"


def training_facts(material: Material, prepared: PreparedTraining, command: str) -> dict[str, Any]:
    """Count what a training was given, and what it takes of it.

    Args:
        material: The trajectories of all runs.
        prepared: What the recipe made of them.
        command: The command line.

    Returns:
        Nested settings and numbers, without secrets, that can be written as JSON.
    """
    from step_envs import __version__

    facts = RunFacts()
    for trajectory in material.trajectories:
        facts.add(trajectory)
    found = {
        "command": command,
        "step_envs": __version__,
        "trajectories": len(material.trajectories),
        "tasks": len({(one.env_id, one.task_id) for one in material.trajectories}),
        "successes": facts.successes,
        "parts": material.counts(),
        "environments": sorted(facts.env_ids),
        "splits": dict(sorted(facts.episodes.items())),
        "agents": sorted(facts.agents),
        "teachers": sorted(facts.teachers),
        "recorded_with": {name: sorted(versions) for name, versions in sorted(facts.versions.items())},
        "try_it": prepared.try_it,
        "unit": prepared.unit,
        "kept": prepared.kept,
        "dropped": dict(sorted((+prepared.dropped).items())),
        "rows": prepared.rows,
        "validation": prepared.validation,
    }
    return dict(without_secrets(found))


def is_finished(out: Path, record: str) -> bool:
    """Return True if a folder holds a training that is complete.

    Args:
        out: The folder.
        record: Name of the file with the record of the training.
    """
    try:
        return bool(dict(read_json(out / record))["complete"])
    except (StoreError, KeyError, TypeError, ValueError):
        return False


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the records of trainings in the folder of a model: name of the file -> its content."""
    records = {}
    for path in sorted(folder.glob("*.json")):
        content = None if path.name == "tokenizer.json" else read_json(path)
        if isinstance(content, dict) and {"complete", "figures", "versions"} <= content.keys():
            records[path.name] = content
    return records


def write_card(out: Path, facts: dict[str, Any], *, renew: bool) -> None:
    """Write ``training_data.json`` and the card of a model, ``README.md``, into its folder.

    What people have written into the card outside its marks stays.

    Args:
        out: The folder, with ``train.json``.
        facts: As from ``training_facts``.
        renew: Replace a card without marks. PEFT writes one when it saves an adapter; later it can be somebody's own.

    Raises:
        StoreError: A file cannot be read or written.
        HubError: The metadata of the card that is there is no valid YAML.
    """
    write_json(out / TRAINING_DATA, facts)
    names = {path.name for path in out.iterdir() if path.is_file()}
    name = out.resolve().name
    card = make_model_card(name, read_json(out / "train.json"), read_records(out), [], None, facts=facts, files=names)
    existing = read_text(out / CARD) if (out / CARD).exists() else ""
    if BEGIN in existing:
        card = merge_cards(card, existing, set_license=False, where=str(out / CARD))
    elif existing and not renew:
        return
    try:
        (out / CARD).write_text(card, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"Cannot write {out / CARD}: {error.strerror}.") from error
