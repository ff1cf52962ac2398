"""A scripted agent in 20 lines, and how often it succeeds: python examples/scripted_agent.py.

It plays the tasks "put some X on Y" of generated ALFWorld households by rules alone: look into every place until X turns
up, take it to Y.
"""

import gymnasium as gym

import step_envs


def choose(instruction: str, admissible: tuple[str, ...], done: list[str]) -> str:
    """Choose an action by what is asked for, what can be done, and what has been done."""
    thing, place = instruction.rstrip(".").split()[-3::2]
    if any(action.startswith("move ") for action in admissible):  # something is in the hand
        wishes = (f"move {thing} ", f"to {place} "), ("open ", f"open {place} "), ("go to ", f"go to {place} ")
    else:
        wishes = (f"take {thing} ", ""), ("open ", ""), ("go to ", "")
    for start, part in wishes:
        for action in admissible:
            if action.startswith(start) and part in action and (start[:3] != "go " or part or action not in done):
                return action
    return "look"


def play(env: gym.Env[str, str], task_id: str) -> bool:
    """Play a task to its end and say whether it was done."""
    _, info = env.reset(options={"task_id": task_id})
    done: list[str] = []
    over = False
    while not over:
        done.append(choose(info["instruction"], info["admissible_actions"], done))
        _, _, terminated, truncated, info = env.step(done[-1])
        over = terminated or truncated
    return bool(info["success"])


def main() -> None:
    """Play the tasks of a split."""
    env = gym.make("STeP-ALFWorld-v0", admissible_actions=True)
    tasks = step_envs.list_tasks("STeP-ALFWorld-v0", split="valid_unseen", task_types=["pick_and_place_simple"])
    print(f"{sum(play(env, task) for task in tasks)} of {len(tasks)} tasks done")


if __name__ == "__main__":
    main()
