"""Write a teacher of your own: python examples/own_teacher.py.

The environment is the one of ``own_world.py``. The teacher has three rules and needs no oracle, so it works in any
environment. On the command line, name both by their modules:
``PYTHONPATH=examples step-envs collect --env own_world:Coin-v0 --teacher own_teacher.RuleTeacher --out runs/coin``.
"""

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)

from step_envs import TextEnv, Trajectory, Verdict
from step_envs.agents import NoviceAgent
from step_envs.collection import rollout
from step_envs.trajectory import Actor
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper, parse_action
from step_envs.wrappers.teachers import Teacher, TeacherContext


class RuleTeacher(Teacher):
    """Finds actions that do nothing, actions that are repeated too often, and actions that are worse than another one.

    A teacher receives the conversation, the reply, its result, and the environment (``context.env``). It must leave the
    environment in the same state. It returns a ``Verdict``: ``ok``; ``error`` with a correction that is admissible in the
    present state; or ``unknown`` if it cannot decide.

    Args:
        often: How often the agent may use the same action in one episode.
    """

    def __init__(self, often: int = 3) -> None:
        self.often = often

    def describe(self) -> Actor:
        """Return the name and the parameters that every trajectory records."""
        return Actor(name="rules", params={"often": self.often})

    def judge(self, context: TeacherContext) -> Verdict:
        """Judge one action that has already run (``intervene="after"``)."""
        world, now = context.env, context.env.snapshot()
        done = [parse_action(turn["content"]) for turn in context.messages if turn["role"] == "assistant"]
        missed = max(scores_one_step_on(world, context.before).values())
        next_scores = scores_one_step_on(world, now)
        world.restore(now)
        if not context.info["valid_action"]:
            fault = "That did nothing.", "It is not something that can be done here."
        elif context.info["score"] < missed:
            fault = "That was not the best thing to do.", "Another step would have brought me further at once."
        elif done.count(context.action) >= self.often:
            fault = "That was no use.", f"I have done it {done.count(context.action)} times already."
        else:
            return Verdict(status="ok")
        if not next_scores:
            return Verdict(status="unknown", reason="It was wrong, but there is nothing left to do.")
        best = max(next_scores, key=lambda action: (next_scores[action], -done.count(action)))
        return Verdict(
            status="error", error=fault[0], reason=fault[1], reflection=f"I {best} instead.", corrected_action=best
        )


def scores_one_step_on(world: TextEnv, snapshot: bytes) -> dict[str, float]:
    """Try every admissible action in a state, and return the score after each."""
    scores = {}
    world.restore(snapshot)
    for action in world.admissible_actions():
        world.restore(snapshot)
        scores[action] = float(world.step(action)[4]["score"])
    return scores


def taught(seed: int) -> Trajectory:
    """Play one episode with a novice and this teacher."""
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), RuleTeacher(), max_errors=5)
    trajectory = rollout(env, NoviceAgent(error_rate=0.5), seed=seed)
    env.close()
    return trajectory


def main() -> None:
    """Print the kind, the loss weight and the text of every turn."""
    for turn in taught(seed=11).turns:
        print(f"{turn.kind:>12} {turn.loss:.0f}  {turn.content!r}")


if __name__ == "__main__":
    main()
