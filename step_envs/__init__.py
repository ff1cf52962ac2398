"""Text-world agent environments for Gymnasium, with a teacher that records masked trajectories.

Importing this package registers ``STeP-ALFWorld-v0``, ``STeP-SciWorld-v0`` and ``STeP-WebShop-v0``::

    import gymnasium as gym
    import step_envs

    env = gym.make("STeP-SciWorld-v0", split="train")
    observation, info = env.reset(seed=0)
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from step_envs.core import ReActFormat, TextEnv, WorldState, text_env
from step_envs.oracle import Oracle
from step_envs.registration import list_tasks, register_all
from step_envs.spaces import TextSpace
from step_envs.tasks import TaskSet

if TYPE_CHECKING:
    from step_envs.store import TrajectoryStore
    from step_envs.trajectory import Trajectory, Turn, Verdict

__all__ = [
    "Oracle",
    "ReActFormat",
    "TaskSet",
    "TextEnv",
    "TextSpace",
    "Trajectory",
    "TrajectoryStore",
    "Turn",
    "Verdict",
    "WorldState",
    "__version__",
    "list_tasks",
    "text_env",
]

__version__ = version("step-envs")

# Looked up on first use: the data model brings pydantic, which who only plays an environment need not wait for.
_LAZY = {
    "Trajectory": "step_envs.trajectory",
    "TrajectoryStore": "step_envs.store",
    "Turn": "step_envs.trajectory",
    "Verdict": "step_envs.trajectory",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_all()
