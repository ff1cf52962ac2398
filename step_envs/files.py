"""Replaces files whole: a reader, or a process that was killed, finds the old file or the new one and nothing between."""

import contextlib
import os
import tempfile
from pathlib import Path

from step_envs.errors import StoreError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; its folder is made if it is not there.

    Several processes may write the same file at once: the last one wins, and none leaves a mixture.

    Args:
        path: The file.
        content: Text (written as UTF-8) or bytes.

    Raises:
        StoreError: It cannot be written (disk full, say); what was there before still is.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for every writer, in the same folder: only within one file system is a rename atomic.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError):
            raise StoreError(f"Cannot write {path}: {error.strerror}.") from error
        raise
