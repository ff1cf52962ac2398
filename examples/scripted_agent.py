"""Play with a scripted agent of 20 lines, and count its successes: python examples/scripted_agent.py.

The agent plays the tasks "put some X on Y" in generated ALFWorld households. It uses two rules: look into every place
until X is found, then take X to Y.
"""

import gymnasium as gym

import step_envs


def choose(instruction: str, admissible: tuple[str, ...], done: list[str]) -> str:
    """Choose an action from the instruction, the admissible actions and the actions so far."""
    thing, place = instruction.rstrip(".").split()[-3::2]
    if any(action.startswith("move ") for action in admissible):  # the agent holds something
        wishes = (f"move {thing} ", f"to {place} "), ("open ", f"open {place} "), ("go to ", f"go to {place} ")
    else:
        wishes = (f"take {thing} ", ""), ("open ", ""), ("go to ", "")
    for start, part in wishes:
        for action in admissible:
            if action.startswith(start) and part in action and (start[:3] != "go " or part or action not in done):
                return action
    return "look"


def play(env: gym.Env[str, str], task_id: str) -> bool:
    """Play one task to its end, and return True if it was completed."""
    _, info = env.reset(options={"task_id": task_id})
    done: list[str] = []
    over = False
    while not over:
        done.append(choose(info["instruction"], info["admissible_actions"], done))
        _, _, terminated, truncated, info = env.step(done[-1])
        over = terminated or truncated
    return bool(info["success"])


def main() -> None:
    """Play all tasks of one split, and print how many were completed."""
    env = gym.make("STeP-ALFWorld-v0", admissible_actions=True)
    tasks = step_envs.list_tasks("STeP-ALFWorld-v0", split="valid_unseen", task_types=["pick_and_place_simple"])
    print(f"{sum(play(env, task) for task in tasks)} of {len(tasks)} tasks done")


if __name__ == "__main__":
    main()
