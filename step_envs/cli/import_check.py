"""Imports packages on trial, to find installations that are there by their metadata and do not work.

A half-unpacked wheel, a copy that lost a folder or a library for another processor still has a version. Only an import
tells. The imports are tried in one child process: packages that change their process at import (signals, threads,
environment) do not change this one, and one that brings its process down is reported like one that raises.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

SECONDS = 600
"""How long all imports together may take; so long only where one of them hangs."""

PACKAGES = (
    *("agents", "agents.local", "alfworld", "alfworld.games", "alfworld.generation", "alfworld.planning"),
    *(
        "alfworld.simulation",
        "cli",
        "collection",
        "credit",
        "endpoint",
        "exports",
        "integrations",
        "replies",
        "report",
        "sciworld",
        "hub",
    ),
    *(
        "sciworld.java",
        "sciworld.planning",
        "serve",
        "testing",
        "training",
        "training.experiments",
        "training.experiments.worlds",
        "training.distillation",
        "training.preferences",
        "training.progress",
        "training.recipes",
        "viewer",
        "webshop",
    ),
    *("webshop.catalogue", "webshop.planning", "webshop.shop", "webshop.site", "wrappers", "wrappers.teachers"),
)
"""Packages of ``step_envs`` that must be there; a folder that is lost altogether cannot be found by looking for it."""

_CHILD = """
import importlib, json, os, sys
names, sys.path[:] = json.load(sys.stdin)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in names:
    answers.write(json.dumps([name]) + "\\n")
    answers.flush()
    try:
        importlib.import_module(name)
        answer = [name, "", ""]
    except BaseException as error:
        # An adapter says which extra it needs, because a module was missing.
        cause = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else ""
        answer = [name, f"{type(error).__name__}: {error}", missing or ""]
    answers.write(json.dumps(answer) + "\\n")
    answers.flush()
os._exit(0)
"""


def own_modules() -> list[str]:
    """List the modules of ``step_envs``: those that lie there, and the packages that must."""
    import step_envs

    folder = Path(step_envs.__file__).parent
    found = {f"step_envs.{name}" for name in PACKAGES}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        if parts[-1] != "__main__":
            found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(found)


def importable_name(distribution: str) -> str:
    """Find the name that an installed distribution is imported by; it need not be that of the distribution."""
    own = distribution.lower().replace("-", "_")
    dist = metadata.distribution(distribution)
    listed = (dist.read_text("top_level.txt") or "").split()
    names = listed or [
        file.parts[0] for file in dist.files or () if len(file.parts) == 2 and file.name == "__init__.py"
    ]
    matching = [name for name in names if name.lower() == own]
    return (matching or [name for name in names if not name.startswith("_")] or [own])[0]


def failures(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Import modules one after the other in a child process.

    Args:
        names: Dotted names of modules.

    Returns:
        Name -> why it cannot be imported, and the module that is missing, if that is why; those that can be are left out.
    """
    failed: dict[str, tuple[str, str]] = {}
    rest = list(names)
    while rest:
        # A process that an import brings down is followed by another one for the names after it.
        for name, why, missing in _answers(rest):
            rest = rest[rest.index(name) + 1 :]
            if why:
                failed[name] = why, missing
    return failed


def _answers(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    command = [sys.executable, "-W", "ignore", "-c", _CHILD]
    try:
        done = subprocess.run(
            command, input=json.dumps([names, sys.path]), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        printed, ended = done.stdout, f"its import ends the process with exit code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"its import is not over after {SECONDS} s"
    begun = ""
    for line in printed.splitlines():
        answer = json.loads(line)
        begun = answer[0] if len(answer) == 1 else ""
        if not begun:
            yield answer[0], answer[1], answer[2]
    if begun:
        yield begun, ended, ""
    elif not printed:
        # Not even the interpreter starts.
        yield names[0], ended, ""
