"""The jars that the Java process loads: the engine's jar, split into a shared half and a half for each engine copy.

Each engine copy needs the engine's classes for itself, because the engine keeps its state in their static fields. To load
the whole jar for each copy would be simple, but two thirds of it is the Scala library, which keeps no state that matters,
with one exception: the random generator ``scala.util.Random``. So the library is loaded once for all copies, and each copy
loads the engine and the generator. Measured with 16 copies, that halves the time to make one, and saves a third of all
processor time and 100 MB.

Java's class loaders ask their parent first, so a class that each copy must have for itself may not be in the shared jar at
all. That is why the halves are files of their own, made once from the installed jar and kept in the cache folder.
"""

import hashlib
import io
import logging
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from step_envs.cache import cache_folder
from step_envs.errors import StoreError
from step_envs.files import write_whole
from step_envs.sciworld.java.installation import find_engine_jar

_log = logging.getLogger(__name__)

# Part of the file names: to be increased whenever the content of the halves changes.
_VERSION = 1
_LIBRARY = "scala/"
_RANDOM = ("scala/util/Random.class", "scala/util/Random$.class")
# The engine's jar contains a py4j of its own, which is never used.
_UNUSED = "py4j/"


@dataclass(frozen=True)
class EngineJars:
    """The files to load the engine from.

    Attributes:
        own: The jar that each engine copy loads for itself.
        shared: The jar that all engine copies share; None if ``own`` is the whole engine.
    """

    own: Path
    shared: Path | None


def engine_jars() -> EngineJars:
    """Return the two halves of the installed engine; make them if they are not there.

    If the cache folder cannot be written, each engine copy loads the whole engine: slower, with the same results.

    Raises:
        DependencyNotInstalled: The engine is not installed.
    """
    jar = find_engine_jar()
    folder = cache_folder().absolute() / "sciworld"
    stem = f"engine-{engine_digest()[:16]}-{_VERSION}"
    own, shared = folder / f"{stem}-own.jar", folder / f"{stem}-shared.jar"
    if os.access(own, os.R_OK) and os.access(shared, os.R_OK):
        return EngineJars(own, shared)
    try:
        write_whole(shared, _half_of(jar, shared=True))
        write_whole(own, _half_of(jar, shared=False))
    except StoreError as error:
        _log.warning("Cannot write to %s (%s): every simulator loads the Scala library for itself.", folder, error)
        return EngineJars(own=jar, shared=None)
    return EngineJars(own, shared)


def engine_digest() -> str:
    """Return the SHA-256 of the installed engine's jar, in hexadecimal.

    Raises:
        DependencyNotInstalled: The engine is not installed.
    """
    jar = find_engine_jar()
    status = jar.stat()
    return _digest(jar, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _digest(jar: Path, size: int, modified: int) -> str:
    # Size and time are arguments so that a jar that was replaced is read again.
    return hashlib.sha256(jar.read_bytes()).hexdigest()


def _is_shared(name: str) -> bool:
    return name.startswith(_LIBRARY) and name not in _RANDOM


def _half_of(jar: Path, *, shared: bool) -> bytes:
    """Return one half of the classes as a jar, uncompressed so that it loads fast."""
    target = io.BytesIO()
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as half:
        for entry in source.infolist():
            wanted = entry.filename.endswith(".class") and not entry.filename.startswith(_UNUSED)
            if wanted and _is_shared(entry.filename) == shared:
                half.writestr(zipfile.ZipInfo(entry.filename), source.read(entry))
    return target.getvalue()
