"""The coin world with rooms that are bad for those who play there: ``BadCoin-v0``, for tests only."""

import os
import time
from typing import Any

import gymnasium as gym
import own_world

from step_envs import WorldState
from step_envs.errors import EngineError


class BadCoinEnv(own_world.CoinEnv):
    """Hangs in one task, ends the process in another, or fails in all, where it is told to."""

    env_id = "BadCoin-v0"

    def __init__(self, *, hangs: str = "", kills: str = "", fails: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._hangs, self._kills, self._fails = hangs, kills, fails

    def _act(self, action: str) -> WorldState:
        if self._task_id == self._hangs:
            time.sleep(3600)
        if self._task_id == self._kills:
            os._exit(1)
        if self._fails:
            raise EngineError("the coin is stuck")
        return super()._act(action)


gym.register("BadCoin-v0", entry_point=f"{__name__}:BadCoinEnv")
