"""Fixtures that many tests share: where the data for comparisons is, and the world of the example."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with transcripts and official data; tests that need it skip where it is not.

    With STEP_ENVS_REQUIRE_TEST_DATA set, as in CI, they fail instead.
    """
    folder = Path(os.environ.get("STEP_ENVS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        missing = f"no comparison data at {folder}: set STEP_ENVS_TEST_DATA"
        if os.environ.get("STEP_ENVS_REQUIRE_TEST_DATA"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests cache out of the user's folder; one folder for the whole run."""
    base = tmp_path_factory.getbasetemp().parent / "step-envs-cache"
    monkeypatch.setenv("STEP_ENVS_CACHE", os.environ.get("STEP_ENVS_CACHE", str(base)))
