"""The run that most verbs are tried on."""

import sys
from pathlib import Path

import pytest

from step_envs.collection.config import CollectConfig
from step_envs.store import TrajectoryStore

sys.path.insert(0, str(Path(__file__).parent))

from cli_calls import failure, trajectory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    config = CollectConfig(env="STeP-SciWorld-v0", episodes=5)
    with TrajectoryStore(folder / "trajectories.jsonl") as store:
        store.append(trajectory(episode=0))
        store.append(failure("melt/1", episode=1, task_type="melt"))
        store.append(trajectory("boil/4", episode=2, errors=0, turns=trajectory().turns[5:]))
    config.write(folder / "config.json")
    return folder
