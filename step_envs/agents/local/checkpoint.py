"""Finding a checkpoint on this machine, without downloading anything that was not asked for.

``from_pretrained(name, local_files_only=True)`` still asks the network for parts of a named model; given a folder, it does
not. So a name is resolved to the folder of the Hugging Face cache first, and only folders are loaded.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from step_envs.agents.local.gguf import gguf_checkpoint
from step_envs.errors import DataError, missing_package
from step_envs.file_reading import read_json, read_text

_MOST_TEMPLATE_BYTES = 2**20

_QUANTIZED_BY = {
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "fbgemm_fp8": "fbgemm_gpu",
    "hqq": "hqq",
    "quanto": "optimum",
    "torchao": "torchao",
    "aqlm": "aqlm",
}
"""Method of quantization as a configuration names it -> the package that reads such weights."""


def checkpoint_folder(model: str | Path, *, download: bool = False) -> Path:
    """Find a checkpoint: a folder, a GGUF file, or a model of the hub that was downloaded before.

    Args:
        model: A folder, a file whose name ends in ``.gguf``, or a name on the hub.
        download: Download a named model that is not on this machine.

    Returns:
        The folder; for a GGUF file, that of the checkpoint it was unpacked into (see ``gguf_checkpoint``).

    Raises:
        DataError: There is no such folder, and no such model on this machine or, with ``download``, on the hub.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.suffix == ".gguf" and folder.is_file():
        return gguf_checkpoint(folder)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise missing_package(error.name or "huggingface_hub", "Loading a model", "train") from error
    try:
        return Path(snapshot_download(str(model), local_files_only=not download))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        if download:
            raise DataError(f"The model {str(model)!r} cannot be fetched: {error}") from error
        raise DataError(
            f"The model {str(model)!r} is neither a folder nor on this machine: name a folder, or fetch it first with "
            f"`hf download {model}`."
        ) from error


def check_checkpoint(folder: Path) -> None:
    """Check that a folder can be loaded as a checkpoint, before a library finds a word for what is wrong with it.

    Args:
        folder: The folder.

    Raises:
        DataError: It holds a GGUF file only, an adapter whose base is not there, weights that are incomplete, or weights
            that were quantized for a package that is not installed.
    """
    config, adapter = _json_file(folder / "config.json"), _json_file(folder / "adapter_config.json")
    if not config and any(folder.glob("*.gguf")):
        raise DataError(
            f"{folder} holds a GGUF file only: name the file itself, which is then unpacked, or a folder with config.json "
            "and safetensors."
        )
    base = str(adapter.get("base_model_name_or_path") or "")
    if adapter and not config and not Path(base).is_dir():
        try:
            checkpoint_folder(base)
        except DataError:
            raise DataError(
                f"The adapter in {folder} was trained on {base!r}, which is not here (a relative path counts from where "
                "the training ran): write the place of the base model into base_model_name_or_path of adapter_config.json."
            ) from None
    for index in folder.glob("*.safetensors.index.json"):
        parts = set(map(str, dict(_json_file(index).get("weight_map") or {}).values()))
        missing = sorted(part for part in parts if not (folder / part).is_file())
        if missing:
            raise DataError(
                f"{folder} lacks {len(missing)} of its {len(parts)} files of weights, {missing[0]} for one: fetch it again."
            )
    method = dict(config.get("quantization_config") or {}).get("quant_method")
    package = _QUANTIZED_BY.get(str(method), "")
    if package and find_spec(package) is None:
        raise DataError(
            f"The weights in {folder} are quantized ({method}), which needs the package {package!r}: install it, or name "
            "a checkpoint that is not quantized."
        )


def _json_file(path: Path) -> dict[str, Any]:
    """Return the object in a file; empty if there is no such file.

    Raises:
        DataError: The file is damaged.
    """
    if not path.exists():
        return {}
    found = read_json(path, fault=DataError)
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no JSON object: fetch the checkpoint again.")
    return found


def load_tokenizer(model: str | Path, *, download: bool = False) -> Any:
    """Load the tokenizer of a checkpoint.

    Args:
        model: A folder, or a name on the hub.
        download: Download a named model that is not on this machine.

    Returns:
        A tokenizer of transformers.

    Raises:
        DataError: There is no checkpoint, or no tokenizer in it that can be loaded.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise missing_package("transformers", "A tokenizer", "train") from error
    folder = checkpoint_folder(model, download=download)
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(f"There is no tokenizer in {folder} that can be loaded: {first}") from error


def read_template(path: Path) -> str:
    """Read a chat template from a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return read_text(path, limit=_MOST_TEMPLATE_BYTES, fault=DataError)
    except DataError as error:
        raise DataError(f"The chat template {path} cannot be read: {error}") from error


def with_template_options(template: Any, options: Mapping[str, Any]) -> str:
    """Write variables of a chat template into the template itself.

    A template that is trained with ``enable_thinking=False`` has to be served with it; inside the template, which is saved
    with the checkpoint, no server can forget it.

    Args:
        template: The template.
        options: Name -> text, number, or True or False.

    Raises:
        DataError: The tokenizer has no single template, or an option is something else.
    """
    if not isinstance(template, str):
        raise DataError("Options of a chat template need a tokenizer with one template: give one with --chat-template.")
    for name, value in options.items():
        if not name.isidentifier() or not isinstance(value, (bool, int, float, str)):
            raise DataError(
                f"The option {name!r} of a chat template must be text, a number, true or false, got {value!r}."
            )
    lines = [f"{{%- set {name} = {json.dumps(value)} -%}}" for name, value in options.items()]
    return "".join([*lines, template])
