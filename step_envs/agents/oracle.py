"""The environment's oracle as an agent: golden trajectories with thoughts."""

import gymnasium as gym

from step_envs.agents.base import Agent, Reply, react_reply, world_of


class OracleAgent(Agent):
    """Follows the oracle's plan and says why; gives up where there is no way."""

    name = "oracle"

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply with the next action of the plan."""
        oracle = world_of(env).oracle
        action = oracle.next_action()
        return None if action is None else react_reply(oracle.thought(action), action, kind="expert")
