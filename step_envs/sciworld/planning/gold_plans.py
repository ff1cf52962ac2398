"""The engine's own solutions, worked out once and kept on disk.

Working one out takes from 0.1 s to 20 s. It depends on nothing but the engine's jar and the task, so that it is kept in a
file of its own, which many processes may read and write at the same time.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from step_envs.cache import cache_folder
from step_envs.sciworld.java.jars import find_engine_jar
from step_envs.sciworld.planning.action_history import Episode

_SCHEMA = "sciworld-gold/1"
_log = logging.getLogger(__name__)


class GoldCache:
    """Action lists by task, one small JSON file each.

    A file is whole or absent: it is written under another name and then renamed. One that cannot be read is as good as
    absent. A folder that cannot be written costs time, not correctness: it is reported once to the log.

    Args:
        kind: What the lists are, e.g. ``"gold"``; with a version in it, since whoever changes how a list is made must
            not be given the old ones.
        folder: Where to keep them; None takes ``cache_folder()``.
    """

    def __init__(self, kind: str = "gold", folder: Path | None = None) -> None:
        self._kind = kind
        self._folder = folder
        self._writable = True

    def read(self, episode: Episode) -> list[str] | None:
        """Give the list of a task, or None where there is none that can be read. A list may be empty: nothing was found."""
        try:
            saved = json.loads(self.path(episode).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(saved, dict) or saved.get("task") != _identity(episode):
            return None
        actions = saved.get("actions")
        if not (saved.get("schema") == _SCHEMA and isinstance(actions, list)):
            return None
        return actions if all(isinstance(action, str) for action in actions) else None

    def write(self, episode: Episode, actions: list[str]) -> None:
        """Keep the list of a task."""
        path = self.path(episode)
        text = json.dumps({"schema": _SCHEMA, "task": _identity(episode), "actions": actions}, indent=0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text)
        except OSError as error:
            if self._writable:
                _log.warning(
                    "Gold paths cannot be kept in %s (%s): they are worked out every time.", path.parent, error
                )
            self._writable = False

    def path(self, episode: Episode) -> Path:
        """Name the file of a task."""
        simplification = re.sub(r"[^A-Za-z,]", "_", episode.simplification) or "none"
        folder = (self._folder or cache_folder()) / "sciworld" / self._kind / _jar_digest()
        return folder / episode.task / f"{episode.variation}.{simplification}.json"


def _identity(episode: Episode) -> list[Any]:
    return [episode.task, episode.variation, episode.simplification]


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _jar_digest() -> str:
    jar = find_engine_jar()
    status = jar.stat()
    return _digest(jar, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _digest(jar: Path, size: int, changed: int) -> str:
    with jar.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
