"""Measure how long ScienceWorld's oracle takes: python benchmarks/sciworld_plans.py [--rounds N].

Three questions: the plan at the start of an episode, the next action along the plan, and the distance after one to three
random valid actions off the plan. They are asked with the plans that come with the package and without them, in turn in
one run, of two environments in one process. Without them each plan at the start is computed, since nothing is kept on disk.
CPU time is Python's and Java's together. Java compiles while it plays: distances are those of the last half.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from sciworld_backends import Cost, cpu_seconds
from sciworld_oracle import pick

from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.plan_tables import shipped_plan
from step_envs.sciworld.planning.planner import Planner
from step_envs.sciworld.tasks import TASK_TYPES

PLAN, NEXT, DISTANCE = "plan at the start", "next action along the plan", "distance off the plan"
ENGINE_STEPS = "engine steps of a distance"

Costs = dict[str, list[Cost]]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="episodes of each task")
    parser.add_argument("--tasks", nargs="*", default=list(TASK_TYPES), help="task names (default: all)")
    args = parser.parse_args()
    envs = {True: SciWorldEnv(max_steps=None), False: SciWorldEnv(max_steps=None)}
    envs[False].oracle.planner = Planner(None, 60.0, tables=False)
    costs: dict[bool, Costs] = {shipped: defaultdict(list) for shipped in envs}
    steps: dict[bool, list[int]] = defaultdict(list)
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STEP_ENVS_CACHE"] = folder
        for number in range(args.rounds):
            for task in args.tasks:
                # The same random actions in both; the answers must be the same as well.
                answers = [play(env, task, number, costs[shipped], steps[shipped]) for shipped, env in envs.items()]
                different += answers[0] != answers[1]
    for env in envs.values():
        env.close()
    show(costs, steps, different)


def play(
    env: SciWorldEnv, task: str, number: int, costs: Costs, steps: list[int]
) -> tuple[list[str] | None, int | None]:
    """Play an episode and ask the three questions."""
    rng = random.Random(f"{task} {number}")
    shipped = [i for i in range(TASK_TYPES[task].variations) if shipped_plan(ActionHistory(task, i, "easy", ()))]
    env.reset(options={"task_id": f"{task}/{rng.choice(shipped)}"})
    plan: list[str] = []
    costs[PLAN].append(measure(lambda: plan.extend(env.oracle.plan() or ())))
    place = rng.randrange(len(plan)) if plan else 0
    for action in plan[:place]:
        env.step(action)
        costs[NEXT].append(measure(env.oracle.next_action))
    done = False
    for _ in range(rng.randint(1, 3)):
        if not done:
            action = pick(env.admissible_actions(), rng.choice(("even", "by-verb")), rng)
            *_, done, _, _ = env.step(action)
    distance: list[int | None] = []
    before = env.oracle.planner.simulator.steps
    costs[DISTANCE].append(measure(lambda: distance.append(env.oracle.distance())))
    steps.append(env.oracle.planner.simulator.steps - before)
    return plan, distance[0]


def measure(work: Callable[[], Any]) -> Cost:
    """Carry out some work and return its cost, without that of asking for Java's CPU time."""
    java, python, started = cpu_seconds() - time.process_time(), time.process_time(), time.perf_counter()
    work()
    wall, python = time.perf_counter() - started, time.process_time() - python
    return Cost(python + cpu_seconds() - time.process_time() - java, wall)


def show(costs: dict[bool, Costs], steps: dict[bool, list[int]], different: int) -> None:
    """Print the figures as a table."""
    table = Table("ms", "CPU: median", "p90", "p95", "wall: median", "p90", "p95")
    for name in (PLAN, NEXT, DISTANCE):
        for shipped in (True, False):
            measured = costs[shipped][name]
            if name == DISTANCE:
                measured = measured[len(measured) // 2 :]
            figures = [quantiles([1_000 * getattr(cost, kind) for cost in measured]) for kind in ("cpu", "wall")]
            table.add_row(f"{name}, {'with' if shipped else 'without'} the tables", *figures[0], *figures[1])
    for shipped in (True, False):
        table.add_row(f"{ENGINE_STEPS}, {'with' if shipped else 'without'}", *quantiles(steps[shipped]))
    console = Console()
    console.print(table)
    console.print(
        f"{different} of {len(steps[True])} episodes with other answers (target: 0); plan at the start: 10 ms"
    )


def quantiles(values: list[Any]) -> list[str]:
    """Return median, 90th and 95th percentile."""
    ordered = sorted(values)
    picked = [statistics.median(ordered), *(ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.9, 0.95))]
    return [f"{value:,.1f}" for value in picked]


if __name__ == "__main__":
    main()
