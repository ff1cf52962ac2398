"""Finding a checkpoint on this machine, without downloading anything that was not asked for.

``from_pretrained(name, local_files_only=True)`` still asks the network for parts of a named model; given a folder, it does
not. So a name is resolved to the folder of the Hugging Face cache first, and only folders are loaded.
"""

from pathlib import Path
from typing import Any

from step_envs.errors import DataError, missing_package
from step_envs.file_reading import read_text

_MOST_TEMPLATE_BYTES = 2**20


def checkpoint_folder(model: str | Path, *, download: bool = False) -> Path:
    """Find a checkpoint: a folder, or a model of the hub that was downloaded before.

    Args:
        model: A folder, or a name on the hub.
        download: Download a named model that is not on this machine.

    Returns:
        The folder.

    Raises:
        DataError: There is no such folder, and no such model on this machine or, with ``download``, on the hub.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
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
