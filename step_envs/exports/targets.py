"""Checks where an export is written to, so that nothing is destroyed that nobody asked to replace."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from step_envs.errors import StoreError
from step_envs.exports.sources import Source
from step_envs.file_reading import read_json
from step_envs.trajectory import Trajectory

FOLDERS = {
    "datasets": ("a dataset", "dataset_info.json", "features"),
    "minari": ("a Minari dataset", "metadata.json", "minari_version"),
}
"""The formats that are folders: the words for one, and a file in it and a key in that file by which it is recognized."""


def refuse_to_destroy(source: Source, out: Path, *, format: str, overwrite: bool) -> None:
    """Raise ``StoreError`` where writing to ``out`` would destroy the source, or something nobody asked to replace."""
    stores: Sequence[Any] = []
    if isinstance(source, (str, os.PathLike)):
        stores = [source]
    elif isinstance(source, Sequence):
        stores = [item for item in source if not isinstance(item, Trajectory)]
    for store in map(Path, stores):
        if out.resolve() in (store.resolve(), (store / "trajectories.jsonl").resolve()):
            raise StoreError(f"{out} is what is to be exported: name another file to write to.")
    if not out.exists():
        return
    folder = format in FOLDERS
    if out.is_dir() != folder:
        kind, wanted = ("folder", "file") if out.is_dir() else ("file", "folder")
        raise StoreError(f"{out} is a {kind}, and a {wanted} is to be written: name another place.")
    if not overwrite:
        raise StoreError(f"{out} is already there: name another place, or add --overwrite (in Python, overwrite=True).")
    if folder and any(out.iterdir()) and not _holds_dataset(out, format):
        raise StoreError(f"{out} holds something other than {FOLDERS[format][0]}: name another folder.")


def _holds_dataset(folder: Path, format: str) -> bool:
    _, name, key = FOLDERS[format]
    try:
        # Many programs write a metadata.json; the key tells whose it is.
        return key in read_json(folder / name)
    except (StoreError, TypeError):
        return False
