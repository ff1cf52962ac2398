"""Write an agent of your own, play one episode with it, and collect a run: python examples/own_agent.py.

On the command line, name the class by its module. It needs no registration:
``PYTHONPATH=examples step-envs collect --agent own_agent.CuriousAgent:boldness=0.2 --out runs/curious``.
"""

import tempfile
from collections import Counter
from pathlib import Path

import gymnasium as gym
import numpy as np

import step_envs
from step_envs.agents import Agent, Reply
from step_envs.collection import CollectConfig, collect, rollout
from step_envs.trajectory import Actor
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher


class CuriousAgent(Agent):
    """Chooses the admissible action that it has used least often.

    ``act`` returns the reply to the conversation in ``env.get_wrapper_attr("messages")``. A language model would read the
    conversation. This agent uses only the list of admissible actions.

    Args:
        boldness: Probability that the agent chooses a random admissible action instead.
    """

    name = "curious"

    def __init__(self, boldness: float = 0.1) -> None:
        self.boldness = boldness

    def describe(self) -> Actor:
        """Return the name and the parameters that every trajectory records."""
        return Actor(name=self.name, params={"boldness": self.boldness})

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        """Start an episode. All random choices use ``rng``, so the same seed gives the same episode."""
        self._rng, self._count = rng, Counter[str]()

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Return a thought and an action, as a language model would. None would end the episode."""
        actions = env.unwrapped.admissible_actions()  # type: ignore[attr-defined]
        if self._rng.random() < self.boldness:
            action = str(self._rng.choice(actions))
        else:
            action = min(actions, key=lambda action: self._count[action])
        self._count[action] += 1
        return Reply(f"Thought: I have not tried this often.\nAction: {action}")


def one_episode() -> step_envs.Trajectory:
    """Play one episode with a teacher. The teacher works with any agent."""
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("STeP-ALFWorld-v0")), OracleTeacher(), max_errors=50)
    trajectory = rollout(env, CuriousAgent(), seed=1)
    env.close()
    return trajectory


def many_episodes(out: Path) -> int:
    """Collect a run with the agent, and return how many trajectories it contains."""
    config = CollectConfig(
        env="STeP-ALFWorld-v0", agent="own_agent.CuriousAgent:boldness=0.2", teacher="oracle", episodes=4, max_errors=50
    )
    return collect(config, out, concurrency=2).kept


def main() -> None:
    """Play one episode, then collect a run."""
    trajectory = one_episode()
    corrections = sum(turn.kind == "correction" for turn in trajectory.turns)
    print(
        f"{trajectory.instruction} {trajectory.stop_reason} after {trajectory.steps} steps, {corrections} corrections"
    )
    with tempfile.TemporaryDirectory() as folder:
        print(f"{many_episodes(Path(folder) / 'curious')} trajectories collected")


if __name__ == "__main__":
    main()
