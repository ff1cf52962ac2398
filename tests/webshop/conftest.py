"""Catalogues and recordings for the WebShop tests."""

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.generator import make_catalogue
from step_envs.webshop.catalogue.importer import import_folder

Recorded = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def thousand(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The official 1,000 products."""
    return import_folder(test_data / "webshop", tmp_path_factory.mktemp("catalogue") / "small")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A small catalogue made by seed."""
    return make_catalogue(tmp_path_factory.mktemp("catalogue") / "made", size=300)


@pytest.fixture(scope="session")
def recorded(test_data: Path) -> Recorded:
    """Reads recordings of the original by name."""

    def read(name: str) -> list[dict[str, Any]]:
        with lzma.open(test_data / "parity" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    return read
