"""Finds the catalogue to play in: one that is named, or the embedded one, which is generated at first use.

The embedded catalogue is not part of the package: generating it takes a quarter of a second, and the cache keeps it. The
environments of a process share an opened catalogue, which is freed with the last of them.
"""

import os
import shlex
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from step_envs.cache import cache_folder
from step_envs.errors import DataError
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.catalogue_writer import MANIFEST
from step_envs.webshop.catalogue.generator import VERSION, make_catalogue
from step_envs.webshop.catalogue.importer import PRODUCT_FILES

DATA_VARIABLE: Final = "WEBSHOP_DATA"
"""Environment variable that names the folder of a catalogue."""

DEFAULT_SIZE: Final = 1000


def open_catalogue(
    data_path: str | os.PathLike[str] | None = None, *, size: int = DEFAULT_SIZE, seed: int = 0
) -> Catalogue:
    """Open a catalogue.

    Args:
        data_path: Folder of a catalogue that ``step-envs data webshop`` made; None takes ``WEBSHOP_DATA``, and where
            that is not set, the embedded catalogue.
        size: Products in the embedded catalogue.
        seed: Of the embedded catalogue.

    Returns:
        The catalogue; environments in one process share it.

    Raises:
        DataError: The folder that was named holds no catalogue.
    """
    folder = named_data() if data_path is None else Path(data_path).expanduser().resolve()
    if folder is not None:
        _refuse_raw_files(folder)
        return _opened(folder)
    return _opened(embedded_catalogue(size, seed))


def named_data() -> Path | None:
    """Return the folder that ``WEBSHOP_DATA`` names; None where it is not set."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named).expanduser().resolve() if named else None


def _may_be_catalogue(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and ((folder / MANIFEST).exists() or not any(folder.iterdir())))


def import_target(name: str) -> Path:
    """Return the folder for an import where the user names none.

    Args:
        name: Name of the folder in the cache.

    Returns:
        The folder that ``WEBSHOP_DATA`` names if it is a catalogue, empty or not there yet, else one in the cache.
    """
    folder = named_data()
    if folder is not None and _may_be_catalogue(folder):
        return folder
    return (cache_folder() / "webshop" / name).resolve()


def embedded_catalogue(size: int = DEFAULT_SIZE, seed: int = 0) -> Path:
    """Generate an embedded catalogue unless it is there already.

    Args:
        size: Number of products; a thousand take a quarter of a second.
        seed: Seed of its products and goals.

    Returns:
        Its folder, in the cache of this user.
    """
    for name, number, least in (("size", size, 1), ("catalogue seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ValueError(f"The {name} must be a whole number from {least} on, got {number!r}.")
    folder = cache_folder() / "webshop" / f"generated-v{VERSION}-{seed}-{size}"
    if not (folder / MANIFEST).is_file():
        # A catalogue's folder appears with its manifest in it, so that one without a manifest is damaged.
        damaged = folder.exists() and not (folder / MANIFEST).is_file()
        try:
            make_catalogue(folder, size=size, seed=seed, overwrite=damaged)
        except DataError:
            # Another process was faster; its catalogue is the same.
            if not (folder / MANIFEST).is_file():
                raise
        except OSError as error:
            raise DataError(
                f"Cannot write the embedded catalogue to {folder} ({error.strerror}): "
                "set STEP_ENVS_CACHE to a folder that can be written."
            ) from error
    return folder


_OPEN: Final["WeakValueDictionary[tuple[Path, int], Catalogue]"] = WeakValueDictionary()
"""Catalogues that some environment of this process still uses, by folder and age of their manifest."""


def _opened(folder: Path) -> Catalogue:
    manifest = folder / MANIFEST
    key = (folder, manifest.stat().st_mtime_ns if manifest.is_file() else 0)
    catalogue = _OPEN.get(key)
    if catalogue is None:
        catalogue = _OPEN[key] = Catalogue(folder)
    return catalogue


def _refuse_raw_files(folder: Path) -> None:
    if (folder / MANIFEST).is_file():
        return
    if any((folder / name).is_file() for name in PRODUCT_FILES):
        raise DataError(
            f"{folder} holds WebShop's own files, which are not imported yet: run "
            f"`step-envs data webshop --from {shlex.quote(str(folder))}` and name the folder it tells."
        )
