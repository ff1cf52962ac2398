"""Plans from the start of tasks, kept on disk: the engine's own solutions ("gold paths") and the compressed plans.

Computing one takes from 0.1 s to 20 s, and it depends on nothing but the engine's jar and the task. So each is computed
once and kept in a small file of its own, which many processes may read and write at the same time.
"""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from step_envs.cache import cache_folder
from step_envs.errors import StoreError
from step_envs.file_reading import read_json
from step_envs.files import write_whole
from step_envs.sciworld.java.jars import engine_digest
from step_envs.sciworld.planning.action_history import ActionHistory

_SCHEMA = "sciworld-gold/2"
_MOST_SIMPLIFICATIONS = 8
_log = logging.getLogger(__name__)


class GoldPlanCache:
    """Action lists by task, one small JSON file each.

    A file that cannot be read, or that was changed, counts as absent: a wrong plan would become wrong corrections. A folder
    that cannot be written costs time, not correctness: it is reported once to the log.

    Args:
        kind: Name of the folder of these lists, e.g. ``"gold"``. It carries a version where the lists depend on this
            package's code, so that lists of an older version are not found.
        folder: Where to keep them; None takes ``cache_folder()``.
    """

    def __init__(self, kind: str = "gold", folder: Path | None = None) -> None:
        self._kind = kind
        self._folder = folder
        self._writable = True

    def read(self, task: ActionHistory) -> list[str] | None:
        """Return the list of a task, or None if there is none that can be read.

        An empty list means that no plan exists, which also took time to find out.
        """
        try:
            saved = read_json(self.path(task))
        except StoreError:
            return None
        if not isinstance(saved, dict):
            return None
        actions = saved.get("actions")
        if not (isinstance(actions, list) and all(isinstance(action, str) for action in actions)):
            return None
        return actions if saved == _file_of(task, actions) else None

    def write(self, task: ActionHistory, actions: list[str]) -> None:
        """Keep the list of a task, unless there are many of the same task and variation with other simplifications.

        Any order of any names is a simplification. Whoever may choose it, as a client of a server may, could otherwise fill
        the disk with the plans of one task.
        """
        path = self.path(task)
        if not path.exists() and sum(1 for _ in path.parent.glob(f"{task.variation}.*.json")) >= _MOST_SIMPLIFICATIONS:
            return
        text = json.dumps(_file_of(task, actions), indent=0)
        try:
            write_whole(path, text)
        except StoreError as error:
            if self._writable:
                _log.warning(
                    "Gold paths cannot be kept in %s (%s): they are worked out every time.", path.parent, error
                )
            self._writable = False

    def path(self, task: ActionHistory) -> Path:
        """Name the file of a task."""
        simplification = re.sub(r"[^A-Za-z,]", "_", task.simplification) or "none"
        folder = (self._folder or cache_folder()) / "sciworld" / self._kind / engine_digest()[:16]
        return folder / task.task / f"{task.variation}.{simplification}.json"


def _file_of(task: ActionHistory, actions: list[str]) -> dict[str, Any]:
    content = {"schema": _SCHEMA, "task": [task.task, task.variation, task.simplification], "actions": actions}
    return content | {"sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}
