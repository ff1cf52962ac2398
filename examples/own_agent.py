"""An agent of your own, in a loop and in a collection: python examples/own_agent.py.

From the command line it is named by its place, without registration:
``PYTHONPATH=examples step-envs collect --agent own_agent.CuriousAgent:boldness=0.2 --out runs/curious``.
"""

import tempfile
from collections import Counter
from pathlib import Path

import gymnasium as gym
import numpy as np

import step_envs
from step_envs.agents import Agent, Reply, rollout
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.trajectory import Actor
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher


class CuriousAgent(Agent):
    """Prefers what it has done least often.

    An agent is asked for a reply to ``env.get_wrapper_attr("messages")``. A model would read those; this one is content
    with the list of admissible actions.

    Args:
        boldness: Probability of any admissible action instead.
    """

    name = "curious"

    def __init__(self, boldness: float = 0.1) -> None:
        self.boldness = boldness

    def describe(self) -> Actor:
        """Say who acts: this is written into every trajectory."""
        return Actor(name=self.name, params={"boldness": self.boldness})

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        """Forget the last episode; all chance comes from ``rng``, so that an episode can be played again."""
        self._rng, self._count = rng, Counter[str]()

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply as a language model would: a thought and an action. None would give the episode up."""
        actions = env.unwrapped.admissible_actions()  # type: ignore[attr-defined]
        if self._rng.random() < self.boldness:
            action = str(self._rng.choice(actions))
        else:
            action = min(actions, key=lambda action: self._count[action])
        self._count[action] += 1
        return Reply(f"Thought: I have not tried this often.\nAction: {action}")


def one_episode() -> step_envs.Trajectory:
    """Play an episode under a teacher, who need not know the agent."""
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("STeP-ALFWorld-v0")), OracleTeacher(), max_errors=50)
    trajectory = rollout(env, CuriousAgent(), seed=1)
    env.close()
    return trajectory


def many_episodes(out: Path) -> int:
    """Collect with it; return how many trajectories were kept."""
    config = CollectConfig(
        env="STeP-ALFWorld-v0", agent="own_agent.CuriousAgent:boldness=0.2", teacher="oracle", episodes=4, max_errors=50
    )
    return collect(config, out, concurrency=2).kept


def main() -> None:
    """Show both."""
    trajectory = one_episode()
    corrections = sum(turn.kind == "correction" for turn in trajectory.turns)
    print(
        f"{trajectory.instruction} {trajectory.stop_reason} after {trajectory.steps} steps, {corrections} corrections"
    )
    with tempfile.TemporaryDirectory() as folder:
        print(f"{many_episodes(Path(folder) / 'curious')} trajectories collected")


if __name__ == "__main__":
    main()
