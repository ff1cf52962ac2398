"""A world whose steps can hang: the coin of ``examples/own_world.py`` with one more action."""

import threading

import gymnasium as gym
from own_world import CoinEnv

from step_envs import WorldState

RELEASE = threading.Event()
"""What hangs goes on once this is set."""
STUCK = threading.Semaphore(0)
"""Released by each action that begins to hang."""


class StuckEnv(CoinEnv):
    """The environment with the coin, where ``hang`` does not return."""

    env_id = "Stuck-v0"

    def _act(self, action: str) -> WorldState:
        if action == "hang":
            STUCK.release()
            RELEASE.wait(600)
            action = "look"
        return super()._act(action)


gym.register("Stuck-v0", entry_point=f"{__name__}:StuckEnv")
