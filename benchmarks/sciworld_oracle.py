"""Measure how often ScienceWorld's oracle finds a plan after random actions, and how long its plans are.

An episode: follow the plan up to a random step, take k random valid actions, ask for a plan, and follow it to the end
in the environment. The episode counts as recovered if the engine's score is then 100. Random actions never only look.
There are two ways to draw them: uniformly from the list of valid actions (most are pairs of objects that do nothing
together), or first the verb and then the object, which does much more damage. Both ways can include ``focus on``; a
wrong one fails the task.

The script takes hours for all tasks. It writes every episode down when it ends, and a second call continues where the
first one stopped:

    python benchmarks/sciworld_oracle.py --out build/sciworld-oracle --episodes 10
    python benchmarks/sciworld_oracle.py --out build/sciworld-oracle --report docs/sciworld-oracle.json
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.planning.gold_plans import GoldPlanCache
from step_envs.sciworld.planning.replay_simulator import ReplaySimulator
from step_envs.sciworld.planning.steps import ActionKind, action_kind
from step_envs.sciworld.tasks import TASK_TYPES

DRAWS = ("even", "by-verb", "even+focus")
SLOW = ("mendelian-", "inclined-plane-friction-unnamed")
VARIATIONS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the episodes")
    parser.add_argument("--episodes", type=int, default=10, help="episodes for each task and number of random actions")
    parser.add_argument("--slow-episodes", type=int, default=4, help="the same for the slowest tasks")
    parser.add_argument("--draw", choices=DRAWS, action="append", help="how to draw random actions (default: all)")
    parser.add_argument("--tasks", nargs="*", default=list(TASK_TYPES), help="task names (default: all)")
    parser.add_argument("--only", choices=("lengths", "recovery"), help="measure only this")
    parser.add_argument("--report", type=Path, help="write the summary there, as JSON, and print the Markdown table")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.report is not None:
        summary = summarise(read(args.out / "recovery.jsonl"), read(args.out / "lengths.jsonl"))
        args.report.write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
        sys.stdout.write(markdown(summary))
        return
    env = SciWorldEnv(max_steps=None)
    try:
        if args.only != "recovery":
            measure_lengths(env, args.tasks, args.out / "lengths.jsonl")
        if args.only == "lengths":
            return
        for number in range(args.episodes):
            for draw in args.draw or DRAWS:
                for task in args.tasks:
                    if task.startswith(SLOW) and number >= args.slow_episodes:
                        continue
                    for k in (1, 2, 3):
                        measure_recovery(env, task, draw, k, number, args.out / "recovery.jsonl")
    finally:
        env.close()


def measure_lengths(env: SciWorldEnv, tasks: Iterable[str], file: Path) -> None:
    known = {(row["task"], row["variation"]) for row in read(file)}
    simulator, kept = ReplaySimulator(None, 60.0), GoldPlanCache("gold")
    for task in tasks:
        for variation in range(VARIATIONS):
            if (task, variation) in known:
                continue
            env.reset(options={"task_id": f"{task}/{variation}"})
            started = time.perf_counter()
            plan = env.oracle.plan()
            seconds = time.perf_counter() - started
            if plan is None:
                raise SystemExit(f"No plan from the start of {task}/{variation}.")
            gold = kept.read(env.history) or simulator.gold_path(env.history)
            views = simulator.observe_all(env.history.then(*gold))
            cut = next(i for i, view in enumerate(views) if view.solved)
            row = {"task": task, "variation": variation, "gold": len(gold), "gold_until_solved": cut}
            append(file, row | {"plan": len(plan), "limit": TASK_TYPES[task].max_steps, "seconds": round(seconds, 2)})
    simulator.close()


def measure_recovery(env: SciWorldEnv, task: str, draw: str, k: int, number: int, file: Path) -> None:
    name = f"{task} {draw} {k} {number}"
    if name in {row["name"] for row in read(file)}:
        return
    rng = random.Random(name)
    variation = rng.randrange(min(TASK_TYPES[task].variations // 2, VARIATIONS))
    env.reset(options={"task_id": f"{task}/{variation}"})
    way = env.oracle.plan()
    assert way is not None
    place = rng.randrange(len(way))
    for action in way[:place]:
        env.step(action)
    taken: list[str] = []
    done = success = False
    while len(taken) < k and not done:
        taken.append(pick(env.admissible_actions(), draw, rng))
        _, _, done, _, info = env.step(taken[-1])
        success = info["success"]
    started = time.perf_counter()
    plan = env.oracle.plan()
    seconds = time.perf_counter() - started
    for action in plan or ():
        _, _, done, _, info = env.step(action)
        success = info["success"]
    row = {"name": name, "task": task, "variation": variation, "draw": draw, "k": k, "place": place, "random": taken}
    row |= {"left_before": len(way) - place, "plan": None if plan is None else len(plan), "success": success}
    append(file, row | {"failed_by_focus": done and not success, "seconds": round(seconds, 2)})


def pick(valid: tuple[str, ...], draw: str, rng: random.Random) -> str:
    """Draw a random action."""
    allowed = [
        action
        for action in valid
        if action_kind(action) is not ActionKind.LOOK and (draw == "even+focus" or not action.startswith("focus "))
    ]
    if not allowed:
        return "wait1"
    if draw != "by-verb":
        return rng.choice(allowed)
    by_verb: dict[str, list[str]] = defaultdict(list)
    for action in allowed:
        by_verb[action.split()[0]].append(action)
    return rng.choice(by_verb[rng.choice(sorted(by_verb))])


def read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def append(file: Path, row: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def summarise(recovery: list[dict[str, Any]], lengths: list[dict[str, Any]]) -> dict[str, Any]:
    """Count by task, draw and k; and compare the lengths with the limits."""
    tasks: dict[str, Any] = {}
    for task in TASK_TYPES:
        rows = [row for row in lengths if row["task"] == task]
        tasks[task] = {
            "gold": [row["gold_until_solved"] for row in rows],
            "plan": [row["plan"] for row in rows],
            "limit": TASK_TYPES[task].max_steps,
            "recovery": {},
        }
        for draw in DRAWS:
            for k in (1, 2, 3):
                cell = [row for row in recovery if (row["task"], row["draw"], row["k"]) == (task, draw, k)]
                tasks[task]["recovery"][f"{draw} {k}"] = [sum(row["success"] for row in cell), len(cell)]
    seconds = sorted(row["seconds"] for row in recovery)
    claimed = [row for row in recovery if row["plan"] is not None]
    return {
        "tasks": tasks,
        "gold_fits": [sum(row["gold_until_solved"] <= row["limit"] for row in lengths), len(lengths)],
        "plan_fits": [sum(row["plan"] <= row["limit"] for row in lengths), len(lengths)],
        "plans_that_held": [sum(row["success"] for row in claimed), len(claimed)],
        "seconds_median": seconds[len(seconds) // 2] if seconds else None,
        "seconds_p90": seconds[len(seconds) * 9 // 10] if seconds else None,
    }


def markdown(summary: dict[str, Any]) -> str:
    """Set the summary as a table."""
    columns = [f"{draw} {k}" for draw in DRAWS for k in (1, 2, 3)]
    lines = [
        f"| task | limit | gold | plan | {' | '.join(columns)} |",
        f"|---|---|---|---|{'---|' * len(columns)}",
    ]
    totals = {column: [0, 0] for column in columns}
    for name, task in summary["tasks"].items():
        cells = []
        for column in columns:
            good, count = task["recovery"][column]
            totals[column] = [totals[column][0] + good, totals[column][1] + count]
            cells.append(f"{good}/{count}" if count else "")
        gold, plan = (", ".join(map(str, task[key])) for key in ("gold", "plan"))
        lines.append(f"| {name} | {task['limit']} | {gold} | {plan} | {' | '.join(cells)} |")
    shares = [f"{good}/{count} ({good / count:.0%})" if count else "" for good, count in totals.values()]
    lines.append(f"| **all** | | | | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
