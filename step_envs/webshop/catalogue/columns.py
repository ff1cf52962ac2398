"""Columns on disk: arrays and lists of strings, written once, then memory-mapped.

In the original, every environment loads all products into memory. Here, opening a column reads only its header, and all
processes that open the same file share its memory, so that a catalogue takes memory once per machine.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from step_envs.errors import DataError
from step_envs.file_reading import require_regular

Array = npt.NDArray[Any]

_BLOB: Final = ".bin"
_OFFSETS: Final = ".offsets.npy"
_ZEROS: Final = 1 << 20


def write_array(folder: Path, name: str, values: npt.ArrayLike, dtype: npt.DTypeLike) -> None:
    """Write a one-dimensional column."""
    np.save(folder / f"{name}.npy", np.ascontiguousarray(values, dtype=dtype))


def open_array(folder: Path, name: str) -> Array:
    """Memory-map a column that ``write_array`` wrote."""
    path = folder / f"{name}.npy"
    require_regular(path, fault=DataError)
    # An empty array cannot be mapped, and costs nothing in memory.
    header = np.load(path, mmap_mode="r") if path.stat().st_size > 128 else np.load(path)
    return np.asarray(header) if header.size == 0 else header.view(np.ndarray)


def new_array(folder: Path, name: str, dtype: npt.DTypeLike, length: int) -> Array:
    """Make a column of zeros on disk, to be written in any order; ``flush_array`` finishes it."""
    path = folder / f"{name}.npy"
    if length == 0:
        empty: Array = np.zeros(0, dtype=dtype)
        np.save(path, empty)
        return empty
    column = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(length,))
    offset, size = column.offset, column.nbytes
    del column
    # On a full disk, writing to a mapped page that has no place there yet kills the process; a write is an error.
    with path.open("r+b") as file:
        file.seek(offset)
        for start in range(0, size, _ZEROS):
            file.write(bytes(min(_ZEROS, size - start)))
    return np.lib.format.open_memmap(path, mode="r+")


def flush_array(column: Array) -> None:
    """Write a column of ``new_array`` to disk."""
    if isinstance(column, np.memmap):
        column.flush()


class TextColumnWriter:
    """Writes a list of strings one after the other, without keeping them in memory."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._blob = (folder / f"{name}{_BLOB}").open("wb", buffering=1 << 20)
        self._offsets = [0]

    def append(self, text: str) -> None:
        """Add a string at the end."""
        data = text.encode("utf-8", "surrogatepass")
        self._blob.write(data)
        self._offsets.append(self._offsets[-1] + len(data))

    def close(self) -> None:
        """Finish the column."""
        self._blob.close()
        np.save(self._folder / f"{self._name}{_OFFSETS}", np.asarray(self._offsets, dtype=np.uint64))


def write_texts(folder: Path, name: str, texts: Iterable[str]) -> None:
    """Write a list of strings."""
    writer = TextColumnWriter(folder, name)
    for text in texts:
        writer.append(text)
    writer.close()


class TextColumn(Sequence[str]):
    """A list of strings on disk, read one at a time.

    Args:
        folder: Folder of the column.
        name: Name of the column.

    Raises:
        OSError: A file is missing.
        ValueError: A file is cut short.
    """

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / f"{name}{_BLOB}"
        for file in (path, folder / f"{name}{_OFFSETS}"):
            require_regular(file, fault=DataError)
        self._offsets = np.load(folder / f"{name}{_OFFSETS}", mmap_mode="r").view(np.ndarray)
        self._blob: Array = (
            np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
            if path.stat().st_size
            else np.zeros(0, dtype=np.uint8)
        )
        if len(self._blob) != self._offsets[-1]:
            raise ValueError(f"{path.name} has {len(self._blob)} bytes of {self._offsets[-1]}")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.bytes_at(index % len(self)).decode("utf-8", "surrogatepass")

    def bytes_at(self, index: int) -> bytes:
        """Read a string as UTF-8, without the cost of decoding it."""
        return self._blob[int(self._offsets[index]) : int(self._offsets[index + 1])].tobytes()

    def find(self, text: str) -> int | None:
        """Find a string in a column whose strings are sorted by their UTF-8 bytes.

        Returns:
            Its index, or None where it is not there.
        """
        wanted = text.encode("utf-8", "surrogatepass")
        place = bisect.bisect_left(range(len(self)), wanted, key=self.bytes_at)
        return place if place < len(self) and self.bytes_at(place) == wanted else None


def sort_key(text: str) -> bytes:
    """Return a key that sorts strings as Lucene does, by their UTF-8 bytes."""
    return text.encode("utf-8", "surrogatepass")


class Groups:
    """Maps each value (a category, a query, an attribute) to the products that have it, in catalogue order.

    Args:
        folder: Folder of the columns.
        name: First part of their names.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._values = TextColumn(folder, f"{name}.values")
        self._starts = open_array(folder, f"{name}.starts")
        self._members = open_array(folder, f"{name}.members")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, value: str) -> Array:
        place = self._values.find(value)
        if place is None:
            return self._members[:0]
        return self._members[int(self._starts[place]) : int(self._starts[place + 1])]


class GroupsWriter:
    """Writes ``Groups`` from pairs of value and product."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._pairs: list[tuple[int, int]] = []
        self._chunks: list[Array] = []

    def add(self, value: str, product: int) -> None:
        """Add a product that has a value; products must come in ascending order."""
        number = self._numbers.setdefault(value, len(self._numbers))
        self._pairs.append((number, product))
        if len(self._pairs) >= 1 << 16:
            self._flush()

    def _flush(self) -> None:
        if self._pairs:
            self._chunks.append(np.asarray(self._pairs, dtype=np.uint32))
            self._pairs = []

    def write(self, folder: Path, name: str) -> None:
        """Write everything that was added."""
        self._flush()
        pairs = np.concatenate(self._chunks) if self._chunks else np.zeros((0, 2), dtype=np.uint32)
        values = sorted(self._numbers, key=sort_key)
        rank = np.zeros(len(values) + 1, dtype=np.uint32)
        for place, value in enumerate(values):
            rank[self._numbers[value]] = place
        groups = rank[pairs[:, 0]]
        order = np.argsort(groups, kind="stable")
        write_texts(folder, f"{name}.values", values)
        write_array(folder, f"{name}.starts", np.searchsorted(groups[order], np.arange(len(values) + 1)), np.uint64)
        write_array(folder, f"{name}.members", pairs[order, 1], np.uint32)
