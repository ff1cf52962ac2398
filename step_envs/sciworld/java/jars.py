"""The jars that the Java process loads, and how one engine jar becomes one shared half and one half a simulator.

Each simulator needs the engine's classes for itself, because the engine keeps its state in their static fields.
The Scala library, two thirds of the jar, keeps none that matters, with one exception: the random generator
``scala.util.Random``. So the library is loaded once for all, and each simulator loads the engine and the
generator. Measured with 16 simulators, that halves the time to make one and saves a third of all processor time
and 100 MB.

Java's loaders ask their parent first, so what each simulator must have for itself may not be in the shared jar at
all: the two halves are files of their own, made once from the installed jar and kept in the cache folder.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from step_envs.cache import cache_folder
from step_envs.errors import missing_package

_log = logging.getLogger(__name__)

# Goes into the names of the files: to be counted up when the way they are made changes.
_VERSION = 1
_LIBRARY = "scala/"
_RANDOM = ("scala/util/Random.class", "scala/util/Random$.class")
# The jar brings a py4j of its own, which would never be used.
_UNUSED = "py4j/"


@dataclass(frozen=True)
class EngineJars:
    """What to load the engine from.

    Attributes:
        own: The jar that each simulator loads for itself.
        shared: The jar that all simulators share; None where ``own`` is the whole engine.
    """

    own: Path
    shared: Path | None


def find_engine_jar() -> Path:
    """Finds the engine's jar in the installed ``scienceworld`` package, without importing the package.

    Raises:
        DependencyNotInstalled: The package, or the jar inside it, is not there.
    """
    folder = package_folder("scienceworld")
    jar = folder / "scienceworld.jar" if folder is not None else None
    if jar is None or not jar.is_file():
        raise missing_package("scienceworld", "ScienceWorld", None)
    return jar


def find_gateway_jar() -> Path:
    """Finds the Java half of py4j, which answers our calls inside the Java process.

    Raises:
        DependencyNotInstalled: py4j, or its jar, is not there.
    """
    if importlib.util.find_spec("py4j") is not None:
        from py4j.java_gateway import find_jar_path

        jar = find_jar_path()
        if jar:
            return Path(jar).resolve()
    raise missing_package("py4j", "ScienceWorld", None)


def package_folder(name: str) -> Path | None:
    """The folder of an installed package, without importing it; None where there is none."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def engine_jars() -> EngineJars:
    """The two halves of the installed engine, made now if need be.

    Where the cache folder cannot be written each simulator loads the whole engine: slower, and no less right.

    Raises:
        DependencyNotInstalled: The engine is not installed.
    """
    jar = find_engine_jar()
    status = jar.stat()
    folder = cache_folder().absolute() / "sciworld"
    stem = f"engine-{_digest(jar, status.st_size, status.st_mtime_ns)[:16]}-{_VERSION}"
    halves = EngineJars(own=folder / f"{stem}-own.jar", shared=folder / f"{stem}-shared.jar")
    assert halves.shared is not None
    if os.access(halves.own, os.R_OK) and os.access(halves.shared, os.R_OK):
        return halves
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _extract(jar, halves.shared, shared=True)
        _extract(jar, halves.own, shared=False)
    except OSError as error:
        _log.warning("Cannot write to %s (%s): every simulator loads the Scala library for itself.", folder, error)
        return EngineJars(own=jar, shared=None)
    return halves


@lru_cache(maxsize=4)
def _digest(jar: Path, size: int, modified: int) -> str:
    """SHA-256 of a jar; size and time are there so that a replaced jar is read again."""
    return hashlib.sha256(jar.read_bytes()).hexdigest()


def _is_shared(name: str) -> bool:
    return name.startswith(_LIBRARY) and name not in _RANDOM


def _extract(jar: Path, target: Path, *, shared: bool) -> None:
    """Writes the classes of one half to a jar, uncompressed for speed; whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            zipfile.ZipFile(jar) as source,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as half,
        ):
            for entry in source.infolist():
                wanted = entry.filename.endswith(".class") and not entry.filename.startswith(_UNUSED)
                if wanted and _is_shared(entry.filename) == shared:
                    half.writestr(zipfile.ZipInfo(entry.filename), source.read(entry))
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
