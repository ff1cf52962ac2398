"""Reports the official data of ScienceWorld, which comes with the package ``scienceworld``: there is nothing to download.

ALFWorld and WebShop keep their tasks in files that have to be fetched. All variations of ScienceWorld's tasks are inside
the engine's jar, so this only finds the jar and counts the tasks.
"""

from importlib.metadata import version
from pathlib import Path

from step_envs.official_data import NO_PROGRESS, DataProgress, DataReport
from step_envs.sciworld.java.installation import find_engine_jar
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
    return DataReport(
        jar.parent,
        {split: len(tasks.ids(split)) for split in OFFICIAL_SPLITS},
        f"All tasks of ScienceWorld {version('scienceworld')} are in its engine, {jar}; nothing has to be downloaded",
    )
