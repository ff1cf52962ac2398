"""Every loader that docs/frameworks.md has a recipe for, run in its own environment: it trains on what we train on.

``make test-loaders`` makes the environments.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from loader_cases import CASES, PACKAGES
from loader_runs import compare, environment, loader_version, prepare, run
from loader_table import line, table

from step_envs.exports import LOADERS


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    prepare(folder)
    return folder


@pytest.mark.loaders
@pytest.mark.parametrize("loader", PACKAGES)
def test_a_loader_trains_on_what_its_recipe_says(loader: str, exports: Path, tmp_path: Path) -> None:
    if environment(loader) is None:
        pytest.skip(f"needs {loader} in a folder of its own: make test-loaders")
    made = run(loader, exports, tmp_path)
    known = {one.name: one.version for one in LOADERS}
    assert known[PACKAGES[loader]] == loader_version(loader)
    written = table()
    for case in (one for one in CASES if one.loader == loader):
        found = compare(case, made[case.name], exports)
        assert found.of, case
        assert (found.untrained == 0) == case.right, (case, found)
        if case.right:
            assert not found.missing and not found.other, (case, found)
        assert line(case, loader_version(loader), found) in written, "run python tests/loaders/loader_table.py"


def test_the_table_names_every_loader_that_an_export_names() -> None:
    assert sorted(PACKAGES.values()) == sorted(one.name for one in LOADERS)
    cells = {row.split("|")[1].strip() for row in table().splitlines()[2:]}
    assert cells == {f"{one.name} {one.version}" for one in LOADERS}
    assert len(table().splitlines()) == 2 + len(CASES)


def test_what_an_export_says_of_a_loader_is_what_was_tried() -> None:
    for one in LOADERS:
        tried = {case.export: case for case in CASES if PACKAGES[case.loader] == one.name and case.right}
        weights = set() if one.weights == "ignored" else {"messages", "sharegpt"}
        assert set(tried) - {"run"} == weights | (set() if one.last_message is None else {"turns"})
