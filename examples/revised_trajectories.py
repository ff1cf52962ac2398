"""Turn failed episodes into trajectories to learn from: python examples/revised_trajectories.py [AGENT] [TEACHER] [FOLDER].

*Revision* (Agent-R, arXiv 2501.11425): the failed episode is played again up to its first wrong step. That step stays,
without loss; a reflection and a correction follow, and the agent goes on from there. *Recombination* (SE-Agent, arXiv
2508.02085): its beginning before that step goes on with the end of another episode of the task. Nothing is cut and pasted
as text: both are played in the world, under a teacher that judges every step. So records are true and masks exact.

AGENT and TEACHER are specifications; the defaults are scripted and take seconds. Train on the results with
``step-envs train runs/golden FOLDER/revised FOLDER/recombined --recipe step``.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import step_envs
from step_envs import Trajectory
from step_envs.agents import ReplayAgent, Reply, make_agent, recorded_replies
from step_envs.collection import CollectConfig, collect, rollout
from step_envs.store import TrajectoryStore, read_trajectories

ENV, OPTIONS = "STeP-ALFWorld-v0", {"source": "generated", "household": "small", "max_steps": 20}
MOST_ERRORS = 2
"""Errors of a revised trajectory, as the filter of STeP allows them."""


class Reviser:
    """Plays failed episodes again, under a teacher.

    Args:
        agent: Specification of the agent that goes on after a correction.
        teacher: Specification of the teacher that finds wrong steps.
    """

    def __init__(self, agent: str, teacher: str) -> None:
        config = CollectConfig(env=ENV, env_options=OPTIONS, episodes=1, teacher=teacher, max_errors=MOST_ERRORS)
        self.agent = make_agent(agent)
        self.env = config.make_env()
        self.strict = config.with_changes(max_errors=0).make_env()  # the first error ends the episode
        self.world: step_envs.TextEnv = self.strict.unwrapped  # type: ignore[assignment]

    def revise(self, failed: Trajectory, attempts: int = 4) -> Trajectory | None:
        """Correct the first wrong step and go on; None if no attempt succeeds."""
        for attempt in range(attempts):
            replayed = ReplayAgent(recorded_replies(failed), then=self.agent)
            played = rollout(self.env, replayed, seed=(failed.seed or 0) + attempt, task_id=failed.task_id)
            if played.success:
                return played
        return None

    def recombine(self, failed: Trajectory, others: Sequence[Trajectory]) -> Trajectory | None:
        """Go on after the right beginning with the end of another episode; None if no end is right and reaches the goal."""
        replies = recorded_replies(failed)
        judged = rollout(self.strict, ReplayAgent(replies), seed=failed.seed, task_id=failed.task_id)
        beginning = replies[: sum(turn.kind in ("agent", "expert") for turn in judged.turns)]
        rollout(self.strict, ReplayAgent(beginning), seed=failed.seed, task_id=failed.task_id)
        snapshot = self.world.snapshot()
        ends = [said[at:] for said in map(recorded_replies, others) for at in range(len(said))]
        for end in sorted(ends, key=len):
            if self.reaches_goal(snapshot, end):
                whole = ReplayAgent([*beginning, *end])
                played = rollout(self.strict, whole, seed=failed.seed, task_id=failed.task_id)
                if played.success:
                    return played
        return None

    def reaches_goal(self, snapshot: bytes, end: Sequence[Reply]) -> bool:
        """Try the actions of an end in the world itself, which takes less time than to have them judged."""
        self.world.restore(snapshot)
        for reply in end:
            *_, terminated, truncated, info = self.world.step(reply.action or "")
            if terminated or truncated:
                return bool(info["success"])
        return False


def run(agent: str, teacher: str, folder: Path, tasks: int = 12, repeats: int = 4) -> dict[str, list[Trajectory]]:
    """Collect episodes, revise and recombine the failed ones, print what came of it, and write the trajectories."""
    known = step_envs.list_tasks(ENV, split="train", source="generated", household="small")[:tasks]
    config = CollectConfig(
        env=ENV, env_options=OPTIONS, tasks=known, episodes=tasks * repeats, agent=agent, teacher=None
    )
    collect(config, folder / "explored")
    played = list(read_trajectories(folder / "explored"))
    failed = [one for one in played if not one.success]
    reviser = Reviser(agent, teacher)
    made: dict[str, list[tuple[Trajectory, Trajectory]]] = {"revised": [], "recombined": []}
    for one in failed:
        others = [other for other in played if other.task_id == one.task_id and other is not one]
        for name, found in (("revised", reviser.revise(one)), ("recombined", reviser.recombine(one, others))):
            if found is not None:
                made[name].append((one, found))
    print(f"{len(failed)} of {len(played)} episodes failed.")
    print("              of them    steps before    after    errors, without loss")
    for name, pairs in made.items():
        with TrajectoryStore(folder / name / "trajectories.jsonl") as store:
            for _, found in pairs:
                store.append(found)
        before, after = (mean(pair[side].steps for pair in pairs) if pairs else 0 for side in (0, 1))
        errors = sum(found.errors for _, found in pairs)
        print(f"{name:12}  {len(pairs):7}  {before:14.1f}  {after:7.1f}  {errors:22}")
    return {name: [found for _, found in pairs] for name, pairs in made.items()}


def main() -> None:
    """Revise with the agent and the teacher, and into the folder, from the command line."""
    given = [*sys.argv[1:], *["novice:error_rate=0.6", "oracle"][len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as temporary:
        # What a named agent took long to make is kept.
        named = "runs/failures" if len(sys.argv) > 1 else temporary
        run(given[0], given[1], Path(given[2] if len(given) > 2 else named))


if __name__ == "__main__":
    main()
