"""A teacher of your own, over an environment of your own: python examples/own_teacher.py.

The world is that of ``own_world.py``; the teacher knows three rules and no oracle, so that it can watch any world. From the
command line both are named by their place:
``PYTHONPATH=examples step-envs collect --env own_world:Coin-v0 --teacher own_teacher.RuleTeacher --out runs/coin``.
"""

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)

from step_envs import TextEnv, Trajectory, Verdict
from step_envs.agents import NoviceAgent, rollout
from step_envs.trajectory import Actor
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper, parse_action
from step_envs.wrappers.teachers import Teacher, TeacherContext


class RuleTeacher(Teacher):
    """Finds actions that do nothing, that are done too often, and that are worse than another one would have been.

    A teacher is shown the conversation, the reply, what came of it, and the world itself (``context.env``), which it must
    leave as it found it. It answers with a ``Verdict``: ``ok``, ``error`` with a correction that is admissible in the world
    as it now is, or ``unknown`` where it cannot tell.

    Args:
        often: How often the same action may be done in an episode.
    """

    def __init__(self, often: int = 3) -> None:
        self.often = often

    def describe(self) -> Actor:
        """Say who teaches: this is written into every trajectory."""
        return Actor(name="rules", params={"often": self.often})

    def judge(self, context: TeacherContext) -> Verdict:
        """Judge one action, which was carried out (intervention "after")."""
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
    """Try every admissible action of a state; return the score after each."""
    scores = {}
    world.restore(snapshot)
    for action in world.admissible_actions():
        world.restore(snapshot)
        scores[action] = float(world.step(action)[4]["score"])
    return scores


def taught(seed: int) -> Trajectory:
    """Let a novice play under the teacher."""
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), RuleTeacher(), max_errors=5)
    trajectory = rollout(env, NoviceAgent(error_rate=0.5), seed=seed)
    env.close()
    return trajectory


def main() -> None:
    """Show what is trained on: the weight of every turn."""
    for turn in taught(seed=11).turns:
        print(f"{turn.kind:>12} {turn.loss:.0f}  {turn.content!r}")


if __name__ == "__main__":
    main()
