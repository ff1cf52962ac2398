"""Compute the tables of ScienceWorld's plans that come with the package: python scripts/gold_plan_tables.py --work FOLDER.

================== ===========================================================================================
``plans_easy.xz``  all 7,207 variations, with the simplification ``easy``
``plans_eto.xz``   the variations in ETO's splits, with the simplification ``eto``
================== ===========================================================================================

This takes hours of processor time. Every plan is written into the work folder when it is known, and a second call continues
with what is missing there and in the package's tables. The same plans give the same bytes, in whatever order they were
computed, so both tables are written at the end of each call, also of one that was interrupted. The plan of a variation that
is not in a table is computed when somebody asks for it.

The plans depend on the engine's jar and on ``plan_compression.VERSION``. When either changes, nothing of an older work
folder or table is used. A test computes a sample of the plans again and compares.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from step_envs.files import write_whole
from step_envs.sciworld.java.jars import engine_digest
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.plan_compression import VERSION
from step_envs.sciworld.planning.plan_tables import TABLES, KnownPlan, PlanEntry, PlanTable, pack_table
from step_envs.sciworld.planning.planner import Planner
from step_envs.sciworld.tasks import ETO_SPLITS, SCIWORLD_TASKS, TASK_TYPES

DATA = Path(__file__).resolve().parent.parent / "step_envs" / "sciworld" / "data"
TIMEOUT = 600.0


def main() -> None:
    """Compute what is missing, and write the tables into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the plans that are known so far")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with a Java process of its own")
    parser.add_argument("--simplifications", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--tasks", nargs="*", choices=list(TASK_TYPES), default=list(TASK_TYPES), metavar="TASK")
    parser.add_argument("--pack-only", action="store_true", help="compute nothing, write what is known into the tables")
    args = parser.parse_args()
    work = args.work / f"{engine_digest()[:16]}-{VERSION}"
    work.mkdir(parents=True, exist_ok=True)
    # The gold paths are kept there as well: they take most of the time.
    os.environ["STEP_ENVS_CACHE"] = str(args.work.absolute() / "cache")
    try:
        if not args.pack_only:
            for simplification in args.simplifications:
                compute(work, simplification, args.tasks, args.jobs)
    finally:
        for simplification in args.simplifications:
            pack(work, simplification)


def variations(simplification: str, tasks: list[str]) -> Iterator[ActionHistory]:
    """List what belongs into a table: all variations, or those that ETO's protocol plays."""
    splits = ETO_SPLITS if simplification == "eto" else SCIWORLD_TASKS.splits
    wanted = {task_id for split in splits for task_id in SCIWORLD_TASKS.ids(split)}
    for task in tasks:
        for variation in range(TASK_TYPES[task].variations):
            if f"{task}/{variation}" in wanted:
                yield ActionHistory(task, variation, simplification, ())


def compute(work: Path, simplification: str, tasks: list[str], jobs: int) -> None:
    """Compute the plans that are not known yet."""
    file = work / f"{simplification}.jsonl"
    known = shipped(simplification) | computed(file)
    missing = [task for task in variations(simplification, tasks) if (task.task, task.variation) not in known]
    context, started = multiprocessing.get_context("spawn"), time.monotonic()
    with context.Pool(jobs) as pool, file.open("a", encoding="utf-8") as stream:
        for done, (task, plan) in enumerate(pool.imap_unordered(plan_of, missing), start=1):
            stream.write(json.dumps([task.task, task.variation, plan.entries]) + "\n")
            stream.flush()
            if done % 20 == 0 or done == len(missing):
                seconds = time.monotonic() - started
                sys.stderr.write(f"{simplification}: {done} of {len(missing)}, {task.task}, {seconds:.0f} s\n")


def plan_of(task: ActionHistory) -> tuple[ActionHistory, KnownPlan]:
    """Compute a plan, in a process of the pool."""
    planner = _planners[0] if _planners else Planner(None, TIMEOUT, tables=False)
    _planners[:] = [planner]
    return task, KnownPlan.record(planner.simulator, task, planner.plan_from_start(task))


_planners: list[Planner] = []  # of this process, once it has computed something


def shipped(simplification: str) -> dict[tuple[str, int], KnownPlan]:
    """Read the plans of the package's table; none if it was made with another engine or compression."""
    table = PlanTable((DATA / f"plans_{simplification}.xz").read_bytes())
    if not table.fits(engine_digest()):
        return {}
    keys = [(task, variation) for task, variations in table.tasks.items() for variation in variations]
    return {key: plan for key in keys if (plan := table.plan(*key)) is not None}


def computed(file: Path) -> dict[tuple[str, int], KnownPlan]:
    """Read the plans of a work folder; a line that was cut short by a kill is computed again."""
    plans: dict[tuple[str, int], KnownPlan] = {}
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        try:
            task, variation, entries = json.loads(line)
        except json.JSONDecodeError:
            continue
        plans[task, variation] = KnownPlan(tuple(PlanEntry(*entry) for entry in entries))
    return plans


def pack(work: Path, simplification: str) -> None:
    """Write a table into the package."""
    plans = shipped(simplification) | computed(work / f"{simplification}.jsonl")
    table = pack_table(simplification, engine_digest(), plans)
    write_whole(DATA / f"plans_{simplification}.xz", table)
    sys.stderr.write(f"plans_{simplification}.xz: {len(plans)} plans, {len(table):,} bytes\n")


if __name__ == "__main__":
    main()
