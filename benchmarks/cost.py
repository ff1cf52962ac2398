"""Count the requests and characters that a teacher reads in one episode, by world: python benchmarks/cost.py.

A novice plays and the oracle judges. For every step, the script builds the messages that a model would receive. It
sends no request to a model, so the figures are the same in every run.
"""

import argparse
from collections import Counter

import gymnasium as gym

import step_envs  # noqa: F401  (registers the ids)
from step_envs.agents import NoviceAgent, rollout
from step_envs.endpoint import ChatModel
from step_envs.trajectory import Verdict
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher, TeacherContext
from step_envs.wrappers.teachers.model_teacher import ModelTeacher

WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0")


class _NamedModelTeacher(ModelTeacher):
    name = "counted"


class CountingTeacher(OracleTeacher):
    """Judges like the oracle, and counts the characters that a model would have read."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self._model = _NamedModelTeacher(ChatModel("counted"))
        self._last = ""

    def judge(self, context: TeacherContext) -> Verdict:
        """Count, then judge."""
        messages = self._model._messages(context, None)
        text = "".join(message["content"] for message in messages)
        verdict = super().judge(context)
        self.count["requests"] += 1
        self.count["characters"] += len(text)
        self.count["longest"] = max(self.count["longest"], len(text))
        same = next((i for i, (one, other) in enumerate(zip(text, self._last, strict=False)) if one != other), None)
        self.count["shared"] += min(len(text), len(self._last)) if same is None else same
        if verdict.status == "error":
            self.count["errors"] += 1
            self.count["characters of errors"] += len(text)
        self._last = text
        return verdict


def measure(env_id: str, episodes: int, error_rate: float) -> dict[str, float]:
    """Play episodes, and return the figures per episode."""
    teacher = CountingTeacher()
    env = TeacherMonitorWrapper(ReActWrapper(gym.make(env_id)), teacher)
    agent_words = 0
    for seed in range(episodes):
        trajectory = rollout(env, NoviceAgent(error_rate), seed=seed)
        said = [len(turn.content) for turn in trajectory.turns]
        agent_words += sum(sum(said[:i]) for i, turn in enumerate(trajectory.turns) if turn.kind in ("agent", "error"))
    env.close()
    count = teacher.count
    return {
        "requests of a teacher": count["requests"] / episodes,
        "characters read by it": count["characters"] / episodes,
        "of these, as in the request before": count["shared"] / count["characters"],
        "longest request": count["longest"],
        "requests of a hybrid teacher": count["errors"] / episodes,
        "characters read by it (at most)": count["characters of errors"] / episodes,
        "characters read by a model as agent": agent_words / episodes,
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", action="append", choices=WORLDS, help="Only this world; may be given again.")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--error-rate", type=float, default=0.25)
    arguments = parser.parse_args()
    for world in arguments.env or WORLDS:
        print(world)
        for name, value in measure(world, arguments.episodes, arguments.error_rate).items():
            print(f"  {name:36} {value:>10.0%}" if value < 1 and "of these" in name else f"  {name:36} {value:>10,.1f}")


if __name__ == "__main__":
    main()
