"""The interface of an agent, and how an agent is made from a line of text.

An agent sees a chat and answers it. It does not notice whether a teacher watches, how many episodes run at once, or whether
data is collected or a model evaluated, so one class serves all of these.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from step_envs.core import TextEnv
from step_envs.options import NamesOptions
from step_envs.specs import make_from_spec
from step_envs.trajectory import Actor
from step_envs.wrappers.reply import Reply, react_reply

__all__ = ["AGENTS", "Agent", "Reply", "make_agent", "react_reply", "world_of"]

AGENTS = {
    "chat": "step_envs.agents.chat:ChatAgent",
    "local": "step_envs.agents.local.agent:TransformersAgent",
    "novice": "step_envs.agents.novice:NoviceAgent",
    "openai": "step_envs.agents.chat:ChatAgent",  # as a teacher of this kind is called
    "oracle": "step_envs.agents.oracle:OracleAgent",
    "person": "step_envs.agents.person:PersonAgent",
    "random": "step_envs.agents.random_agent:RandomAgent",
}
"""Name of each built-in agent -> its module and class."""


class Agent(NamesOptions, ABC):
    """Decides what to do next. An agent plays one episode at a time."""

    name: ClassVar[str]
    """Name in the record."""

    plain_python: ClassVar[bool] = False
    """True if it only computes, in Python, and needs little memory: then ``collect`` may play it in several processes."""

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        """Prepare for an episode that was just reset.

        Args:
            env: The environment, wrapped as a chat.
            rng: The episode's own random stream. An agent takes all its randomness from it, so that the episode can be
                played again.
        """

    @abstractmethod
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the conversation.

        Args:
            env: The environment; ``env.get_wrapper_attr("messages")`` is the conversation so far.

        Returns:
            The reply; None gives the episode up.
        """

    def ask_for_logprobs(self) -> None:
        """Have every reply carry the logprobs of its tokens, for the record.

        Raises:
            ValueError: The agent is no language model.
        """
        raise ValueError(f"The agent {self.name!r} is no language model, so its replies have no logprobs.")

    def describe(self) -> Actor:
        """Return name, model and parameters of the agent, for the record."""
        return Actor(name=self.name)


def world_of(env: gym.Env[Any, Any]) -> TextEnv:
    """Return the world under the wrappers, for agents that may look behind the text."""
    world = env.unwrapped
    assert isinstance(world, TextEnv)
    return world


def make_agent(spec: str) -> Agent:
    """Make an agent from ``name`` or ``name:option=value,option=value``.

    Args:
        spec: E.g. ``"novice:error_rate=0.3"``. An agent of your own is named by its module and class,
            ``"my_module.MyAgent"``. A value is read as JSON if it is JSON, else as text.

    Raises:
        UnknownNameError: There is no such agent.
        ValueError: An option is malformed, unknown to the agent or has a wrong value, or the named object is no agent.
    """
    agent = make_from_spec(spec, AGENTS, "agent")
    if not isinstance(agent, Agent):
        raise ValueError(f"The agent {spec!r} is a {type(agent).__name__}, not a step_envs.agents.Agent.")  # noqa: TRY004
    return agent
