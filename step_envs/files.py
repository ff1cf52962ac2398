"""Replaces files and folders whole: a reader finds the old one or the new one, and nothing between.

Writing in place would leave half a file to whoever reads at that moment, and for good if the process is killed or the disk
is full. So the new content is written beside the old, flushed to the disk, and renamed, which file systems do in one step.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from step_envs.errors import StoreError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; its folder is made if it is not there.

    Several threads and processes may write the same file at once: the last one wins, and none leaves a mixture.

    Args:
        path: The file.
        content: Text (written as UTF-8) or bytes.

    Raises:
        StoreError: It cannot be written (disk full, say); what was there before still is.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Return a place beside ``path`` to write a file or a folder to, and put it in the place of ``path`` in the end.

    If the block raises, ``path`` stays as it was. A folder in its place is removed just before a new folder is renamed; a
    file never takes the place of a folder.

    Args:
        path: What to replace; it need not be there, nor its folder.

    Yields:
        The place, at which there is nothing yet.

    Raises:
        StoreError: An ``OSError`` occurred in the block or in replacing, or a file was to take the place of a folder.
    """
    # A name of its own for every writer, in the same folder: only within one file system is a rename atomic.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in [temporary, *temporary.rglob("*")]:
            if file.is_file():
                _flush(file)
        if path.is_dir() and temporary.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror or str(error).rstrip('.')}.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # not there, or no folder to be in
                temporary.unlink()


def _flush(file: Path) -> None:
    # Opened for writing, for Windows flushes no file that is open for reading only.
    with file.open("r+b") as written:
        os.fsync(written.fileno())
