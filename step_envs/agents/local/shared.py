"""One loaded checkpoint for all agents of a process that name it.

A run makes one agent per thread. If each loaded its own copy, memory would be full after a few, and nothing could be
answered in one batch.
"""

import threading
from pathlib import Path
from weakref import WeakValueDictionary

import torch

from step_envs.agents.local.batch import Batcher
from step_envs.agents.local.model import LocalModel

_batchers: "WeakValueDictionary[tuple[object, ...], Batcher]" = WeakValueDictionary()
_latest: list[Batcher] = []  # kept alive between two episodes, when no agent holds it
_loading = threading.Lock()


def shared_batcher(name: str, device: str = "auto", dtype: str = "auto", *, download: bool = False) -> Batcher:
    """Return the batcher of a checkpoint, which is loaded once in this process for each device and number type.

    A folder whose files have changed is loaded again. The checkpoint that was asked for last stays in memory until another
    one is asked for or ``release_models`` is called; the others stay as long as an agent holds them.

    Args:
        name: Folder of a checkpoint, or name of one in the Hugging Face cache.
        device: ``"auto"`` means a GPU if there is one; else a device name of torch, e.g. ``"cuda:1"``.
        dtype: ``"auto"`` means ``"bfloat16"`` on a GPU that supports it, else ``"float32"``.
        download: Download the checkpoint if it is not on this machine.

    Raises:
        DataError: The checkpoint does not exist or cannot be read.
        TemplateError: Its tokenizer cannot turn a conversation into text.
        ValueError: There is no such device or number type.
    """
    where = torch_device(device)
    numbers = number_type(dtype, where)
    folder = Path(name).expanduser()
    resolved = str(folder.resolve()) if folder.is_dir() else name
    key = (resolved, folder_state(folder), str(where), numbers)
    with _loading:
        batcher = _batchers.get(key)
        if batcher is None:
            _latest.clear()
            batcher = _batchers[key] = Batcher(LocalModel.load(resolved, where, numbers, download=download))
        _latest[:] = [batcher]
    return batcher


def release_models() -> None:
    """Free the checkpoint that was asked for last, unless an agent still holds it."""
    with _loading:
        _latest.clear()


def torch_device(name: str) -> torch.device:
    """Return a device; ``"auto"`` is a GPU if there is one.

    Raises:
        ValueError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"There is no device {name!r} here: {str(error).splitlines()[0]}") from error
    return device


def number_type(name: str, device: torch.device) -> torch.dtype:
    """Return a number type for weights; ``"auto"`` is ``bfloat16`` on a GPU that supports it, else ``float32``.

    Raises:
        ValueError: There is no such number type.
    """
    if name == "auto":
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if on_gpu else torch.float32
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f'dtype must be "auto", "float32", "bfloat16" or "float16", got {name!r}.')
    return dtype


def folder_state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of every file in a folder, which tell whether a checkpoint in it has changed."""
    if not folder.is_dir():
        return ()
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
