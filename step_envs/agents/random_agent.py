"""An agent that does anything the world admits."""

import gymnasium as gym
import numpy as np

from step_envs.agents.base import Agent, Reply, react_reply, world_of


class RandomAgent(Agent):
    """Takes a random admissible action at every step."""

    name = "random"

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        """Take the episode's random stream."""
        self._rng = rng

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply with a random admissible action."""
        actions = world_of(env).admissible_actions()
        if not actions:
            return None
        return react_reply("I try something and see what happens.", actions[int(self._rng.integers(len(actions)))])
