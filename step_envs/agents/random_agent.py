"""An agent that takes random admissible actions: the lower end of every comparison."""

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, react_reply, world_of


class RandomAgent(Agent):
    """Takes a random admissible action at every step."""

    name = "random"
    plain_python = True

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        self._rng = rng

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        actions = world_of(env).admissible_actions()
        if not actions:
            return None
        return react_reply("I try something and see what happens.", actions[int(self._rng.integers(len(actions)))])
