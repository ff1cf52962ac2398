"""The three worlds have the same files for the same roles, and CONTRIBUTING.md shows them side by side."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORLDS = ("alfworld", "webshop", "sciworld")
COMMON = {
    *("env.py", "engine.py", "tasks.py", "oracle.py", "expert.py", "thoughts.py"),
    *("brief_texts.py", "prompt.py", "download.py"),
}


def files(world: str) -> set[str]:
    """List the modules of a world and its folders (with a slash); files of data are none of the reader's business."""
    folder = ROOT / "step_envs" / world
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    folders = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    return modules | folders


def table() -> dict[str, set[str]]:
    """Read the table of CONTRIBUTING.md whose columns are the worlds.

    A cell names files between backquotes, ``env.py``, or folders, ``java/``; the first column says what they are for.
    """
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    heads = [
        number
        for number, row in enumerate(rows)
        if [cell.lower() for cell in row[1:]] == ["alfworld", "webshop", "scienceworld"]
    ]
    assert len(heads) == 1, f"CONTRIBUTING.md has {len(heads)} tables with the columns {', '.join(WORLDS)}, not one."
    named: dict[str, set[str]] = {world: set() for world in WORLDS}
    for row in rows[heads[0] + 2 :]:
        if len(row) != 1 + len(WORLDS):
            break
        for world, cell in zip(WORLDS, row[1:], strict=True):
            names = re.findall(r"`([\w/]+(?:\.py|/))`", cell)
            repeated = named[world] & set(names)
            assert not repeated, f"The table names {sorted(repeated)} of {world} twice."
            named[world] |= set(names)
    return named


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_has_the_files_that_all_have(world: str) -> None:
    assert files(world) >= COMMON, f"{world} lacks {sorted(COMMON - files(world))}"


def test_only_what_one_world_has_lies_in_folders() -> None:
    """A module beside the common ones belongs in a folder that says what it is about, or in all three worlds."""
    for world in WORLDS:
        assert {name for name in files(world) if name.endswith(".py")} == COMMON, world


@pytest.mark.parametrize("world", WORLDS)
def test_the_table_in_contributing_is_what_lies_there(world: str) -> None:
    assert table()[world] == files(world)
