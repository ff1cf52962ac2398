"""Agents: who acts, and how episodes are played and collected."""

from typing import TYPE_CHECKING, Any

from step_envs.agents.base import Agent, Reply, make_agent
from step_envs.agents.chat import ChatAgent
from step_envs.agents.novice import NoviceAgent
from step_envs.agents.oracle import OracleAgent
from step_envs.agents.person import PersonAgent
from step_envs.agents.random_agent import RandomAgent
from step_envs.agents.rollout import rollout

if TYPE_CHECKING:
    from step_envs.agents.local import TransformersAgent

__all__ = [
    "Agent",
    "ChatAgent",
    "NoviceAgent",
    "OracleAgent",
    "PersonAgent",
    "RandomAgent",
    "Reply",
    "TransformersAgent",
    "make_agent",
    "rollout",
]


def __getattr__(name: str) -> Any:
    # It stands on packages that take seconds to import.
    if name == "TransformersAgent":
        from step_envs.agents.local import TransformersAgent

        return TransformersAgent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
