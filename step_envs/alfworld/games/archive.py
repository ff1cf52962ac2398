"""Finds and reads official game files in a folder, a zip or a tar archive.

People unpack releases beside one another, one into the other, or not at all, and fetch only the splits that they need. To
take the first folder that holds any game would hide the split that another folder has. So all places are looked at, and
each split is taken from the place that has most of it. Archives are opened only if the folders leave something to be wished
for, and one that is damaged matters only if nothing else has its games.

Opening a folder or archive lists its games and reads none of them. Games are named
``<split>/<task folder>/<trial folder>``. A tar archive can only be read from end to end, so it is repacked once as a zip in
the user's cache folder, from which each game can be read on its own.
"""

import gzip
import hashlib
import logging
import lzma
import os
import re
import tarfile
import threading
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from typing_extensions import override

from step_envs.cache import cache_folder
from step_envs.errors import DataError
from step_envs.file_reading import read_bytes, require_regular

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid_seen", "valid_unseen")
"""Splits that every source of games has."""

OFFICIAL_SPLITS = (*SPLITS, "valid_train")
"""Splits of the official games: the last one is disjoint from the others, and its games are like those of train."""

GAME_FILE = "game.tw-pddl"
GET_DATA = (
    "get the official games with `step-envs data alfworld`, or name a folder or archive that has them with data_path="
)

TAR_ENDINGS = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".tar.bz2")
MOST_GAME_BYTES = 2**24
"""Bytes of a game file, many times those of the largest there is. A larger member of an archive is not unpacked."""
_MOST_MEMBER_BYTES = 2**31
"""Bytes of any member of a tar archive, which has to be unpacked to get past it: people pack detectors with their games."""
# Tasks that ALFWorld does not have; the official collector leaves them out too.
_NOT_PLAYED = ("movable", "Sliced")


COMPLETE_COUNTS: Mapping[str, tuple[int, ...]] = {
    "train": (3553, 3554),
    "valid_seen": (140,),
    "valid_unseen": (134,),
    "valid_train": (200,),
}
"""Split -> number of games in a complete release, the current one first: train has one game more in release 2.1.1."""

_DEEPEST = 4  # folders below the one that was named


class DataChoiceWarning(UserWarning):
    """Several places have games, or one cannot be read; the message says which were taken, or why not."""


class GameFiles(ABC):
    """A collection of official games on disk.

    Attributes:
        path: The folder or archive, as the user named it.
    """

    path: Path

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Names of the games, sorted; no game is read for them."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read one game file.

        Raises:
            DataError: The file cannot be read.
        """

    def source_of(self, name: str) -> str:
        """Return where a game file is, for messages."""
        return f"{self.path}: {name}/{GAME_FILE}"


def open_games(path: Path) -> GameFiles:
    """Open a folder, a zip or a tar archive of official games.

    Args:
        path: A folder (that holds ``json_2.1.*``, or the split folders themselves, or archives) or an archive.

    Raises:
        DataError: The path does not exist, has no ALFWorld games, or is a damaged archive.
    """
    if not path.exists():
        raise DataError(f"There is no ALFWorld data at {path}: {GET_DATA}.")
    if path.is_dir():
        found = find_games(path)
    elif path.name.endswith(".zip"):
        found = ZipGames(path)
    elif path.name.endswith(TAR_ENDINGS):
        found = ZipGames(repack(path), path)
    else:
        raise DataError(f"{path} is neither a folder nor an archive ({', '.join(('.zip', *TAR_ENDINGS))}): {GET_DATA}.")
    if not found.names:
        raise DataError(
            f"{path} holds no ALFWorld game (no {GAME_FILE} under a folder {', '.join(OFFICIAL_SPLITS)}): {GET_DATA}."
        )
    return found


def find_games(path: Path) -> GameFiles:
    """Find the games in a folder.

    Args:
        path: A folder that holds split folders or archives, itself or in folders up to four levels below.

    Returns:
        The games; of each split, those of the place that has most, and of equals the newest release.

    Raises:
        DataError: There is no game, and an archive cannot be read.
    """
    places: list[GameFiles] = [games for folder in _folders(path) if (games := FolderGames(folder)).names]
    faults: list[DataError] = []
    if any(_most(places, split) < min(COMPLETE_COUNTS[split]) for split in SPLITS):
        for archive in _archives(path):
            try:
                packed = ZipGames(archive) if archive.suffix == ".zip" else ZipGames(repack(archive), archive)
            except DataError as error:
                faults.append(error)
                continue
            if packed.names:
                places.append(packed)
    if faults and not places:
        raise faults[0]
    for fault in faults:
        warnings.warn(f"What can be read is read, but: {fault}", DataChoiceWarning, stacklevel=2)
    return _choose(path, places)


def _choose(path: Path, places: Sequence[GameFiles]) -> GameFiles:
    """Take each split from the place that has most of it, and say so where there was a choice."""
    chosen: dict[str, GameFiles] = {}
    choices = 0
    for split in OFFICIAL_SPLITS:
        offers = [place for place in places if _of_split(place, split)]
        choices += len(offers) > 1
        if offers:
            chosen[split] = max(offers, key=lambda place: len(_of_split(place, split)))
    if choices:
        taken = ", ".join(f"{split} from {place.path}" for split, place in chosen.items())
        warnings.warn(f"{path} has several releases of ALFWorld; taken: {taken}.", DataChoiceWarning, stacklevel=3)
    only = next(iter(chosen.values()), None)
    if only is not None and all(place is only for place in chosen.values()):
        return only
    return ChosenGames(path, chosen)


def _most(places: Sequence[GameFiles], split: str) -> int:
    return max((len(_of_split(place, split)) for place in places), default=0)


def _of_split(games: GameFiles, split: str) -> list[str]:
    return [name for name in games.names if name.startswith(f"{split}/")]


def _folders(path: Path, depth: int = 0) -> Iterator[Path]:
    """List the folders that have split folders, the newest release first; split folders are not searched for more."""
    try:
        inner = [entry for entry in path.iterdir() if entry.is_dir()]
    except OSError:
        return
    if any(folder.name in OFFICIAL_SPLITS for folder in inner):
        yield path
    if depth < _DEEPEST:
        others = [folder for folder in inner if folder.name not in OFFICIAL_SPLITS]
        for folder in sorted(others, key=_release_of, reverse=True):
            yield from _folders(folder, depth + 1)


def _archives(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith((".zip", *TAR_ENDINGS)))


def _release_of(folder: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", folder.name)[:6]], folder.name


class FolderGames(GameFiles):
    """Games in a folder, as the official download unpacks them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    @override
    def names(self) -> Sequence[str]:
        return tuple(sorted(self._walk()))

    def _walk(self) -> Iterator[str]:
        for split in OFFICIAL_SPLITS:
            folder = self.path / split
            if not folder.is_dir():
                continue
            for task in os.scandir(folder):
                if not task.is_dir() or any(word in task.name for word in _NOT_PLAYED):
                    continue
                with os.scandir(task.path) as trials:
                    for trial in trials:
                        if os.path.exists(f"{trial.path}/{GAME_FILE}"):  # noqa: PTH110 (a Path costs more than the test)
                            yield f"{split}/{task.name}/{trial.name}"

    @override
    def read(self, name: str) -> bytes:
        try:
            return read_bytes(self.path / name / GAME_FILE, limit=MOST_GAME_BYTES, fault=DataError)
        except DataError as error:
            reason = str(error).removeprefix(f"Cannot read {self.source_of(name)}: ").rstrip(".")
            raise DataError(f"{self.source_of(name)}: it cannot be read ({reason}).") from error

    @override
    def source_of(self, name: str) -> str:
        return str(self.path / name / GAME_FILE)


class ZipGames(GameFiles):
    """Games in a zip archive.

    Args:
        path: The zip archive.
        named: The file that the user named, if it is another one.
    """

    def __init__(self, path: Path, named: Path | None = None) -> None:
        self.path = named or path
        self._zip_path = path
        self._process = os.getpid()
        self._zip = self._open()
        self._members = {}
        for member in self._zip.namelist():
            name = game_name(member)
            if name is not None:
                self._members[name] = member

    @cached_property
    @override
    def names(self) -> Sequence[str]:
        return tuple(sorted(self._members))

    @override
    def read(self, name: str) -> bytes:
        if self._process != os.getpid():
            # After a fork, both processes would share one file position.
            self._zip, self._process = self._open(), os.getpid()
        size = self._zip.getinfo(self._members[name]).file_size
        if size > MOST_GAME_BYTES:
            raise DataError(f"{self.source_of(name)}: it would have {size:,} bytes unpacked, which no game file has.")
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise DataError(
                f"{self.source_of(name)}: the archive is damaged here ({error}); fetch it again."
            ) from error
        except RuntimeError as error:  # encrypted, or packed in a way that Python does not know
            raise DataError(
                f"{self.source_of(name)}: the archive cannot be unpacked ({error}); pack it anew."
            ) from error

    def _open(self) -> zipfile.ZipFile:
        require_regular(self._zip_path, fault=DataError)
        try:
            return zipfile.ZipFile(self._zip_path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(
                f"{self.path} is no whole zip archive ({error}); it is cut short, fetch it again."
            ) from error

    def __getstate__(self) -> dict[str, object]:
        """Leave out the open file; the copy opens it again when it needs it."""
        return {**self.__dict__, "_zip": None, "_process": -1}


class ChosenGames(GameFiles):
    """Games of several places, each split from one of them.

    Args:
        path: The folder that the user named.
        places: Split -> where its games are.
    """

    def __init__(self, path: Path, places: Mapping[str, GameFiles]) -> None:
        self.path = path
        self.places = dict(places)

    @cached_property
    @override
    def names(self) -> Sequence[str]:
        return tuple(sorted(name for split, place in self.places.items() for name in _of_split(place, split)))

    @override
    def read(self, name: str) -> bytes:
        return self._place(name).read(name)

    @override
    def source_of(self, name: str) -> str:
        return self._place(name).source_of(name)

    def _place(self, name: str) -> GameFiles:
        return self.places[name.partition("/")[0]]


def game_name(member: str) -> str | None:
    """Return the name of the game at a path inside an archive; None if it is no game file, or one that is not played."""
    parts = member.split("/")
    if len(parts) < 4 or parts[-1] != GAME_FILE or parts[-4] not in OFFICIAL_SPLITS:
        return None
    return None if any(word in member for word in _NOT_PLAYED) else "/".join(parts[-4:-1])


def repack(path: Path) -> Path:
    """Repack a tar archive of games as a zip in the cache folder, once for each archive.

    Args:
        path: The tar archive, with any compression that Python reads.

    Returns:
        Path of the zip archive.

    Raises:
        DataError: The archive is damaged, or the cache folder cannot be written.
    """
    require_regular(path, fault=DataError)
    status = path.stat()
    key = hashlib.sha256(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode()).hexdigest()[:16]
    target = cache_folder() / "alfworld" / f"{path.name.partition('.')[0]}-{key}.zip"
    # If the zip in the cache was damaged since, make it again: the user's archive is not at fault.
    if zipfile.is_zipfile(target):
        return target
    logger.info("Repacking %s once, so that each game can be read on its own.", path)
    unfinished = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Do not read it as a stream: tarfile would not notice a compressed stream that ends between two members.
        with (
            zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as packed,
            tarfile.open(path, _tar_mode(path)) as archive,
        ):
            for member in archive:
                if member.size > _MOST_MEMBER_BYTES:
                    raise DataError(
                        f"{path}: {member.name} would have {member.size:,} bytes unpacked, too many for games."
                    )
                name = game_name(member.name)
                if name is not None:
                    game = _read_member(archive, member, path)
                    packed.writestr(zipfile.ZipInfo(f"{name}/{GAME_FILE}"), game, zipfile.ZIP_DEFLATED)
            _read_to_the_end(archive)
        unfinished.replace(target)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise DataError(
            f"{path} is no whole archive ({reason}); it is cut short or damaged, fetch it again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} could not be repacked in {target.parent} ({error}); point STEP_ENVS_CACHE at a folder with room."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _tar_mode(path: Path) -> Literal["r:gz", "r:bz2", "r:xz", "r:"]:
    """Tell how a tar archive is compressed by its first bytes.

    tarfile would try each way in turn, and one of them, the headerless format of old LZMA, takes any bytes at all: it
    unpacks a file of zeros for as long as the zeros last.
    """
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return "r:gz"
    if start.startswith(b"BZh"):
        return "r:bz2"
    return "r:xz" if start == b"\xfd7zXZ\0" else "r:"


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    """Read a game out of a tar archive; a link is followed within the archive, and to nowhere else.

    Raises:
        DataError: It is a link to what the archive does not hold, no file, or larger than any game.
    """
    try:
        file = archive.extractfile(member)
    except (KeyError, RecursionError):
        raise DataError(
            f"{path}: {member.name} is a link to {member.linkname}, which is no game in the archive."
        ) from None
    if file is None:
        raise DataError(f"{path}: {member.name} is a folder or a device, not a file.")
    game = file.read(MOST_GAME_BYTES + 1)
    if len(game) > MOST_GAME_BYTES:
        raise DataError(f"{path}: {member.name} has more than {MOST_GAME_BYTES:,} bytes, which no game file has.")
    return game


def _read_to_the_end(archive: tarfile.TarFile) -> None:
    """Check that a tar archive ends with its end mark, and read on so that its decompressor compares the last checksum.

    tarfile takes a damaged or missing header for the end of the archive, and the games after it would be missing silently.

    Args:
        archive: The archive, after its last member was listed.

    Raises:
        tarfile.ReadError: There is no end mark after the last member.
    """
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no member and no end mark at byte {archive.offset}")
    while file.read(1 << 20):
        pass
