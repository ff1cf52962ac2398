"""Agents: who acts.

``collect`` and ``rollout`` are in ``step_envs.collection``; they can be imported from here as well, as in earlier versions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from step_envs.agents.base import Agent, Reply, make_agent
from step_envs.agents.chat import ChatAgent
from step_envs.agents.novice import NoviceAgent
from step_envs.agents.oracle import OracleAgent
from step_envs.agents.person import PersonAgent
from step_envs.agents.random_agent import RandomAgent

if TYPE_CHECKING:
    from step_envs.agents.local.agent import TransformersAgent
    from step_envs.collection import collect, rollout

__all__ = [
    "Agent",
    "ChatAgent",
    "NoviceAgent",
    "OracleAgent",
    "PersonAgent",
    "RandomAgent",
    "Reply",
    "TransformersAgent",
    "collect",
    "make_agent",
    "rollout",
]

# Imported on first use: the first stands on packages that take seconds, the others on a package that imports this one.
_LAZY = {
    "TransformersAgent": "step_envs.agents.local.agent",
    "collect": "step_envs.collection",
    "rollout": "step_envs.collection",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
