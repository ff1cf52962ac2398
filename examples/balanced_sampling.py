"""Choose how much an agent explores before it samples its own data: python examples/balanced_sampling.py [FOLDER AGENTS].

Rejection sampling trains a model on its own successes. Cautious sampling gives many successes that are all alike, and bold
sampling gives few. B-STaR (arXiv 2412.17256) measures both on a few tasks before every round: the balance of a task is
``min(distinct successes / wanted, 1) * distinct successes / episodes``. The setting with the best mean plays all tasks.

AGENTS are specifications that differ in how boldly they explore, e.g. ``local:model=checkpoints/round1,temperature=0.5``
and the same with ``temperature=1``. The default is a scripted agent at several rates of error, and takes seconds. After
training on what was sampled, begin the next round with the new checkpoint.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import step_envs
from step_envs import Trajectory
from step_envs.collection import CollectConfig, collect
from step_envs.store import read_trajectories

ENV, OPTIONS = "STeP-ALFWorld-v0", {"source": "generated", "household": "small", "max_steps": 20}
AGENTS = [f"novice:error_rate={rate}" for rate in (0.1, 0.3, 0.5, 0.7, 0.9)]
WANTED = 4
"""Distinct successes of a task that are enough; as many as ``--recipe rejection-sampling`` takes."""


def sample(agent: str, tasks: Sequence[str], repeats: int, out: Path) -> list[Trajectory]:
    """Play every task several times, without a teacher, and return what is in the run then."""
    config = CollectConfig(
        env=ENV, env_options=OPTIONS, tasks=tuple(tasks), episodes=repeats * len(tasks), agent=agent, teacher=None
    )
    collect(config, out, resume=out.exists())
    return list(read_trajectories(out))


def distinct_successes(played: Sequence[Trajectory]) -> dict[str, int]:
    """Count the successes of every task; those with the same actions count once."""
    ways: dict[str, set[tuple[str | None, ...]]] = defaultdict(set)
    for one in played:
        ways[one.task_id] |= {tuple(turn.action for turn in one.turns)} if one.success else set()
    return {task: len(found) for task, found in ways.items()}


def balance(played: Sequence[Trajectory], wanted: int = WANTED) -> float:
    """Return the mean balance of the tasks, from 0 to 1."""
    distinct = distinct_successes(played)
    episodes = len(played) / len(distinct)
    return mean(min(number / wanted, 1.0) * number / episodes for number in distinct.values())


def run(agents: Sequence[str], folder: Path, probed: int = 12, tasks: int = 48, repeats: int = 8) -> str:
    """Try every agent on some tasks, play all tasks with the one in balance, and return which one that is."""
    known = step_envs.list_tasks(ENV, split="train", source="generated", household="small")[:tasks]
    width = max(len(agent) for agent in agents)
    print(f"{'agent':{width}}  episodes  successes  distinct  balance")
    scores = {}
    for number, agent in enumerate(agents):
        played = sample(agent, known[:probed], repeats, folder / f"probe-{number}")
        successes, distinct = sum(one.success for one in played), sum(distinct_successes(played).values())
        scores[agent] = balance(played)
        print(f"{agent:{width}}  {len(played):8}  {successes:9}  {distinct:8}  {scores[agent]:7.2f}")
    chosen = max(scores, key=lambda agent: scores[agent])
    played = sample(chosen, known, repeats, folder / "explored")
    kept = sum(min(number, WANTED) for number in distinct_successes(played).values())
    print(f"In balance: {chosen}. It played {len(played)} episodes; at most {WANTED} a task are {kept} to train on.")
    return chosen


def main() -> None:
    """Balance the agents from the command line: first the folder in which the runs stay, then the agents."""
    if len(sys.argv) > 2:
        run(sys.argv[2:], Path(sys.argv[1]))
        return
    if len(sys.argv) == 2:
        raise SystemExit("Name a folder for the runs and the agents: balanced_sampling.py FOLDER AGENT...")
    with tempfile.TemporaryDirectory() as folder:
        run(AGENTS, Path(folder))


if __name__ == "__main__":
    main()
