"""Episodes of the three worlds, with errors, corrections and replies without an action in them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from credit_worlds import WORLDS

from step_envs.collection import collect
from step_envs.collection.config import CollectConfig
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that returns the run of a novice under the oracle in a world; each is played once."""
    folder = tmp_path_factory.mktemp("runs")

    def run(env_id: str, intervene: str = "after", episodes: int = 4) -> Path:
        out = folder / f"{env_id}-{intervene}-{episodes}"
        if not out.exists():
            config = CollectConfig(
                env=env_id,
                env_options=WORLDS[env_id],
                episodes=episodes,
                agent="novice:error_rate=0.4",
                max_errors=30,
                intervene=intervene,
            )
            collect(config, out)
        return out

    return run


@pytest.fixture(scope="session")
def episodes(runs: Callable[..., Path]) -> Callable[..., list[Trajectory]]:
    """A function that returns the episodes of such a run."""
    return lambda *arguments, **options: list(read_trajectories(runs(*arguments, **options)))
