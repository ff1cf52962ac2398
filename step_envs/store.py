"""Trajectories on disk, as append-only JSON Lines: a line is whole or absent, whatever happened to the writer.

A writer can be killed at any moment, and a disk can be full. Every line is therefore flushed to the disk before the next
one, and half a line at the end, which only a killed writer leaves, counts as not written.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from step_envs.errors import StoreError, first_fault
from step_envs.file_locks import lock_file
from step_envs.trajectory import Trajectory


class TrajectoryStore:
    """Writes trajectories to one file, one line each.

    A line counts once its line break is on disk. Half a line, left by a killed writer, is skipped by
    ``read_trajectories`` and cut off when the file is next opened for writing. One process writes at a time.

    Args:
        path: The file; it is made, with its folder, if it is not there.

    Raises:
        StoreError: Another process is writing to the file, or it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "r+b", buffering=0, opener=_create)  # noqa: SIM115  (closed in close)
        except OSError as error:
            raise StoreError(f"Cannot open {self.path} for writing: {error.strerror}.") from error
        try:
            lock_file(self._file.fileno())
        except OSError as error:
            self._file.close()
            raise StoreError(
                f"Another process is writing to {self.path}; wait for it or name another folder."
            ) from error
        self._end = self._cut_half_line()

    def append(self, trajectory: Trajectory) -> None:
        """Write one trajectory and flush it to the disk.

        Raises:
            StoreError: The line could not be written whole (disk full, say); the file is as it was before.
        """
        self.append_line(trajectory.to_json())

    def append_line(self, line: str) -> None:
        """Write one line of JSON and flush it to the disk; otherwise like ``append``."""
        data = line.encode() + b"\n"
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
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cut_half_line(self) -> int:
        size = self._file.seek(0, os.SEEK_END)
        end, block = size, 1 << 16
        while end > 0:
            start = max(0, end - block)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            self._file.truncate(end)
        return end


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o644)


def read_trajectories(path: str | os.PathLike[str]) -> Iterator[Trajectory]:
    """Read a store, one trajectory at a time, in the order of writing.

    Args:
        path: The file, or the run folder that holds it as ``trajectories.jsonl``.

    Raises:
        StoreError: The file is not there, or a whole line of it is not a trajectory; the message names the line.
    """
    file = Path(path)
    try:
        if file.is_dir():
            file = file / "trajectories.jsonl"
    except OSError as error:  # a name that is too long, a folder that is closed
        raise StoreError(f"Cannot read {file}: {error.strerror}.") from error
    for number, line in read_lines(file):
        try:
            yield Trajectory.from_json(line)
        except ValidationError as error:
            raise StoreError(f"Line {number} of {file} is not a trajectory: {first_fault(error)}.") from error


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read the whole lines of a store with their numbers, from 1; half a line at the end is skipped.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):
                    yield number, line
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.") from error
