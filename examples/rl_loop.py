"""Train a policy with reinforcement learning in vector environments: python examples/rl_loop.py.

The algorithm is REINFORCE in plain numpy. The policy is a softmax over the admissible actions. A few words describe each
action: its verb, whether it names something from the task, whether it was tried before, whether the agent holds
something. The policy learns in training households of ALFWorld, and the test uses households with other layouts. It takes
about half a minute on one core.
"""

from collections import defaultdict
from typing import Any

import gymnasium as gym
import numpy as np

import step_envs  # noqa: F401  (registers the ids)

ENV = "STeP-ALFWorld-v0"
TASKS = {"task_types": ["pick_and_place_simple"], "admissible_actions": True}

Trace = list[tuple[list[str], np.ndarray, int]]
"""One entry per step: the features of the admissible actions, their probabilities, the index of the chosen action."""


class Policy:
    """A softmax over the admissible actions, with one weight for each description."""

    def __init__(self, learning_rate: float = 0.5) -> None:
        self.weights: defaultdict[str, float] = defaultdict(float)
        self.learning_rate = learning_rate

    def probabilities(self, features: list[str]) -> np.ndarray:
        """Return the probability of each action."""
        preferences = np.array([self.weights[feature] for feature in features])
        exponents = np.exp(preferences - preferences.max())
        return np.asarray(exponents / exponents.sum())

    def learn(self, traces: list[Trace], returns: np.ndarray) -> None:
        """Raise the probability of actions in episodes whose return is above the mean, and lower it in the others."""
        advantages = (returns - returns.mean()) / (returns.std() + 1e-6)
        steps: defaultdict[str, float] = defaultdict(float)
        for trace, advantage in zip(traces, advantages, strict=True):
            for features, probabilities, taken in trace:
                for index, (feature, probability) in enumerate(zip(features, probabilities, strict=True)):
                    steps[feature] += advantage * ((index == taken) - probability) / len(traces)
        for feature, step in steps.items():
            self.weights[feature] += self.learning_rate * step


def describe(action: str, instruction: str, done: set[str], holding: bool) -> str:
    """Describe an action in words that mean the same in every household."""
    verb, *rest = action.split()
    asked_thing, asked_place = instruction.rstrip(".").split()[-3::2]
    words = [verb, "asked thing" * (asked_thing in rest), "asked place" * (asked_place in rest)]
    return ", ".join(filter(None, [*words, "again" * (action in done), "holding" * holding]))


def play(vector: gym.vector.VectorEnv, policy: Policy, rng: np.random.Generator) -> tuple[list[Trace], np.ndarray]:
    """Play one episode in each environment, and return the traces and the final scores."""
    number = vector.num_envs
    _, infos = vector.reset(seed=[int(seed) for seed in rng.integers(2**31, size=number)])
    traces: list[Trace] = [[] for _ in range(number)]
    done: list[set[str]] = [set() for _ in range(number)]
    running, scores = np.ones(number, bool), np.zeros(number)
    while running.any():
        actions = ["look"] * number
        for i in np.flatnonzero(running):
            admissible, instruction = infos["admissible_actions"][i], infos["instruction"][i]
            holding = any(action.startswith("move ") for action in admissible)
            features = [describe(action, instruction, done[i], holding) for action in admissible]
            probabilities = policy.probabilities(features)
            taken = int(rng.choice(len(admissible), p=probabilities))
            traces[i].append((features, probabilities, taken))
            actions[i] = admissible[taken]
            done[i].add(actions[i])
        _, rewards, terminated, truncated, infos = vector.step(actions)
        scores += np.where(running, rewards, 0.0)
        running &= ~(terminated | truncated)
    return traces, scores


def success_rate(policy: Policy, split: str, episodes: int = 96, num_envs: int = 16) -> float:
    """Play without learning, and return the share of successful episodes."""
    vector = gym.make_vec(ENV, num_envs, split=split, **TASKS)
    rng = np.random.default_rng(1)
    scores = [play(vector, policy, rng)[1] for _ in range(episodes // num_envs)]
    vector.close()
    return float(np.mean(np.concatenate(scores) >= 1))


def train(updates: int = 60, num_envs: int = 16, seed: int = 0) -> dict[str, Any]:
    """Train, and return the policy and its success rates in unseen households before and after."""
    policy, rng = Policy(), np.random.default_rng(seed)
    before = success_rate(policy, "valid_unseen")
    vector = gym.make_vec(ENV, num_envs, split="train", **TASKS)
    for update in range(updates):
        traces, scores = play(vector, policy, rng)
        policy.learn(traces, scores)
        if update % 10 == 9:
            print(f"update {update + 1:3}: {np.mean(scores >= 1):.0%} of the training episodes succeeded")
    vector.close()
    return {"policy": policy, "before": before, "after": success_rate(policy, "valid_unseen")}


def main() -> None:
    """Train, then print the success rates and the largest weights."""
    outcome = train()
    print(f"unseen households: {outcome['before']:.0%} before, {outcome['after']:.0%} after")
    weights = sorted(outcome["policy"].weights.items(), key=lambda item: -item[1])
    for feature, weight in [*weights[:4], *weights[-4:]]:
        print(f"{weight:+6.2f}  {feature}")


if __name__ == "__main__":
    main()
