"""Downloads the official games from where their authors publish them; resumes a broken download and checks the result.

Nothing is downloaded unless the user asks for it: only ``step-envs data alfworld`` calls this.
"""

import shutil
import zipfile
from pathlib import Path

from step_envs.alfworld.games.archive import GAME_FILE, MOST_GAME_BYTES, FolderGames, game_name
from step_envs.alfworld.tasks import OFFICIAL_COUNTS, OfficialTasks, data_folder_from_environment, default_data_folder
from step_envs.download import Progress, PublishedFile, fetch
from step_envs.errors import DataError
from step_envs.file_reading import require_regular
from step_envs.official_data import NO_PROGRESS, DataProgress, DataReport
from step_envs.run_folder import write_json

GAMES_URL = "https://github.com/alfworld/alfworld/releases/download/0.4.0/json_2.1.2_tw-pddl.zip"
"""Release 2.1.2, as the package alfworld 0.4 plays it."""

GAMES_FILE = PublishedFile(36_493_542, "eea90499df27b9cb3147d1d1927264146d38194b575e25f70a82875545742dcb")
"""The archive at ``GAMES_URL``."""

DOWNLOADED = "download.json"
"""File beside the games: where they came from, and the SHA-256 of the archive."""

RELEASE_FOLDER = "json_2.1.1"
"""Folder of the games inside the data folder; release 2.1.2 kept the name of the release before."""

_MOST_UNPACKED = 4 << 30
"""Bytes of all files in the archive; the games of the release have 1.2 GB."""
_OTHERWISE = "get the file by other means and name it with data_path="


DATA_OPTIONS: tuple[str, ...] = ()
"""Options of ``get_data`` beside ``to`` and ``progress``."""


def get_data(to: Path | None = None, *, progress: DataProgress = NO_PROGRESS) -> DataReport:
    """Download the official games, check them, and put them where the environment looks for them.

    Args:
        to: The data folder; None means the one where the environment looks for games.
        progress: Called with the number of bytes so far.

    Raises:
        DataError: See ``download_games``.
    """
    file = GAMES_URL.rpartition("/")[2]
    folder = download_games(to, progress=lambda done, total: progress.bytes(file, done, total))
    counts = {split: found for split, (found, _) in OfficialTasks(folder).counts().items()}
    hint = None if to is None else f"To play them, set ALFWORLD_DATA={to} or name them with data_path=."
    return DataReport(folder, counts, f"The official games are in {folder}", hint)


def download_games(
    folder: Path | None = None,
    *,
    url: str = GAMES_URL,
    progress: Progress | None = None,
    expected: dict[str, int] | None = None,
) -> Path:
    """Download the official games, check them, and unpack them where the environment looks for them.

    Args:
        folder: The data folder; None means the one where the environment looks for games: that of ``ALFWORLD_DATA``, else
            ``~/.cache/alfworld``. The games are unpacked to ``json_2.1.1`` in it.
        url: The zip archive to download.
        progress: Called with the number of bytes so far.
        expected: Split -> number of games that it must have; None means the complete release.

    Returns:
        The folder with the games. If they are there already, nothing is downloaded.

    Raises:
        DataError: There is no network, or the archive is not the whole release; the message says what to do.
    """
    folder = folder or data_folder_from_environment() or default_data_folder()
    expected = OFFICIAL_COUNTS if expected is None else expected
    target = folder / RELEASE_FOLDER
    if _complete(target, expected):
        return target
    archive = folder / url.rpartition("/")[2]
    source: dict[str, str] | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            # Of an address of one's own, what the archive must be is not known. What it was is kept in any case.
            published = GAMES_FILE if url == GAMES_URL else None
            source = {
                "url": url,
                "sha256": fetch(url, archive, otherwise=_OTHERWISE, published=published, progress=progress),
            }
        _check(archive, url, expected)
        _unpack(archive, target)
        if source is not None:
            write_json(target / DOWNLOADED, source)
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}); name another folder that can.") from error
    if not _complete(target, expected):
        raise DataError(f"{target} is not complete after unpacking {archive.name}; remove the folder and try again.")
    archive.unlink()
    return target


def _complete(folder: Path, expected: dict[str, int]) -> bool:
    names = FolderGames(folder).names
    return all(sum(name.startswith(f"{split}/") for name in names) >= count for split, count in expected.items())


def _check(archive: Path, url: str, expected: dict[str, int]) -> None:
    """Check that the archive is whole and has all games; remove it if not, so that the next attempt downloads it anew."""
    try:
        require_regular(archive, fault=DataError)
        with zipfile.ZipFile(archive) as packed:
            large = next((one.filename for one in packed.infolist() if one.file_size > MOST_GAME_BYTES), None)
            whole = sum(one.file_size for one in packed.infolist())
            if large is not None:
                reason: str | None = f"{large} is larger than any game"
            elif whole > _MOST_UNPACKED:
                reason = f"it would take {whole / 1e9:,.0f} GB"
            else:
                reason = packed.testzip()
        counts = OfficialTasks(archive).counts() if reason is None else {}
    except (zipfile.BadZipFile, DataError) as error:
        reason = str(error)
    if reason is not None:
        archive.unlink()
        raise DataError(f"What came from {url} is no whole archive of games ({reason}); it was removed, try again.")
    short = [f"{split} {counts[split][0]} of {count}" for split, count in expected.items() if counts[split][0] < count]
    if short:
        archive.unlink()
        raise DataError(f"What came from {url} does not have all games ({', '.join(short)}); it was removed.")


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the game files and nothing else; each is written whole or not at all."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.namelist():
            name = game_name(member)
            if name is None or ".." in name:
                continue
            file = target / name / GAME_FILE
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            with packed.open(member) as source, part.open("wb") as destination:
                shutil.copyfileobj(source, destination)
            part.replace(file)
