"""The jars that the Java process loads: the engine's jar, split into a shared half and a half for each engine copy.

Each engine copy needs the engine's classes for itself, because the engine keeps its state in their static fields. To load
the whole jar for each copy would be simple, but two thirds of it is the Scala library, which keeps no state that matters,
with one exception: the random generator ``scala.util.Random``. So the library is loaded once for all copies, and each copy
loads the engine and the generator. Measured with 16 copies, that halves the time to make one, and saves a third of all
processor time and 100 MB.

Java's class loaders ask their parent first, so a class that each copy must have for itself may not be in the shared jar at
all. That is why the halves are files of their own, made once from the installed jar and kept in the cache folder. The name
of each ends with a digest of its content: a file that was damaged is found out and made again.

The fast backend loads the same halves, and before them the classes that it replaces (``engine_patch``) and its own
(``classes/``, compiled from ``src/``).
"""

import contextlib
import hashlib
import io
import logging
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from step_envs.cache import cache_folder
from step_envs.errors import EngineError, StoreError
from step_envs.files import write_whole
from step_envs.sciworld.java.engine_patch import ENGINE_DIGEST, patched_classes
from step_envs.sciworld.java.installation import find_engine_jar

_log = logging.getLogger(__name__)

# Part of the file names: to be increased whenever the content of the halves changes.
_VERSION = 2
_LIBRARY = "scala/"
_RANDOM = ("scala/util/Random.class", "scala/util/Random$.class")
# The engine's jar contains a py4j of its own, which is never used.
_UNUSED = "py4j/"
_OUR_CLASSES = Path(__file__).parent / "classes"
LANES_JAR = _OUR_CLASSES / "lanes.jar"
"""What Python calls in the Java process for the fast backend; loaded once for all lanes."""


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
    if os.pathsep in str(folder):
        # The shared half is named in Java's class path.
        _log.warning("%s has %r in its name: every simulator loads the Scala library for itself.", folder, os.pathsep)
        return EngineJars(own=jar, shared=None)
    halves = [_kept(folder, f"{stem}-{name}") for name in ("own", "shared")]
    try:
        own = halves[0] or _keep(folder, f"{stem}-own", _half_of(jar, shared=False))
        shared = halves[1] or _keep(folder, f"{stem}-shared", _half_of(jar, shared=True))
    except StoreError as error:
        _log.warning("Cannot write to %s (%s): every simulator loads the Scala library for itself.", folder, error)
        return EngineJars(own=jar, shared=None)
    return EngineJars(own, shared)


def _keep(folder: Path, stem: str, content: bytes) -> Path:
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.jar"
    write_whole(path, content)
    return path


def _kept(folder: Path, stem: str) -> Path | None:
    """Return the jar of a stem whose content is what its name says; None if there is none."""
    for path in sorted(folder.glob(f"{stem}-*.jar")):
        with contextlib.suppress(OSError):
            if hashlib.sha256(path.read_bytes()).hexdigest()[:16] == path.stem.rpartition("-")[2]:
                return path
    return None


def check_fast_backend() -> None:
    """Check that the fast backend can be used with the installed engine.

    Raises:
        DependencyNotInstalled: The engine is not installed.
        EngineError: It is not the engine that the fast backend was made for, or our classes are missing.
    """
    if engine_digest() != ENGINE_DIGEST:
        raise EngineError(
            f"The fast backend of ScienceWorld patches the engine of scienceworld 1.2.3, and {find_engine_jar()} is "
            f'another one (sha256 {engine_digest()[:16]}...): install scienceworld==1.2.3, or use backend="stock".'
        )
    for jar in (LANES_JAR, _OUR_CLASSES / "fast_engine.jar"):
        if not jar.is_file():
            raise EngineError(
                f'The fast backend of ScienceWorld lacks {jar}: install step-envs again, or use backend="stock".'
            )


def lane_class_path(jars: EngineJars, folder: Path) -> str:
    """Return what a lane of the fast backend loads its classes from: addresses of jars, one a line.

    The patched classes are written anew for each process, into its own folder: that takes 10 ms, and a file of an earlier
    version, or one that another process is writing, cannot be met.

    Args:
        jars: The halves of the engine that the process loads.
        folder: Where to write the patched classes.

    Raises:
        DependencyNotInstalled: The engine is not installed.
        EngineError: See ``check_fast_backend``.
    """
    check_fast_backend()
    patched = folder / "patched_classes.jar"
    write_whole(patched, patched_classes(jars.own))
    # Not a class path as Java's option -cp has it, which has no way to write a colon in the name of a folder.
    return "\n".join(path.absolute().as_uri() for path in (patched, _OUR_CLASSES / "fast_engine.jar", jars.own))


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
