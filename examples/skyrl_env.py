"""Use a step-envs environment in SkyRL Gym, and make the rows of its dataset: python examples/skyrl_env.py.

We ran this with skyrl-gym 0.4.0 (``pip install skyrl-gym``). A row names the environment and the task. Its prompt is the
conversation at the start of the episode, so the trainer's prompt filter counts the right number of tokens.
"""

from typing import Any

import gymnasium as gym
import skyrl_gym
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

import step_envs
from step_envs.wrappers import ReActWrapper

NAME = "step-envs"


class StepEnvsEnv(BaseTextEnv):
    """Plays one episode of one task.

    Args:
        env_config: SkyRL's configuration of the environment; not used.
        extras: The other columns of the row: ``step_env`` (an environment id), ``task_id``, and columns that SkyRL adds.
    """

    def __init__(self, env_config: Any = None, extras: dict[str, Any] | None = None) -> None:
        super().__init__()
        row = extras or {}
        self._task_id = row["task_id"]
        # The trainer sets the number of turns, so the environment's own step limit is removed below.
        self.max_turns = row.get("max_turns", 30)
        self._env = ReActWrapper(gym.make(row["step_env"], max_steps=None))
        self._info: dict[str, Any] = {}

    def init(self, prompt: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Start the episode, and return the environment's own conversation instead of the row's prompt."""
        _, self._info = self._env.reset(options={"task_id": self._task_id})
        return self._env.messages, {"task_id": self._task_id}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Run the action of a reply. The reward is the change in score."""
        self.turns += 1
        observation, reward, terminated, truncated, self._info = self._env.step(action)
        done = terminated or truncated or self.turns >= self.max_turns
        return BaseTextEnvStepOutput(
            observations=[] if done else [{"role": "user", "content": observation}],
            reward=float(reward),
            done=done,
            metadata={"score": self._info["score"]},
        )

    def get_metrics(self) -> dict[str, Any]:
        """Return how the episode ended."""
        return {"success": float(self._info["success"]), "score": self._info["score"], "steps": self._info["steps"]}

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


skyrl_gym.register(id=NAME, entry_point=f"{__name__}:StepEnvsEnv")


def rows(env_id: str, split: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Make the rows of a dataset: ``datasets.Dataset.from_list(rows(...)).to_parquet(...)``."""
    env = ReActWrapper(gym.make(env_id, split=split))
    found = []
    for task_id in step_envs.list_tasks(env_id, split=split)[:limit]:
        env.reset(options={"task_id": task_id})
        found.append({"prompt": env.messages, "env_class": NAME, "step_env": env_id, "task_id": task_id})
    env.close()
    return found


def main() -> None:
    """Play one task in the same way as SkyRL's generator."""
    row = rows("STeP-ALFWorld-v0", "train", limit=1)[0]
    extras = {key: value for key, value in row.items() if key not in ("prompt", "env_class")} | {"max_turns": 3}
    env = skyrl_gym.make(row["env_class"], env_config={}, extras=extras)
    messages, _ = env.init(row["prompt"])
    assert messages == row["prompt"]
    done = False
    while not done:
        output = env.step("Thought: I look first.\nAction: look")
        done = output["done"]
        print(output["observations"], output["reward"], done)
    print(env.get_metrics())
    env.close()


if __name__ == "__main__":
    main()
