"""What a repository will hold: the files of a run or of a trained model, prepared in a folder of their own.

A data set holds the run twice: as tables, which the hub shows and every library reads, and as the lines that were recorded,
because a table loses what JSON keeps apart, such as the order of keys. So a run comes back byte for byte.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from step_envs.confidential import find_key
from step_envs.errors import StoreError, missing_package
from step_envs.exports import export
from step_envs.file_reading import read_json, read_text, require_regular
from step_envs.hub.cards import BEGIN, merge_cards
from step_envs.hub.dataset_card import make_dataset_card
from step_envs.hub.model_card import make_model_card
from step_envs.hub.model_facts import CARD, TRAINING_DATA, read_records
from step_envs.hub.run_facts import PUSHED, RunFacts, check_settings, copy_trajectories

RUN = "run"
_WEIGHTS = (".safetensors",)
_TEXTS = (".json", ".jsonl", ".jinja", ".txt")
_OTHERS = (".model", ".png", ".svg")
MODEL_FILES = (*_WEIGHTS, *_TEXTS, *_OTHERS)
"""Endings of the files of a model. Weights as pickles, which run code when they are loaded, are not among them."""


@dataclass
class Contents:
    """What is to be pushed.

    Attributes:
        kind: ``dataset`` or ``model``, as the hub calls it.
        files: Path in the repository -> file on this machine, the card excepted.
        card: Text of README.md.
        left_out: What is not pushed, one phrase each.
        settings: The content of ``config.json``, or of ``train.json``.
    """

    kind: str
    card: str
    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def prepare(folder: Path, repo: str, temporary: Path, *, license: str | None) -> Contents:
    """Prepare what is to be pushed, and check all of it.

    Args:
        folder: A run, or a model that ``step-envs train`` made.
        repo: Name of the repository, for the card.
        temporary: An empty folder for what is made.
        license: The licence for the card.

    Raises:
        StoreError: The folder is neither, cannot be read, or holds a secret.
        gymnasium.error.DependencyNotInstalled: ``datasets`` is missing.
    """
    store = folder / "trajectories.jsonl" if folder.is_dir() else folder
    if store.is_file():
        return _prepare_run(store, repo, temporary, license)
    if (folder / "train.json").is_file():
        return _prepare_model(folder, repo, license)
    raise StoreError(
        f"{folder} is neither a run (it has no trajectories.jsonl) nor a model of `step-envs train` (it has no train.json)."
    )


def _prepare_run(store: Path, repo: str, temporary: Path, license: str | None) -> Contents:
    whole = temporary / RUN / "trajectories.jsonl"
    whole.parent.mkdir(parents=True)
    facts = copy_trajectories(store, whole)
    files = {f"{RUN}/{whole.name}": whole}
    left_out = []
    for path in sorted(store.parent.iterdir()) if store.name == whole.name else []:
        if path.name in PUSHED:
            content = check_settings(path)
            files[f"{RUN}/{path.name}"] = Path(shutil.copyfile(path, temporary / RUN / path.name))
            if path.name == "config.json":
                facts.config = content
            elif path.name == "failures.jsonl":
                facts.failures = len(content)
        elif path != store:
            left_out.append(f"`{path.name}` of the run folder")
    tables = dict(_tables(facts, whole, temporary))
    files |= {f"data/{name}.parquet": path for name, path in tables.items()}
    card = make_dataset_card(repo, facts, _table_metadata(tables), left_out, license)
    return Contents("dataset", card, files, left_out, dict(facts.config))


def _tables(facts: RunFacts, store: Path, temporary: Path) -> Iterator[tuple[str, Path]]:
    """Write one table for every split of the tasks."""
    names: dict[str, list[str]] = {}
    for split in sorted(facts.episodes):
        # The hub allows letters, digits and underscores in the name of a split.
        name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in split) or "_"
        names.setdefault(name, []).append(split)
    for name, splits in names.items():
        path = temporary / "data" / f"{name}.parquet"
        export(store, path, "parquet", keep=lambda trajectory, splits=splits: trajectory.split in splits)  # type: ignore[misc]
        yield name, path


def _table_metadata(tables: dict[str, Path]) -> dict[str, Any]:
    """Describe the tables as the hub's viewer and ``datasets.load_dataset`` expect it."""
    try:
        from datasets import DatasetInfo, Features, SplitDict, SplitInfo
        from datasets.info import DatasetInfosDict
        from huggingface_hub import DatasetCardData
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise missing_package(error.name or "datasets", "Pushing a run", "data") from error
    splits, features = SplitDict(), None
    for name, path in tables.items():
        with ParquetFile(path) as file:
            features = Features.from_arrow_schema(file.schema_arrow)
            size = sum(batch.nbytes for batch in file.iter_batches())
            splits.add(SplitInfo(name, num_bytes=size, num_examples=file.metadata.num_rows))
    info = DatasetInfo(
        features=features,
        splits=splits,
        download_size=sum(path.stat().st_size for path in tables.values()),
        dataset_size=sum(split.num_bytes for split in splits.values()),
    )
    described = DatasetCardData()
    DatasetInfosDict({"default": info}).to_dataset_card_data(described)
    files = [{"split": name, "path": f"data/{name}.parquet"} for name in tables]
    return {
        "dataset_info": described.to_dict()["dataset_info"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _prepare_model(folder: Path, repo: str, license: str | None) -> Contents:
    contents = Contents("model", "")
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in MODEL_FILES and not path.name.startswith("."):
            require_regular(path)
            _refuse_keys(path)
            contents.files[path.name] = path
        elif path.name != CARD:
            contents.left_out.append(f"`{path.name}`")
    if not any(name.endswith(_WEIGHTS) for name in contents.files):
        raise StoreError(f"{folder} holds no weights (*.safetensors): the training is not complete.")
    contents.settings = dict(read_json(folder / "train.json"))
    records = read_records(folder)
    if not all(record["complete"] for record in records.values()):
        raise StoreError(f"{folder} holds a training that is not complete: run `step-envs train` again first.")
    contents.card = make_model_card(
        repo,
        contents.settings,
        records,
        contents.left_out,
        license,
        facts=read_json(folder / TRAINING_DATA) if TRAINING_DATA in contents.files else None,
        files=contents.files,
    )
    local = folder / CARD
    if local.is_file() and BEGIN in (written := read_text(local)):
        # What somebody has written into the card beside the weights goes with it.
        contents.card = merge_cards(contents.card, written, set_license=license is not None, where=str(local))
    return contents


def _refuse_keys(path: Path) -> None:
    # A vocabulary may hold any text, and is the model's own.
    if path.suffix not in _TEXTS or path.name in ("tokenizer.json", "vocab.json", "merges.txt"):
        return
    if find_key(read_text(path)) is not None:
        raise StoreError(f"{path} holds what looks like a secret, and nothing was pushed: take it out first.")
