"""Unpack a GGUF file, the form in which llama.cpp keeps models, into an ordinary checkpoint that can be trained.

transformers reads such a file itself, but only for as long as it stays beside the model: a model loaded from it remembers
that its weights were quantized, and refuses to be saved or trained. So the weights are written out once, as 32-bit numbers,
into the user's cache, and from then on the model is a folder like any other. That takes half a minute for 135 million
parameters, and four bytes for each on disk.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from step_envs.cache import cache_folder
from step_envs.errors import DataError, missing_package

_MAGIC = b"GGUF"


def gguf_checkpoint(file: Path) -> Path:
    """Return the folder of the checkpoint that a GGUF file holds; unpack it unless that was done before.

    Args:
        file: The GGUF file.

    Returns:
        A folder in the cache, named by the content of the file.

    Raises:
        DataError: It is no GGUF file, or holds a model that transformers cannot read.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    with file.open("rb") as content:
        if content.read(len(_MAGIC)) != _MAGIC:
            raise DataError(f"{file} is no GGUF file, or it was not fetched whole: fetch it again.")
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    folder = cache_folder() / "gguf" / f"{file.stem}-{digest[:16]}"
    if not (folder / "config.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            _unpack(file, made)
            _put(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _put(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        # Another process has unpacked the same file meanwhile: what it made is the same.
        if not (folder / "config.json").exists():
            raise


def _unpack(file: Path, out: Path) -> None:
    try:
        import gguf  # noqa: F401  (transformers needs it)
    except ImportError as error:
        raise missing_package("gguf", "Reading a GGUF file", "train") from error
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise missing_package(error.name or "transformers", "Reading a GGUF file", "train") from error
    folder, name = str(file.parent), file.name
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True)
        read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"transformers cannot read {file}: {first}") from error
    config = type(read.config).from_dict(_without_quantization(read.config.to_dict()))
    # The weights of a fresh model have forgotten that they were quantized.
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(read.state_dict())
    fresh.save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))


def _without_quantization(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in ("quantization_config", "_name_or_path")}
