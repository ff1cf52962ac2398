"""A cache of endpoints' answers in SQLite: a run that is resumed or repeated pays for no answer twice.

Rows are JSON in a database in write-ahead mode, so that a process killed at any moment leaves a whole cache behind and
several processes can share one. ``Gateway`` puts only complete answers in: no refusals, cut-off texts or faults.
"""

import hashlib
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from step_envs.errors import StoreError
from step_envs.file_reading import require_regular

_SCHEMA = """\
CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  answer TEXT NOT NULL,
  created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID"""


class ResponseCache:
    """Answers, each stored under the key of its request.

    Args:
        path: The database file; it is made, with its folder, if it is not there.

    Raises:
        StoreError: The file cannot be opened or is not such a cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                require_regular(path)
            self._database = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            # A row that a disk or a program has garbled need not be text.
            self._database.text_factory = bytes
            self._database.execute("PRAGMA journal_mode=WAL")
            # Committed answers survive the end of the process; only a power cut can lose the last ones.
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"Cannot open the response cache {path}: {error}.") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the answer of a request; None where there is none that can be read, so that it is asked for anew."""
        try:
            with self._lock:
                row = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"Cannot read the response cache {self.path}: {error}.") from error
        if row is None:
            return None
        try:
            answer = json.loads(row[0])
        except (ValueError, TypeError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None

    def put(self, key: str, model: str, answer: dict[str, Any]) -> None:
        """Store an answer.

        Raises:
            StoreError: It cannot be written (disk full, say); the cache stays as it was.
        """
        try:
            with self._lock:
                self._database.execute(
                    "INSERT OR REPLACE INTO answers (key, model, answer) VALUES (?, ?, ?)",
                    (key, model, json.dumps(answer)),
                )
        except sqlite3.Error as error:
            raise StoreError(f"Cannot write to the response cache {self.path}: {error}.") from error

    def __len__(self) -> int:
        with self._lock:
            count: int = self._database.execute("SELECT count(*) FROM answers").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()


def request_key(base_url: str, request: dict[str, Any], sample: int) -> str:
    """Return the key of a request, which depends on endpoint, model, messages, parameters and sample alone.

    Args:
        base_url: The endpoint.
        request: Model, messages and parameters, as they are sent.
        sample: Tells apart answers to one request that are meant to differ.
    """
    what = json.dumps([base_url, request, sample], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()
