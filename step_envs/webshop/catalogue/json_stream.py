"""Reads JSON files that are larger than memory one record at a time, and says at which line a fault is.

The official product file is one JSON array of five gigabytes. Records are cut out of it with the standard library's own
decoder, which is as fast as reading the whole file at once and accepts exactly what ``json`` accepts. ``ijson`` was tried:
it names neither the line nor the record of a fault, replaces half surrogate pairs by "?", and refuses NaN and integers
above 64 bits.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any, Final, TextIO

from step_envs.errors import DataError
from step_envs.file_reading import open_regular

_CHUNK: Final = 1 << 20
_LONGEST_RECORD: Final = 1 << 24
"""Characters: a record that has not ended by then never will. The longest of the official files has a hundredth of them."""

_MOST_BRACKETS: Final = 1 << 21
"""Lists and objects in the text that waits for the end of a record: as Python objects they take 150 MB."""

_SPACE: Final = " \t\r\n"
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Place:
    """The position in a file at which a record begins.

    Attributes:
        path: The file.
        line: Line number from 1.
        record: Record number from 1.
    """

    path: Path
    line: int
    record: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line} (record {self.record})"


def read_array(path: Path) -> Iterator[tuple[Place, Any]]:
    """Read the elements of a JSON array.

    Args:
        path: The file.

    Yields:
        Place and value of each element.

    Raises:
        DataError: The file cannot be opened, is no array, or is broken JSON; the message says at which line.
    """
    for place, _, value in _read(path, "[", "]"):
        yield place, value


def read_object(path: Path) -> Iterator[tuple[Place, str, Any]]:
    """Read the members of a JSON object.

    Args:
        path: The file.

    Yields:
        Place, key and value of each member.

    Raises:
        DataError: As ``read_array``.
    """
    yield from _read(path, "{", "}")


def _read(path: Path, opening: str, closing: str) -> Iterator[tuple[Place, str, Any]]:
    # A byte order mark is no part of the text.
    with io.TextIOWrapper(open_regular(path, fault=DataError), encoding="utf-8-sig") as file:
        try:
            yield from _Reader(path, file).members(opening, closing)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, line {_line_that_is_no_text(path)}: this is not UTF-8 text ({error.reason}). The file is "
                "damaged, or in another encoding."
            ) from error


def _line_that_is_no_text(path: Path) -> int:
    line, rest = 1, b""
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            data, rest = rest + block, b""
            try:
                data.decode("utf-8")
            except UnicodeDecodeError as error:
                if error.reason != "unexpected end of data":
                    return line + data.count(b"\n", 0, error.start)
                # The block ends within a character.
                data, rest = data[: error.start], data[error.start :]
            line += data.count(b"\n")
    return line


class _Reader:
    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._position = "", 0
        # The line number at ``_counted``, a position in the text: line breaks before it are not counted again.
        self._line, self._counted = 1, 0
        self._ended = False

    def members(self, opening: str, closing: str) -> Iterator[tuple[Place, str, Any]]:
        kind = "array" if opening == "[" else "object"
        if self._next_character() != opening:
            raise self._fault(f"a JSON {kind} must begin with {opening!r}")
        self._position += 1
        record = 0
        while self._next_character() != closing or record == 0:
            if record == 0 and self._next_character() == closing:
                break
            record += 1
            place = Place(self._path, self._line_here(), record)
            key = ""
            if opening == "{":
                key = self._value(place)
                if not isinstance(key, str):
                    raise self._fault("a key must be text", place)
                if self._next_character() != ":":
                    raise self._fault(f"':' is missing after the key {key!r}", place)
                self._position += 1
            yield place, key, self._value(place)
            following = self._next_character()
            if following == ",":
                self._position += 1
                if self._next_character() == closing:
                    raise self._fault(f"there is a comma before the closing {closing!r}")
            elif following != closing:
                what = "the file ends" if not following else f"{following!r} stands"
                raise self._fault(f"{what} where ',' or {closing!r} should be")
        self._position += 1
        if self._next_character():
            raise self._fault(f"there is more after the closing {closing!r}")

    def _value(self, place: Place) -> Any:
        self._next_character()
        while True:
            self._refuse_what_fills_memory(place)
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except JSONDecodeError as error:
                if self._ended or len(self._text) - self._position > _LONGEST_RECORD:
                    self._position = error.pos
                    raise self._fault(error.msg, place) from None
            except ValueError as error:
                # The decoder's own limit on the digits of a number.
                raise self._fault(f"it cannot be read ({error})", place) from None
            except RecursionError:
                raise self._fault("it is nested too deeply", place) from None
            else:
                # A number at the end of the text may go on in the next block.
                if end < len(self._text) or self._ended:
                    self._position = end
                    return value
            self._grow()

    def _refuse_what_fills_memory(self, place: Place) -> None:
        """Refuse a record that has not ended for long, or that is made of brackets, before it is parsed."""
        waiting = len(self._text) - self._position
        if waiting <= _CHUNK * 2:
            return
        brackets = self._text.count("[", self._position) + self._text.count("{", self._position)
        if waiting > 2 * _LONGEST_RECORD or brackets > _MOST_BRACKETS:
            raise self._fault("it is longer than any record", place)

    def _next_character(self) -> str:
        while True:
            while self._position < len(self._text):
                character = self._text[self._position]
                if character not in _SPACE:
                    return character
                self._position += 1
            if self._ended:
                return ""
            self._grow()

    def _grow(self) -> None:
        """Read on; a record that was cut is read again, so the step grows with what is already waiting."""
        self._line, self._counted = self._line_here(), 0
        rest = self._text[self._position :]
        more = self._file.read(max(_CHUNK, len(rest)))
        self._ended = not more
        self._text, self._position = rest + more, 0

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line

    def _fault(self, what: str, place: Place | None = None) -> DataError:
        record = f", in record {place.record}" if place else ""
        return DataError(f"{self._path}, line {self._line_here()}{record}: {what}. The file is damaged or incomplete.")
