"""A language model behind any OpenAI-compatible endpoint plays: python examples/chat_agent.py MODEL [BASE_URL].

For example ``vllm serve Qwen/Qwen3-4B`` in one terminal, and in another
``python examples/chat_agent.py Qwen/Qwen3-4B http://localhost:8000/v1``. A key is taken from OPENAI_API_KEY.
Needs pip install "step-envs[endpoint]".
"""

import sys

import gymnasium as gym

import step_envs
from step_envs.agents import ChatAgent, rollout
from step_envs.wrappers import ReActWrapper, RecordTrajectory

ENV = "STeP-ALFWorld-v0"


def play(model: str, base_url: str | None = None, episodes: int = 5) -> list[step_envs.Trajectory]:
    """Let the model play the first tasks of a split, and return the record of each episode."""
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
    """Play as the command line says."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    trajectories = play(*sys.argv[1:])
    print(f"{sum(trajectory.success for trajectory in trajectories)} of {len(trajectories)} tasks done")


if __name__ == "__main__":
    main()
