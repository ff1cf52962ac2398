"""Official games for those tests that compare with them; helpers of these tests can be imported."""

import sys
import warnings
from pathlib import Path

import pytest

from step_envs.alfworld.tasks import OfficialTasks

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def official_path(test_data: Path) -> Path:
    """The folder with the official archives."""
    return test_data / "alfworld"


@pytest.fixture(scope="session")
def official(official_path: Path, tmp_path_factory: pytest.TempPathFactory) -> OfficialTasks:
    """The official games; the archives are repacked once for a whole run."""
    cache = tmp_path_factory.getbasetemp().parent / "step-envs-cache"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("STEP_ENVS_CACHE", str(cache))
        return OfficialTasks(official_path)
