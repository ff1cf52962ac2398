"""What the loaders are tried on: their recipes in examples/loaders, and the same without the setting that matters.

A recipe must train on exactly what we train on. Without its setting a loader trains on errors; that is measured too,
because ``step-envs export`` says so by name.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "loaders"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One export, read by one loader with one setting.

    Attributes:
        loader: Name of the script and of the environment.
        export: Format of the export, or ``run`` for the run folder itself.
        setting: The setting in words, for the table.
        right: Whether it trains on every turn that has a weight and on no other reply.
        change: Changes the settings of the recipe.
    """

    loader: str
    export: str
    setting: str
    right: bool
    change: Callable[[Settings], Settings] = dict

    @property
    def name(self) -> str:
        """Name it for a file and for a test."""
        return f"{self.loader}-{self.export}-{'right' if self.right else 'wrong'}"


def _axolotl(**changes: Any) -> Callable[[Settings], Settings]:
    def change(settings: Settings) -> Settings:
        dataset = settings["datasets"][0] | changes
        return settings | {"datasets": [{name: value for name, value in dataset.items() if value is not None}]}

    return change


def _with(**changes: Any) -> Callable[[Settings], Settings]:
    return lambda settings: settings | changes


_SHAREGPT = {"field_messages": "conversations", "message_property_mappings": {"role": "from", "content": "value"}}
_NO_SETTING = {"message_field_training": None, "roles_to_train": None}

CASES = (
    Case("axolotl", "messages", "`message_field_training: loss`", True),
    Case("axolotl", "sharegpt", "`message_field_training: loss`", True, _axolotl(**_SHAREGPT)),
    Case("axolotl", "messages", "none", False, _axolotl(**_NO_SETTING)),
    Case("axolotl", "turns", "none", False, _axolotl(**_NO_SETTING)),
    Case("llamafactory", "turns", "`mask_history: true`", True),
    Case("llamafactory", "turns", "none", False, _with(mask_history=False)),
    Case("llamafactory", "messages", "none", False, _with(mask_history=False)),
    Case("llamafactory", "sharegpt", "none", False, _with(mask_history=False)),
    Case("ms-swift", "turns", "`loss_scale: last_round`", True),
    Case("ms-swift", "messages", "none", True, _with(loss_scale="default")),
    Case("ms-swift", "sharegpt", "none", True, _with(loss_scale="default")),
    Case("ms-swift", "turns", "none", False, _with(loss_scale="default")),
    Case("skyrl", "turns", "`train_on_what: last_assistant_message` (its default)", True),
    Case("skyrl", "messages", "`train_on_what: last_assistant_message` (its default)", False),
    Case("trl", "turns", "`prompt` and `completion`", True),
    Case("trl", "messages", "none", False, _with(columns="messages")),
    Case("verl", "run", "`examples/verl_dataset.py`", True),
    Case("verl", "parquet", "none", False, _with(**{"data.custom_cls.path": "null"})),
    Case("verl", "turns", "none", False, _with(**{"data.custom_cls.path": "null"})),
)

PACKAGES = {
    "axolotl": "axolotl",
    "llamafactory": "LLaMA-Factory",
    "ms-swift": "ms-swift",
    "skyrl": "SkyRL",
    "trl": "TRL",
    "verl": "verl",
}
"""Script -> name of the loader in ``step_envs.exports.LOADERS``."""


def write_jobs(loader: str, exports: Path, folder: Path) -> Path:
    """Write what the script of a loader is to encode; every job gets the data where its loader looks for it."""
    jobs = {}
    for case in CASES:
        if case.loader != loader:
            continue
        place = folder / case.name
        place.mkdir(parents=True)
        config = case.change(recipe(loader))
        data = place / ("train.parquet" if loader == "verl" else "train.jsonl")
        if case.export == "run":
            shutil.copytree(exports / "run", data := place / "run")
        elif loader == "verl":
            _write_parquet(exports / case.export, data)
        else:
            shutil.copy(exports / case.export, data)
        if loader == "llamafactory":
            info = json.loads((RECIPES / "dataset_info.json").read_text())
            if case.export == "sharegpt":
                info = {"step": {"file_name": "train.jsonl", "formatting": "sharegpt"}}
            (place / "dataset_info.json").write_text(json.dumps(info))
        jobs[case.name] = {"config": config, "data": str(place if loader == "skyrl" else data)}
    path = folder / f"{loader}.json"
    path.write_text(json.dumps(jobs))
    return path


def recipe(loader: str) -> Settings:
    """Read the recipe of a loader: a file of settings, or the ``name=value`` of a command; TRL's is in the page."""
    if loader == "trl":
        return {"columns": "prompt and completion"}
    file = RECIPES / f"{loader}.yaml"
    if file.exists():
        settings = yaml.safe_load(file.read_text())
        assert isinstance(settings, dict)
        return settings
    return _values((RECIPES / f"{loader}.sh").read_text())


def _values(command: str) -> Settings:
    words = [word for line in command.splitlines() if not line.startswith("#") for word in line.split()]
    values = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
    if "data.custom_cls.path" in values:
        values["data.custom_cls.path"] = str(ROOT / values["data.custom_cls.path"])
    return values


def _write_parquet(export: Path, path: Path) -> None:
    import pyarrow.json
    import pyarrow.parquet

    if export.name == "parquet":
        shutil.copy(export, path)
    else:
        pyarrow.parquet.write_table(pyarrow.json.read_json(export), path)
