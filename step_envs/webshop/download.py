"""Downloads the official WebShop files from where their authors publish them, checks them, and imports them.

Nothing is downloaded unless the user asks for it: only ``step-envs data webshop`` calls this.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from step_envs.download import PublishedFile, fetch
from step_envs.errors import DataError, unknown_name
from step_envs.official_data import NO_PROGRESS, DataProgress, DataReport
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.importer import HUMAN_FILE, check_target, find_files, import_files
from step_envs.webshop.catalogue.json_stream import read_array, read_object
from step_envs.webshop.catalogue.sources import import_target, named_data
from step_envs.webshop.tasks import FULL_HUMAN_GOALS, WebShopTasks

DRIVE_URL: Final = "https://drive.usercontent.google.com/download"
"""Address at which Google Drive serves files by their id."""

FileProgress = Callable[[str, int, int | None], None]
"""Is told a file's name, how many bytes of it there are, and how many there will be (None: unknown)."""

ProductProgress = Callable[[str, int], None]
"""Is told what is being done (``"Checking"``, ``"Importing"``) and how many products it was done to."""

_PROGRESS_EVERY: Final = 1000

_OTHERWISE: Final = "get the files by other means (the ids are in WebShop's setup.sh) and name their folder with --from"


@dataclass(frozen=True, slots=True)
class DriveFile:
    """A file on Google Drive.

    Attributes:
        name: What it is called on disk.
        key: Its id there.
        published: Its size and SHA-256; None where nobody knows them.
    """

    name: str
    key: str
    published: PublishedFile | None = None

    def url(self, base_url: str = DRIVE_URL) -> str:
        """Say where it is; ``confirm`` answers the question that stands before files too large for a virus scan."""
        return f"{base_url}?id={self.key}&export=download&confirm=t"


@dataclass(frozen=True, slots=True)
class OfficialSet:
    """A set of products as its authors publish it; the ids are those of ``setup.sh`` in princeton-nlp/WebShop.

    Attributes:
        products: The product file.
        attributes: The attribute file.
        records: How many products the product file has.
    """

    products: DriveFile
    attributes: DriveFile
    records: int


SETS: Final = {
    "small": OfficialSet(
        DriveFile(
            "items_shuffle_1000.json",
            "1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib",
            PublishedFile(4_467_013, "30a4765c3a327af72d9a9a95a6b2486d516f0fa1d3ecd83681901ce82a21b269"),
        ),
        DriveFile(
            "items_ins_v2_1000.json",
            "1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu",
            PublishedFile(147_099, "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f"),
        ),
        1000,
    ),
    "all": OfficialSet(
        DriveFile(
            "items_shuffle.json",
            "1A2whVgOO0euk5O13n2iYDM0bQRkkRduB",
            PublishedFile(5_479_720_229, "2ef591d65df3af89e972ab72468eb82cbf124d876552d9f3678667edd620a6c8"),
        ),
        DriveFile(
            "items_ins_v2.json",
            "1s2j6NgHljiZzQNL3veZaAiyW_qDEgBNi",
            PublishedFile(186_295_270, "1d36af476bdb8f82a5da62bd8acdabe54cd8de2fa84010d37da5c4890feb447e"),
        ),
        1_181_436,
    ),
}
"""By the names that ``setup.sh`` has for them."""

HUMAN: Final = DriveFile(
    HUMAN_FILE,
    "14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O",
    PublishedFile(5_137_548, "cf78667548a71786e1d9049c24b802e48e1084ad4bb021cae56ce1f6d96954a3"),
)
"""Belongs to every set."""


DATA_OPTIONS: Final = ("source", "which", "products", "name", "overwrite")
"""Options of ``get_data`` beside ``to`` and ``progress``."""


def get_data(
    to: Path | None = None,
    *,
    source: Path | None = None,
    which: str | None = None,
    products: int | None = None,
    name: str | None = None,
    overwrite: bool = False,
    progress: DataProgress = NO_PROGRESS,
) -> DataReport:
    """Download an official set, or import official files that are there, into a catalogue.

    Args:
        to: The catalogue's folder; None is a folder in the cache that is named after the set.
        source: Folder with the official files; None downloads them.
        which: Which set to download, ``"small"`` or ``"all"``; None is ``"small"``.
        products: Take only the first so many products.
        name: What task ids call the catalogue; None is the folder's name.
        overwrite: Replace a catalogue that is there.
        progress: Is told how far it is.

    Raises:
        ValueError: Both ``source`` and ``which`` are given.
        UnknownNameError: There is no such set.
        DataError: See ``download_catalogue`` and ``import_files``.
    """
    if source is not None and which is not None:
        raise ValueError("--set says what to download, and --from that nothing is: give one of them.")
    if source is not None:
        catalogue = _import(to, source, progress, name=name, limit=products, overwrite=overwrite)
    else:
        catalogue = _download(to, which or "small", progress, name=name, limit=products, overwrite=overwrite)
    tasks, goals = WebShopTasks(catalogue), catalogue.manifest["goals"]
    found_by_itself = named_data() == catalogue.folder
    return DataReport(
        catalogue.folder,
        {split: len(tasks.numbers(split)) for split in tasks.splits},
        f"The catalogue {catalogue.name!r} is in {catalogue.folder}: {len(catalogue):,} products, "
        f"{goals['synthetic']:,} synthetic and {goals['human']:,} human goals. Splits of the {tasks.kind} goals",
        None if found_by_itself else f"To shop in it, set WEBSHOP_DATA={catalogue.folder} or name it with data_path=.",
        {"name": catalogue.name, "products": len(catalogue), "goals": goals},
    )


def _import(to: Path | None, source: Path, progress: DataProgress, *, limit: int | None, **options: Any) -> Catalogue:
    files = find_files(source.expanduser())
    known = {official.products.name: official.records for official in SETS.values()}
    total = limit or known.get(files[0].name)
    target = _target(to, files[0].name, limit)
    return import_files(
        *files, target, progress=lambda count: progress.items("Importing", count, total), limit=limit, **options
    )


def _download(to: Path | None, which: str, progress: DataProgress, *, limit: int | None, **options: Any) -> Catalogue:
    if which not in SETS:
        raise unknown_name("set of products", which, SETS)
    target, total = _target(to, SETS[which].products.name, limit), SETS[which].records
    return download_catalogue(
        which,
        target,
        progress=progress.bytes,
        product_progress=lambda what, done: progress.items(what, done, total),
        limit=limit,
        **options,
    )


def _target(to: Path | None, file: str, limit: int | None) -> Path:
    """Return the folder of a catalogue that is made from a product file."""
    if to is not None:
        return to.expanduser().resolve()
    size = file.removesuffix(".json").removeprefix("items_shuffle").lstrip("_") or "all"
    return import_target(f"official-{size}" + (f"-first-{limit}" if limit else ""))


def download_catalogue(
    which: str,
    target: Path,
    *,
    name: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    base_url: str = DRIVE_URL,
    official: OfficialSet | None = None,
    human_goals: int = FULL_HUMAN_GOALS,
    progress: FileProgress | None = None,
    product_progress: ProductProgress | None = None,
) -> Catalogue:
    """Download an official set, check it, and import it.

    The files are kept beside the target until it is there, so that an attempt that broke off goes on where it stopped.

    Args:
        which: ``"small"`` or ``"all"``.
        target: The catalogue's folder; where it holds just what was asked for already, nothing is downloaded.
        name: See ``import_files``.
        limit: See ``import_files``.
        overwrite: See ``import_files``.
        base_url: Where files are served by id.
        official: What the set must be; None looks it up.
        human_goals: How many human instructions with attributes there must be at least.
        progress: Is told how far each file is.
        product_progress: Is told how many products were checked, and then imported.

    Returns:
        The catalogue, open.

    Raises:
        UnknownNameError: There is no such set.
        DataError: There is no network, what came is not the whole set, or the target cannot be written.
    """
    if which not in SETS:
        raise unknown_name("set of products", which, SETS)
    official = SETS[which] if official is None else official
    if not overwrite and _is_there(target, official, name, limit):
        return Catalogue(target)
    check_target(target, overwrite=overwrite)
    folder = target.with_name(f"{target.name}.files")
    wanted = (official.products, official.attributes, HUMAN)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            _get(file, folder, base_url, progress)
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}): name another folder that can with --to.") from error
    finally:
        # Nothing came at all: then nothing stays.
        with contextlib.suppress(OSError):
            folder.rmdir()
    products, attributes, human = (folder / file.name for file in wanted)
    with _removed_if_bad(attributes, official.attributes.url(base_url)):
        for _ in read_object(attributes):
            pass
    with _removed_if_bad(human, HUMAN.url(base_url)):
        _check_human(human, human_goals)
    with _removed_if_bad(products, official.products.url(base_url)):
        _check_products(products, official.records, product_progress)

    def tell(count: int) -> None:
        if product_progress is not None:
            product_progress("Importing", count)

    catalogue = import_files(
        products, attributes, human, target, name=name, limit=limit, overwrite=overwrite, progress=tell
    )
    shutil.rmtree(folder)
    return catalogue


def _is_there(target: Path, official: OfficialSet, name: str | None, limit: int | None) -> bool:
    if not target.is_dir() or not any(target.iterdir()):
        return False
    check_target(target, overwrite=True)
    manifest = Catalogue(target).manifest
    files = manifest["source"].get("files", {})
    same = official.products.name in files and HUMAN.name in files and manifest["source"].get("limit") == limit
    return same and name in (None, manifest["name"])


def _get(file: DriveFile, folder: Path, base_url: str, progress: FileProgress | None) -> None:
    if (folder / file.name).exists():
        return

    def tell(done: int, total: int | None) -> None:
        if progress is not None:
            progress(file.name, done, total)

    # Another address serves files of its own; the catalogue's manifest keeps the digests of all.
    published = file.published if base_url == DRIVE_URL else None
    fetch(file.url(base_url), folder / file.name, otherwise=_OTHERWISE, published=published, progress=tell)


@contextlib.contextmanager
def _removed_if_bad(path: Path, url: str) -> Iterator[None]:
    """Remove a downloaded file that fails its check, so that the next attempt fetches it anew."""
    try:
        yield
    except DataError as error:
        path.unlink(missing_ok=True)
        fault = str(error).rstrip(".")
        raise DataError(
            f"What came from {url} cannot be used, so it was removed ({fault}): run the command again, or {_OTHERWISE}."
        ) from error


def _check_human(path: Path, least: int) -> None:
    """See that there are enough instructions that make a goal: those with attributes."""
    count = 0
    for place, asin, entries in read_object(path):
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{place}: the instructions of product {asin!r} must be a list of objects.")
        count += sum(bool(entry.get("instruction_attributes")) for entry in entries)
    if count < least:
        raise DataError(f"{path} has {count} human goals of {least}.")


def _check_products(path: Path, least: int, progress: ProductProgress | None) -> None:
    count = 0
    for count, _ in enumerate(read_array(path), start=1):
        if progress is not None and count % _PROGRESS_EVERY == 0:
            progress("Checking", count)
    if count < least:
        raise DataError(f"{path} has {count} products of {least}.")
