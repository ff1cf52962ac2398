"""The environment's oracle as an agent, for golden trajectories with thoughts."""

import gymnasium as gym
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, react_reply, world_of


class OracleAgent(Agent):
    """Follows the oracle's plan and says why; gives up if there is no plan."""

    name = "oracle"
    plain_python = True

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        oracle = world_of(env).oracle
        action = oracle.next_action()
        return None if action is None else react_reply(oracle.thought(action), action, kind="expert")
