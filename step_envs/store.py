"""Trajectories on disk, as append-only JSON Lines: a line is whole or absent, whatever happened to the writer.

A writer can be killed at any moment, a disk can be full, and a power cut can leave zeros. So every line is flushed to the
disk before the next one. What stands behind the last line break is either a whole trajectory (an editor or another program
left the line break out), which counts, or half of one, which does not. To open a file changes nothing in it: only
``repair``, which the first ``append`` calls, ends the last line or cuts off half a line.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError

from step_envs.errors import StoreError, first_fault
from step_envs.file_locks import lock_file
from step_envs.file_reading import MOST_BYTES, bounded_lines, cannot_read, check_json, model_from_json, require_regular
from step_envs.trajectory import Trajectory

_MOST_EMPTY_LINES = 100_000

Record = TypeVar("Record", bound=BaseModel)


class TrajectoryStore:
    """Writes trajectories to one file, one line each.

    One process writes at a time.

    Args:
        path: The file; it is made, with its folder, if it is not there. It is not changed before the first ``append`` or
            ``repair``.

    Raises:
        StoreError: Another process is writing to the file, it is no regular file, or it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                require_regular(self.path)
            self._file = open(self.path, "r+b", buffering=0, opener=_create)  # noqa: SIM115  (closed in close)
        except OSError as error:
            raise StoreError(f"Cannot open {self.path} for writing: {error.strerror}.") from error
        try:
            self._unlock = lock_file(self._file.fileno())
        except OSError as error:
            self._file.close()
            raise StoreError(
                f"Another process is writing to {self.path}; wait for it or name another folder."
            ) from error
        self._end: int | None = None

    def repair(self) -> None:
        """Make the file end with a whole line, whoever wrote it last and however they ended.

        A whole last line gets the line break that it lacks; half a line, and a last line in which a power cut left zeros,
        are cut off. Nothing else is: what a writer of trajectories never leaves is not its to remove.

        Raises:
            StoreError: The file ends with something that is no line of JSON objects, or it cannot be written.
        """
        if self._end is not None:
            return
        size = self._file.seek(0, os.SEEK_END)
        start, line = self._last_line(size)
        self._end = size
        if line.endswith(b"\n"):
            if b"\0" not in line:
                return
        elif is_whole_line(line):
            self._write(b"\n")
            return
        elif line.strip(b"\0 \t\r") and not line.startswith(b"{"):
            raise StoreError(f"{self.path} ends with something other than JSON objects: name another file to write to.")
        self._file.truncate(start)
        self._end = start

    def append(self, trajectory: Trajectory) -> None:
        """Write one trajectory and flush it to the disk.

        Raises:
            StoreError: The line could not be written whole (disk full, say); the file is as it was before.
        """
        self.append_line(trajectory.to_json())

    def append_line(self, line: str) -> None:
        """Write one line of JSON and flush it to the disk; otherwise like ``append``."""
        self.repair()
        self._write(line.encode() + b"\n")

    def _write(self, data: bytes) -> None:
        """Write at the end and flush; if that fails, the file is as it was before."""
        assert self._end is not None
        written = 0
        try:
            self._file.seek(self._end)
            while written < len(data):
                written += self._file.write(data[written:])
            os.fsync(self._file.fileno())
        except BaseException as error:
            self._file.truncate(self._end)
            if isinstance(error, OSError):
                raise StoreError(
                    f"Cannot write to {self.path}: {error.strerror}; nothing of the line was kept."
                ) from error
            raise
        self._end += len(data)

    def close(self) -> None:
        """Close the file, so that others can write to it."""
        if not self._file.closed:
            self._unlock()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last_line(self, size: int) -> tuple[int, bytes]:
        """Return where the last line begins, and the line with its line break, if it has one.

        Of half a line that is longer than any whole one only the beginning is returned.
        """
        end, block = max(0, size - 1), 1 << 16  # a line break that is the last byte ends the last line
        while end > 0:
            start = max(0, end - block)
            newline = self._read(start, end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        return end, self._read(end, min(size - end, MOST_BYTES + 1))

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        pieces = []
        while length > 0 and (piece := self._file.read(length)):  # without a buffer, it comes in pieces
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o644)


def read_trajectories(path: str | os.PathLike[str]) -> Iterator[Trajectory]:
    """Read a store, one trajectory at a time, in the order of writing.

    Args:
        path: The file, or the run folder that holds it as ``trajectories.jsonl``.

    Raises:
        StoreError: The file is not there, or a whole line of it is not a trajectory; the message names the line.
    """
    return read_records(path, Trajectory)


def read_records(path: str | os.PathLike[str], kind: type[Record]) -> Iterator[Record]:
    """Read the lines of a store as ``kind``, a model of a trajectory or of a part of one; else as ``read_trajectories``."""
    file = Path(path)
    try:
        if file.is_dir():
            file = file / "trajectories.jsonl"
    except (OSError, ValueError) as error:  # a name that is too long or holds a NUL character, a folder that is closed
        raise cannot_read(file, getattr(error, "strerror", None) or str(error), StoreError) from error
    for number, line in read_lines(file):
        try:
            yield model_from_json(kind, line)
        except ValidationError as error:
            raise StoreError(f"Line {number} of {file} is not a trajectory: {first_fault(error)}.") from error
        except (ValueError, RecursionError) as error:
            raise StoreError(f"Line {number} of {file} is not a trajectory: {error}.") from error


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read the whole lines of a store with their numbers, from 1.

    Half a line at the end, which a killed writer leaves, and empty lines are skipped.

    Raises:
        StoreError: The file cannot be read, or holds zeros in the place of a line, as a power cut leaves them.
    """
    empty = 0
    for number, line in bounded_lines(path):
        if b"\0" in line and (line.endswith(b"\n") or line.startswith(b"\0")):
            raise StoreError(
                f"Line {number} of {path} holds {line.count(bytes(1)):,} NUL bytes, as a power cut leaves them: take the "
                "line out. At the end of a run, `step-envs collect` with --resume does so."
            )
        if line.endswith(b"\n"):
            if line.strip():
                yield number, line
                continue
            empty += 1
            if empty > _MOST_EMPTY_LINES:
                raise StoreError(f"{path} holds more than {_MOST_EMPTY_LINES:,} empty lines: it is no run.")
        elif is_whole_line(line):
            yield number, line
        elif line.strip() and not line.startswith(b"{"):
            # A writer that is killed leaves the beginning of an object: this is a file of another kind.
            raise StoreError(f"Line {number} of {path} is not a trajectory: it is no JSON object.")


def is_whole_line(line: bytes) -> bool:
    """Return True for the line of a store, with or without its line break; the beginning of a line never is one itself."""
    if not line.rstrip().endswith(b"}"):
        return False
    try:
        check_json(line)
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
