"""Imports the official WebShop files into a catalogue on disk.

The product file has five gigabytes, so it is read one record at a time. A fault in a file is reported with file, line and
record, because nobody could find it by eye.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from step_envs.errors import DataError
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.catalogue_writer import MANIFEST, CatalogueWriter
from step_envs.webshop.catalogue.json_stream import read_array, read_object
from step_envs.webshop.catalogue.products import InstructionError, RecordError

PRODUCT_FILES: Final = ("items_shuffle.json", "items_shuffle_100000.json", "items_shuffle_1000.json")
ATTRIBUTE_FILES: Final = ("items_ins_v2.json", "items_ins_v2_1000.json")
HUMAN_FILE: Final = "items_human_ins.json"

Progress = Callable[[int], None]
"""A function that is called every thousand products with their number so far."""

_PROGRESS_EVERY: Final = 1000
_PARTS: Final = (MANIFEST, "index", "synthetic", "human")


def find_files(folder: Path) -> tuple[Path, Path, Path | None]:
    """Find the official files in a folder: the largest product file, its attribute file, and the human instructions.

    Raises:
        DataError: There is no product file, or no attribute file.
    """
    products = _first(folder, PRODUCT_FILES, "product")
    # The attribute file of the small set goes with the small product file.
    attribute_names = ATTRIBUTE_FILES[::-1] if products.name == PRODUCT_FILES[-1] else ATTRIBUTE_FILES
    human = folder / HUMAN_FILE
    return products, _first(folder, attribute_names, "attribute"), human if human.is_file() else None


def import_folder(folder: Path, target: Path, **options: Any) -> Catalogue:
    """Import the official files from a folder, the largest product file that is there.

    Args:
        folder: Holds ``items_shuffle*.json``, ``items_ins_v2*.json`` and perhaps ``items_human_ins.json``.
        target: The catalogue's folder, which is made.
        options: As ``import_files``.

    Raises:
        DataError: A file is missing or malformed.
    """
    return import_files(*find_files(folder), target, **options)


def import_files(
    products: Path,
    attributes: Path,
    instructions: Path | None,
    target: Path,
    *,
    name: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Catalogue:
    """Import official files, one product at a time.

    Args:
        products: ``items_shuffle*.json``.
        attributes: ``items_ins_v2*.json``.
        instructions: ``items_human_ins.json``; None leaves the human goals out.
        target: The catalogue's folder, which is made. It appears only when it is complete.
        name: What task ids call it; the default is the name of the target folder.
        limit: Import only the first so many products, as the original's ``num_products``; None imports all.
        overwrite: Replace a catalogue that is already there.
        progress: Called every thousand products with the number read so far.

    Returns:
        The catalogue, open.

    Raises:
        DataError: A file is missing or malformed (the message names file, line and record), or holds no product; or
            the target cannot be written, or is there already.
    """
    replaces = check_target(target, overwrite=overwrite)
    sources = [path for path in (products, attributes, instructions) if path is not None]
    for path in sources:
        if not path.is_file():
            raise DataError(f"There is no file {path}: name the folder that holds the official WebShop files.")
    source = {"kind": "import", "files": {path.name: _digest(path) for path in sources}, "limit": limit}
    entries = {key: json.dumps(value, ensure_ascii=False) for _, key, value in _attribute_entries(attributes)}
    human = {key: value for _, key, value in read_object(instructions)} if instructions else {}

    def attributes_of(asin: str) -> Any:
        entry = entries.get(asin)
        return None if entry is None else json.loads(entry)

    try:
        with CatalogueWriter(target, name or target.name, source, limit=limit, overwrite=replaces) as writer:
            for count, (place, record) in enumerate(read_array(products), start=1):
                try:
                    writer.add(record, attributes_of, human.get)
                except InstructionError as error:
                    raise DataError(f"{_entry_place(error, attributes, instructions)}: {error}.") from None
                except RecordError as error:
                    raise DataError(f"{place}: {error}.") from None
                if progress is not None and count % _PROGRESS_EVERY == 0:
                    progress(count)
                if writer.full:
                    break
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error}): name another folder that can.") from error
    return Catalogue(target)


def check_target(target: Path, *, overwrite: bool = False) -> bool:
    """Check that a catalogue may be written to a folder: it is new or empty, or a catalogue that may be replaced.

    Returns:
        True if there is a folder, which will be replaced.

    Raises:
        DataError: A catalogue may not be written there; the message says what to do.
    """
    try:
        if not target.exists():
            return False
        if target.is_dir() and not any(target.iterdir()):
            return True
    except OSError as error:
        raise DataError(f"{target} cannot be looked into ({error.strerror}): name another folder.") from error
    if sum((target / part).exists() for part in _PARTS) < 2:
        # Replacing deletes the folder, so it must look like a catalogue, be it a damaged one.
        raise DataError(f"{target} exists already and holds no catalogue: name a folder that is new or empty.")
    if not overwrite:
        raise DataError(
            f"{target} exists already: name another folder, or add --overwrite (in Python, overwrite=True)."
        )
    return True


def _entry_place(error: InstructionError, attributes: Path, instructions: Path | None) -> object:
    """Find where a malformed entry is by reading its file again; keeping all places would cost more."""
    path = instructions if error.human and instructions is not None else attributes
    return next((place for place, asin, _ in read_object(path) if asin == error.asin), path)


def _attribute_entries(path: Path) -> Any:
    for place, asin, entry in read_object(path):
        if not isinstance(entry, dict):
            raise DataError(f"{place}: the entry of product {asin!r} must be an object.")
        listed = entry.get("attributes", [])
        if not isinstance(listed, list) or not all(isinstance(attribute, str) for attribute in listed):
            raise DataError(f"{place}: 'attributes' of product {asin!r} must be a list of texts.")
        yield place, asin, entry


def _first(folder: Path, names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"There is no {what} file in {folder}: one of {', '.join(names)} is needed.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
