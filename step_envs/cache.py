"""The folder for by-products: files that take time to make and can be made again."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "STEP_ENVS_CACHE"
"""Environment variable that names the folder to use in place of the user's cache."""


def cache_folder() -> Path:
    """Return the folder for by-products, which may not exist yet.

    Returns:
        The folder that ``STEP_ENVS_CACHE`` names, else ``step-envs`` in the user's cache, e.g. ``~/.cache/step-envs``.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_cache_path("step-envs", appauthor=False, opinion=False)
