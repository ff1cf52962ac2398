"""Reports the official data of ScienceWorld, which comes with the package ``scienceworld``: there is nothing to download.

ALFWorld and WebShop keep their tasks in files that have to be fetched. All variations of ScienceWorld's tasks are inside
the engine's jar, so this only finds the jar and counts the tasks.
"""

import base64
from importlib.metadata import distribution, version
from pathlib import Path

from step_envs.official_data import NO_PROGRESS, DataProgress, DataReport
from step_envs.sciworld.java.installation import find_engine_jar
from step_envs.sciworld.java.jars import engine_digest
from step_envs.sciworld.tasks import OFFICIAL_SPLITS, SciWorldTasks

DATA_OPTIONS: tuple[str, ...] = ()
"""Options of ``get_data`` beside ``to`` and ``progress``."""


def get_data(to: Path | None = None, *, progress: DataProgress = NO_PROGRESS) -> DataReport:
    """Find the engine and count its tasks.

    Args:
        to: Must be None: the engine is played from where pip installed it.
        progress: Is told nothing, since nothing is fetched.

    Raises:
        ValueError: ``to`` was given.
        gymnasium.error.DependencyNotInstalled: The package ``scienceworld`` is not installed.
    """
    if to is not None:
        raise ValueError("ScienceWorld's tasks come with the package scienceworld, so there is nothing to put in --to.")
    jar, tasks = find_engine_jar(), SciWorldTasks()
    digest = engine_digest()
    changed = _is_changed(jar, digest)
    return DataReport(
        jar.parent,
        {split: len(tasks.ids(split)) for split in OFFICIAL_SPLITS},
        f"All tasks of ScienceWorld {version('scienceworld')} are in its engine, {jar}; nothing has to be downloaded",
        f"{jar.name} is not the file that pip installed (its SHA-256 is {digest}): what is played in it is another world. "
        "Reinstall the package scienceworld for the official one."
        if changed
        else None,
        {"sha256": digest, "as_installed": not changed},
    )


def _is_changed(jar: Path, digest: str) -> bool:
    """Return True if the jar is not the one whose digest the package's own list of files has."""
    listed = [
        file for file in distribution("scienceworld").files or () if file.name == jar.name and file.hash is not None
    ]
    expected = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
    return any(file.hash is not None and file.hash.mode == "sha256" and file.hash.value != expected for file in listed)
