"""Compile the Java half of ScienceWorld's fast backend: python scripts/sciworld_jars.py.

It needs a JDK 17, which users do not: the two jars in ``step_envs/sciworld/java/classes`` are part of the package.

==================== =========================================================================================
``lanes.jar``        loaded once in the Java process: what Python calls
``fast_engine.jar``  loaded once in each lane: what takes the place of methods of the engine
==================== =========================================================================================

The jars are the same bytes on every machine: compiled by javac 17, entries sorted, without dates. A test compiles the
sources again and compares.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from step_envs.files import replacing
from step_envs.sciworld.java.engine_patch import patched_classes
from step_envs.sciworld.java.installation import find_engine_jar

JAVA = Path(__file__).resolve().parent.parent / "step_envs" / "sciworld" / "java"
RELEASE = 17  # the oldest Java that step-envs runs ScienceWorld with
JARS = {"lanes.jar": "stepenvs/lanes", "fast_engine.jar": "stepenvs/engine"}


def find_compiler() -> str | None:
    """Return the path of a javac of the release that the jars are built with; another one writes other bytes."""
    javac = shutil.which("javac")
    if javac is None:
        return None
    answer = subprocess.run([javac, "-version"], capture_output=True, text=True, check=True)
    version = re.match(r"javac (\d+)", answer.stdout + answer.stderr)
    return javac if version is not None and int(version[1]) == RELEASE else None


def build(javac: str, target: Path) -> None:
    """Compile the sources and write the jars into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        patched, classes = Path(folder) / "patched.jar", Path(folder) / "classes"
        # The sources call methods that only the patch makes public.
        patched.write_bytes(patched_classes(find_engine_jar()))
        sources = sorted(str(path) for path in (JAVA / "src").rglob("*.java"))
        class_path = os.pathsep.join(map(str, (patched, find_engine_jar())))
        options = ["--release", str(RELEASE), "-encoding", "UTF-8", "-g:source,lines", "-proc:none", "-nowarn"]
        subprocess.run([javac, *options, "-Xlint:none", "-cp", class_path, "-d", classes, *sources], check=True)
        for name, package in JARS.items():
            # Written whole: a Java process may have the old one open.
            with replacing(target / name) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as jar:
                for path in sorted((classes / package).rglob("*.class")):
                    jar.writestr(zipfile.ZipInfo(path.relative_to(classes).as_posix()), path.read_bytes())


def main() -> None:
    """Write the jars into the package."""
    javac = find_compiler()
    if javac is None:
        sys.exit(f"The jars are built with javac {RELEASE}, which is not on the PATH (Debian: openjdk-{RELEASE}-jdk).")
    build(javac, JAVA / "classes")


if __name__ == "__main__":
    main()
