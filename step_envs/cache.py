"""Where by-products are kept: what takes time to make and can be made again."""

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "STEP_ENVS_CACHE"
"""Environment variable that names the folder to use in place of the user's cache."""


def cache_folder() -> Path:
    """The folder for by-products: ``STEP_ENVS_CACHE``, else ``step-envs`` in the user's cache. May not exist."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return _user_cache() / "step-envs"


def _user_cache() -> Path:
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base)
    home = Path.home()
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
