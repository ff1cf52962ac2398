"""What ``step-envs data WORLD`` asks of each world's ``download.py``, and what it is told.

Each world has ``get_data(to, progress=..., **options)``, which puts official data where the environment looks for it, and
``DATA_OPTIONS``, the options it takes. So the command knows no world, and a fourth one needs no change in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class DataReport:
    """What is there after the command.

    Attributes:
        folder: Where the data is.
        counts: Number of tasks by split.
        sentence: What is there, as the beginning of a sentence that the counts end.
        hint: How to use it, where the environment does not find it by itself.
        more: Further values for ``--json``.
    """

    folder: Path
    counts: Mapping[str, int]
    sentence: str
    hint: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class DataProgress(Protocol):
    """Is told how far a download or an import is."""

    def bytes(self, file: str, done: int, total: int | None) -> None:
        """Report that ``done`` bytes of a file are there, of ``total`` (None: unknown)."""

    def items(self, what: str, done: int, total: int | None) -> None:
        """Report that something (``"Importing"``) was done to ``done`` items of ``total`` (None: unknown)."""


class NoProgress:
    """Shows nothing."""

    def bytes(self, file: str, done: int, total: int | None) -> None:
        """Ignore the report."""

    def items(self, what: str, done: int, total: int | None) -> None:
        """Ignore the report."""


NO_PROGRESS = NoProgress()
