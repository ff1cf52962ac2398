"""What an agent is asked, and how one is made from a line of text."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from step_envs.core import TextEnv
from step_envs.specs import make_from_spec
from step_envs.trajectory import Actor
from step_envs.wrappers.reply import Reply, ReplyKind

__all__ = ["AGENTS", "Agent", "Reply", "make_agent", "react_reply", "world_of"]

AGENTS = {
    "chat": "step_envs.agents.chat:ChatAgent",
    "local": "step_envs.agents.local.agent:TransformersAgent",
    "novice": "step_envs.agents.novice:NoviceAgent",
    "oracle": "step_envs.agents.oracle:OracleAgent",
    "person": "step_envs.agents.person:PersonAgent",
    "random": "step_envs.agents.random_agent:RandomAgent",
}
"""Names of the built-in agents -> where they are."""


class Agent(ABC):
    """Decides what to do next. One agent plays one episode at a time."""

    name: ClassVar[str]
    """Name for the record."""

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:  # noqa: B027  (most need no preparation)
        """Get ready for an episode that was just reset.

        Args:
            env: The environment, wrapped as a chat.
            rng: The episode's own random stream.
        """

    @abstractmethod
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the conversation, ``env.get_wrapper_attr("messages")``; None gives the episode up."""

    def describe(self) -> Actor:
        """Say who acts, for the record."""
        return Actor(name=self.name)


def react_reply(thought: str, action: str, *, kind: ReplyKind = "agent") -> Reply:
    """Write a thought and an action as a reply."""
    return Reply(f"Thought: {thought}\nAction: {action}", kind=kind)


def world_of(env: gym.Env[Any, Any]) -> TextEnv:
    """Give the world at the bottom, for agents that may look behind the text."""
    world = env.unwrapped
    assert isinstance(world, TextEnv)
    return world


def make_agent(spec: str) -> Agent:
    """Make an agent from ``name`` or ``name:option=value,option=value``.

    Args:
        spec: E.g. ``"novice:error_rate=0.3"``; an agent of one's own is named by its place, ``"my_module.MyAgent"``. Values
            are JSON where they can be, else text.

    Raises:
        UnknownNameError: There is no such agent.
        ValueError: An option is malformed, unknown to the agent or has a wrong value, or what is there is no agent.
    """
    agent = make_from_spec(spec, AGENTS, "agent")
    if not isinstance(agent, Agent):
        raise ValueError(f"The agent {spec!r} is a {type(agent).__name__}, not a step_envs.agents.Agent.")  # noqa: TRY004
    return agent
