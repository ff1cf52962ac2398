"""Reads a file of lines while another process writes to it: each whole line once, however often one looks.

A run that is watched may not have begun, may be in the middle of a line, may be killed and resumed (which cuts off half a
line at the end), and its folder may be removed and filled again. Reading the whole file at every look would be simple, and
too slow for a run of gigabytes. So the place behind the last whole line is remembered, with the bytes before it: if these
are not there any more, it is another file, and reading begins anew.
"""

from pathlib import Path
from typing import NamedTuple

from step_envs.errors import StoreError
from step_envs.file_reading import MOST_BYTES, cannot_read, open_regular
from step_envs.store import is_whole_line

_BEFORE = 64
"""Bytes before the place that are compared."""


class GrowingLine(NamedTuple):
    """A whole line.

    Attributes:
        number: Its number, from 1.
        start: Where it begins, in bytes.
        text: Its bytes, with its line break; None where the line is longer than ``MOST_BYTES``.
    """

    number: int
    start: int
    text: bytes | None


class GrowingFile:
    """A file of JSON lines that another process may be writing to.

    Args:
        path: The file, which need not be there yet.

    Attributes:
        generation: Counted up whenever the file was exchanged or cut, so that what was read of it is void.
        exists: The file was there when it was last read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self.exists = False
        self._place, self._number, self._before, self._skipping = 0, 1, b"", False

    def read(self, most: int) -> list[GrowingLine]:
        """Read the whole lines that follow those that were read.

        Args:
            most: Bytes after which no further line is begun.

        Raises:
            StoreError: The file cannot be read.
        """
        if not self.path.exists():
            self.exists = False
            if self._place:
                self._restart()
            return []
        lines: list[GrowingLine] = []
        with open_regular(self.path) as file:
            self.exists = True
            try:
                file.seek(self._place - len(self._before))
                if file.read(len(self._before)) != self._before:
                    self._restart()
                    file.seek(0)
                end = self._place + most
                while self._place < end and (line := file.readline(MOST_BYTES + 1)):
                    if not self._take(line, lines):
                        break
            except OSError as error:
                raise cannot_read(self.path, error.strerror or str(error), StoreError) from error
        return lines

    def _take(self, line: bytes, lines: list[GrowingLine]) -> bool:
        """Take in a line, or the first bytes of one that is too long; return False for one that is not whole yet."""
        ended = line.endswith(b"\n")
        too_long = self._skipping or len(line) > MOST_BYTES
        if not ended and not too_long and not is_whole_line(line):
            return False
        if not self._skipping and line.strip():
            lines.append(GrowingLine(self._number, self._place, None if too_long else line))
        self._skipping = too_long and not ended
        self._place += len(line)
        self._before = (self._before + line)[-_BEFORE:]
        if ended:
            self._number += 1
        return True

    def _restart(self) -> None:
        self._place, self._number, self._before, self._skipping = 0, 1, b"", False
        self.generation += 1
