"""Let a language model behind an OpenAI-compatible endpoint play: python examples/chat_agent.py MODEL [BASE_URL].

For example, run ``vllm serve Qwen/Qwen3-4B`` in one terminal, and in another terminal
``python examples/chat_agent.py Qwen/Qwen3-4B http://localhost:8000/v1``. The key comes from the environment variable
OPENAI_API_KEY. This example needs pip install "step-envs[endpoint]".
"""

import sys

import gymnasium as gym

import step_envs
from step_envs.agents import ChatAgent
from step_envs.collection import rollout
from step_envs.wrappers import ReActWrapper, RecordTrajectory

ENV = "STeP-ALFWorld-v0"


def play(model: str, base_url: str | None = None, episodes: int = 5) -> list[step_envs.Trajectory]:
    """Play the first tasks of a split with the model, and return one trajectory for each episode."""
    agent = ChatAgent(model, base_url, temperature=0.0, max_tokens=256)
    env = RecordTrajectory(ReActWrapper(gym.make(ENV, split="valid_unseen")))
    trajectories = []
    for task_id in step_envs.list_tasks(ENV, split="valid_unseen")[:episodes]:
        trajectories.append(rollout(env, agent, seed=0, task_id=task_id))
        last = trajectories[-1]
        tokens = last.usage.prompt_tokens + last.usage.completion_tokens
        print(f"{last.stop_reason:>10} after {last.steps:2} steps, {tokens:6} tokens: {last.instruction}")
    env.close()
    return trajectories


def main() -> None:
    """Read the model and the address from the command line, and play."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    trajectories = play(*sys.argv[1:])
    print(f"{sum(trajectory.success for trajectory in trajectories)} of {len(trajectories)} tasks done")


if __name__ == "__main__":
    main()
