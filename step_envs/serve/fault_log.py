"""Logs what nobody foresaw, and keeps the log short: whoever can make a request fail can make it fail a million times."""

import logging
import threading
import traceback
from collections import Counter
from pathlib import Path

_IN_FULL = 5

_log = logging.getLogger("step_envs.serve")


class FaultLog:
    """Logs the first faults of each kind with their traceback; after that only that there were 10, 100, 1,000 of them.

    Faults are of one kind if their class and the line of code that raised them are the same, so that there are no more
    kinds than lines of code.
    """

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str, int]] = Counter()
        self._lock = threading.Lock()

    def record(self, error: BaseException) -> None:
        """Log a fault."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        file, line = (last[0].filename, last[0].lineno or 0) if last else ("", 0)
        kind = type(error).__name__, file, line
        with self._lock:
            self._seen[kind] += 1
            count = self._seen[kind]
        if count <= _IN_FULL:
            _log.error("A request failed.", exc_info=error)
        elif str(count).rstrip("0") == "1":
            _log.error("%s requests failed with %s at %s, line %s.", f"{count:,}", kind[0], Path(file).name, line)
