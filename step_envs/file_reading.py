"""The one place that opens files which come from outside: runs, settings, games, products, catalogues.

A path that somebody names may be anything. A named pipe keeps ``open`` waiting for ever, a device never ends, sixteen
megabytes of brackets become a gigabyte of lists, and Python's own errors name neither file nor line. So a file is looked at
before it is opened, never more than a known number of bytes is read, and what JSON would take in memory is estimated from
its brackets before it is parsed. Every fault is one sentence: ``Cannot read FILE: REASON.``
"""

import codecs
import json
import os
import re
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from step_envs.errors import StepEnvsError, StoreError, shortened

if TYPE_CHECKING:
    from pydantic import BaseModel

MOST_BYTES = 64 * 2**20
"""Bytes of a file that is read as a whole, and of one line of a file of lines."""

_MOST_MEMORY = 256 * 2**20
"""Bytes that the values of one JSON text may take as Python objects, by the estimate of ``check_json``."""
_OPENED_BY_A_SHELL = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
"""A pipe of ``view <(zcat run.gz)`` has a writer at its other end; a named pipe in a folder need not have one."""
_NOT_FILES = (
    (stat.S_ISDIR, "it is a folder, not a file"),
    (stat.S_ISFIFO, "it is a named pipe, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)
_OTHER_ENCODINGS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32"} | {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SURROGATES = re.compile("[\ud800-\udfff]")

Model = TypeVar("Model", bound="BaseModel")
Fault = type[StepEnvsError]
"""Class of the error that a caller raises for its files: ``StoreError`` for runs, ``DataError`` for data."""


def open_regular(path: str | os.PathLike[str], *, fault: Fault = StoreError) -> BufferedReader:
    """Open a file for reading, whatever is at the path, without ever waiting for anybody.

    Args:
        path: The file; symbolic links are followed.
        fault: Class of the error.

    Returns:
        The open file, in bytes.

    Raises:
        StepEnvsError: Of the class ``fault``: nothing is there, or no regular file, or it may not be read.
    """
    try:
        why = _why_no_file(path, Path(path).stat().st_mode)
        if why is None:
            # The look before opening keeps tape drives still; the look after it notices a file that was exchanged.
            flags = (
                os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            )
            file = os.fdopen(os.open(path, flags), "rb")
            why = _why_no_file(path, os.fstat(file.fileno()).st_mode)
            if why is None:
                if hasattr(os, "set_blocking"):
                    os.set_blocking(file.fileno(), True)
                return file
            file.close()
    except OSError as error:
        raise cannot_read(path, error.strerror or str(error), fault) from error
    except ValueError as error:  # a NUL character in the name
        raise cannot_read(path, str(error), fault) from error
    raise cannot_read(path, why, fault)


def require_regular(path: str | os.PathLike[str], *, fault: Fault = StoreError) -> None:
    """Check that a file can be opened for reading, before a package opens it that would wait at a named pipe for ever.

    Raises:
        StepEnvsError: As ``open_regular``.
    """
    open_regular(path, fault=fault).close()


def read_bytes(path: str | os.PathLike[str], *, limit: int = MOST_BYTES, fault: Fault = StoreError) -> bytes:
    """Read a file as a whole.

    Raises:
        StepEnvsError: Of the class ``fault``: as ``open_regular``, or the file is longer than ``limit`` bytes.
    """
    with open_regular(path, fault=fault) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise cannot_read(path, error.strerror or str(error), fault) from error
    if len(data) > limit:
        raise cannot_read(path, f"it has more than {limit:,} bytes, the most for such a file", fault)
    return data


def read_text(path: str | os.PathLike[str], *, limit: int = MOST_BYTES, fault: Fault = StoreError) -> str:
    """Read a file of UTF-8 text as a whole; a byte order mark at its beginning is left out.

    Raises:
        StepEnvsError: Of the class ``fault``: as ``read_bytes``, or the file is in another encoding.
    """
    data = read_bytes(path, limit=limit, fault=fault)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise cannot_read(path, _encoding_of(data, error), fault) from error


def read_json(path: str | os.PathLike[str], *, limit: int = MOST_BYTES, fault: Fault = StoreError) -> Any:
    """Read a file that holds one JSON value.

    Raises:
        StepEnvsError: Of the class ``fault``: as ``read_bytes``, or the content is not JSON; the message names the line.
    """
    return parse_json(read_bytes(path, limit=limit, fault=fault), str(path), fault=fault)


def parse_json(text: str | bytes, source: str, *, fault: Fault = StoreError) -> Any:
    """Parse JSON text, and describe what is wrong with it in one sentence.

    Args:
        text: The text; as bytes, in UTF-8.
        source: Where it is from, as the beginning of the sentence: ``"runs/x/summary.json"``.
        fault: Class of the error.

    Raises:
        StepEnvsError: Of the class ``fault``: the text is not JSON, is nested too deeply, or would take too much memory.
    """
    try:
        check_json(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        return json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        assert isinstance(text, bytes)
        raise fault(f"{source} is not valid JSON: {_encoding_of(text, error)}.") from error
    except RecursionError as error:
        raise fault(f"{source} is not valid JSON: it is nested too deeply.") from error
    except ValueError as error:  # also the decoder's own limit on the digits of a number
        raise fault(f"{source} is not valid JSON: {str(error).rstrip('.')}.") from error


def check_json(data: bytes | bytearray) -> None:
    """Refuse JSON that would take too much memory, before it is parsed.

    An empty list takes 64 bytes and two characters, a number 32 bytes and two characters. The estimate is from above, for
    brackets within texts count as well.

    Raises:
        ValueError: It would take more than 256 MiB.
    """
    if len(data) < 2**20:
        return
    memory = 72 * (data.count(b"[") + data.count(b"{")) + 32 * data.count(b",")
    if memory > _MOST_MEMORY:
        raise ValueError(f"its lists and objects would take about {memory // 2**20:,} MiB of memory")


def model_from_json(kind: type[Model], data: bytes) -> Model:
    """Make a pydantic model from JSON, within bounds of memory.

    Args:
        kind: The class of the model.
        data: The JSON.

    Raises:
        ValueError: It is not JSON, or would take too much memory; ``pydantic.ValidationError`` where the model refuses it.
        RecursionError: It is nested too deeply.
    """
    check_json(data)
    if len(data) < 2**20:
        return kind.model_validate_json(data)
    # Of every field that is missing pydantic keeps a copy of the whole JSON; of Python objects it keeps the object.
    return kind.model_validate(json.loads(data))


def bounded_lines(path: str | os.PathLike[str], *, fault: Fault = StoreError) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file with their numbers, from 1, each with its line break if it has one.

    Args:
        path: The file; it may be larger than memory. A byte order mark at its beginning is left out.
        fault: Class of the error.

    Raises:
        StepEnvsError: Of the class ``fault``: as ``open_regular``, or a line is longer than ``MOST_BYTES``.
    """
    with open_regular(path, fault=fault) as file:
        number = 0
        while True:
            try:
                line = file.readline(MOST_BYTES + 1)
            except OSError as error:
                raise cannot_read(path, error.strerror or str(error), fault) from error
            if not line:
                return
            number += 1
            if len(line) > MOST_BYTES:
                raise cannot_read(path, f"line {number} has more than {MOST_BYTES:,} bytes", fault)
            if number == 1:
                if line.startswith(tuple(_OTHER_ENCODINGS)):
                    raise cannot_read(path, _encoding_of(line, None), fault)
                line = line.removeprefix(codecs.BOM_UTF8)
            yield number, line


def cannot_read(path: str | os.PathLike[str], reason: str, fault: Fault) -> StepEnvsError:
    """Make the error for a file that cannot be read, ready to raise; a path of many characters is shortened."""
    return fault(f"Cannot read {shortened(_SURROGATES.sub('?', os.fspath(path)), 1000)}: {reason.rstrip('.')}.")


def _why_no_file(path: str | os.PathLike[str], mode: int) -> str | None:
    if stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and os.fspath(path).startswith(_OPENED_BY_A_SHELL)):
        return None
    return next((words for is_kind, words in _NOT_FILES if is_kind(mode)), "it is not a file")


def _encoding_of(data: bytes, error: UnicodeDecodeError | None) -> str:
    for mark, name in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            return f"it is text in {name}, not in UTF-8; save it as UTF-8"
    at = "" if error is None else f" at line {data.count(bytes([10]), 0, error.start) + 1}"
    return f"it is not text in UTF-8 ({'' if error is None else error.reason}{at}); save it as UTF-8"
