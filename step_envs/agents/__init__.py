"""Agents: who acts.

``collect`` and ``rollout`` are in ``step_envs.collection``. They can also be imported from here, as in earlier versions.
"""

from typing import TYPE_CHECKING, Any

from step_envs.agents.base import Agent, Reply, make_agent
from step_envs.agents.chat import ChatAgent
from step_envs.agents.local.agent import TransformersAgent
from step_envs.agents.novice import NoviceAgent
from step_envs.agents.oracle import OracleAgent
from step_envs.agents.person import PersonAgent
from step_envs.agents.random_agent import RandomAgent
from step_envs.agents.replaying import ReplayAgent, recorded_replies

if TYPE_CHECKING:
    from step_envs.collection import collect, rollout

__all__ = [
    "Agent",
    "ChatAgent",
    "NoviceAgent",
    "OracleAgent",
    "PersonAgent",
    "RandomAgent",
    "ReplayAgent",
    "Reply",
    "TransformersAgent",
    "collect",
    "make_agent",
    "recorded_replies",
    "rollout",
]


def __getattr__(name: str) -> Any:
    # Not imported above, because step_envs.collection imports this package.
    if name in ("collect", "rollout"):
        from step_envs import collection

        return getattr(collection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
