"""A stand-in for the hub that the library in this process talks to, and a run to push to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import WRITER, HubStandIn, hub_stand_in

from step_envs.collection import CollectConfig, collect


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra data")
    with hub_stand_in() as server:
        # What HF_ENDPOINT, HF_HUB_DISABLE_XET and HF_HOME set for a new process; test_hub_command.py sets those.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", WRITER)
        yield server


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four ALFWorld episodes, with errors and corrections."""
    folder = tmp_path_factory.mktemp("played") / "run"
    config = CollectConfig(env="STeP-ALFWorld-v0", episodes=4, agent="novice:error_rate=0.4", seed=1)
    collect(config, folder)
    return folder
