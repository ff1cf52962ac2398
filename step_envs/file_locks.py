"""A lock on an open file, by which one process keeps others from writing to it.

POSIX has ``flock``. Windows has locks on ranges of bytes, which also keep others from reading the range; so there one byte
far behind the data is locked, and the data can be read while it is written. (``portalocker`` does the former and locks a
file on Windows from its first byte, so that nobody could look into a run that goes on.)
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

_FAR_BYTE = (1 << 31) - 2
"""Windows locks relative to a position that is a 32-bit number."""


def lock_file(handle: int) -> Callable[[], None]:
    """Lock an open file until it is unlocked or closed, by whatever means the process ends.

    Args:
        handle: The file descriptor.

    Returns:
        A function that unlocks the file; call it before the file is closed. Closing alone is not enough: a child process
        that another thread is starting has a copy of the open file, and with it the lock, until it runs its own program,
        and a forked one has it until it ends. In a forked child the function does nothing: the lock is its parent's.

    Raises:
        BlockingIOError: Another process, or another open file of this one, holds the lock.
        OSError: The file system knows no locks.
    """
    try:
        fcntl: Any = import_module("fcntl")
    except ImportError:
        _lock_far_byte(handle)
        return lambda: None  # on Windows a child has no copy of an open file
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    owner = os.getpid()

    def unlock() -> None:
        if os.getpid() == owner:
            fcntl.flock(handle, fcntl.LOCK_UN)

    return unlock


def _lock_far_byte(handle: int) -> None:
    msvcrt: Any = import_module("msvcrt")
    position = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, _FAR_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        raise BlockingIOError(error.errno, error.strerror) from error
    finally:
        os.lseek(handle, position, os.SEEK_SET)
