"""Compare STeP-SciWorld-v0 with the original ScienceWorldEnv: python benchmarks/sciworld.py [--episodes N] [--json FILE].

Both play the same actions of the same tasks, in turn, in one run, so that other work on the machine affects both
equally. The figures are medians in milliseconds of CPU time (this process and the Java processes together) and of wall
time, and the ratio of the CPU times. Memory is the resident memory of the Java processes, which is nearly all of the
memory. ``sciworld_backends.py`` compares our own two backends.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import psutil
from rich.console import Console
from rich.table import Table
from scienceworld import ScienceWorldEnv

import step_envs  # noqa: F401  (registers the ids)

SIMPLIFICATION = "openDoors,openContainers"
TASKS = [("find-plant", 0), ("boil", 0), ("use-thermometer", 0)]
ROUNDS_IN_KITCHEN = 12


def java_processes() -> set[psutil.Process]:
    return {child for child in psutil.Process().children(recursive=True) if "java" in child.name()}


class Side:
    """Holds one of the two environments and its measurements."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.java: set[psutil.Process] = set()
        self.samples: dict[str, list[tuple[float, float]]] = {}

    def cpu(self) -> float:
        """Return the CPU seconds so far, of this process and the Java process."""
        spent = [process.cpu_times() for process in self.java if process.is_running()]
        return time.process_time() + sum(times.user + times.system for times in spent)

    def measure(self, what: str, call: Callable[[], Any]) -> Any:
        """Call a function, and record its CPU and wall time."""
        cpu, wall = self.cpu(), time.perf_counter()
        answer = call()
        self.samples.setdefault(what, []).append((self.cpu() - cpu, time.perf_counter() - wall))
        return answer


def start(side: Side, make: Callable[[], Any], first: Callable[[Any], Any]) -> Any:
    """Start an environment until its first observation; its Java process is the one that appears meanwhile."""
    before, wall, cpu = java_processes(), time.perf_counter(), time.process_time()
    env = make()
    first(env)
    side.java = java_processes() - before
    side.samples["start"] = [(side.cpu() - cpu, time.perf_counter() - wall)]
    return env


def way_to_kitchen(ours: gym.Env[str, str], task: str, variation: int) -> list[str]:
    """Find the actions that lead to the kitchen; all doors are open."""
    for path in ([], ["go to kitchen"], ["go to hallway", "go to kitchen"], ["go to green house"]):
        _, info = ours.reset(options={"task_id": f"{task}/{variation}"})
        for action in path:
            info = ours.step(action)[4]
        if info["details"]["look"].startswith("This room is called the kitchen"):
            return path
    for first in ("art studio", "bedroom", "living room", "workshop", "greenhouse", "outside", "bathroom", "foundry"):
        path = [f"go to {first}", "go to hallway", "go to kitchen"]
        _, info = ours.reset(options={"task_id": f"{task}/{variation}"})
        for action in path:
            info = ours.step(action)[4]
        if info["details"]["look"].startswith("This room is called the kitchen"):
            return path
    raise RuntimeError(f"no way to the kitchen in {task}/{variation}")


def compare_play(stock_side: Side, our_side: Side, repeats: int) -> dict[str, Any]:
    stock = start(
        stock_side,
        lambda: ScienceWorldEnv("", envStepLimit=100_000),
        lambda env: (env.load("boil", 0, SIMPLIFICATION), env.reset()),
    )

    def make() -> gym.Env[str, str]:
        return gym.make("STeP-SciWorld-v0", simplification=SIMPLIFICATION, max_steps=None, disable_env_checker=True)

    lister = start(our_side, make, lambda env: env.reset(options={"task_id": "boil/0"}))
    # Between two steps of which nobody asks for the list, the engine has other work to do: a second one never asks.
    player = make()
    counts = []
    for repeat in range(repeats):
        for task, variation in TASKS:
            path = way_to_kitchen(lister, task, variation)
            actions = [*path, *["look around", "wait1", "open fridge", "close fridge"] * (ROUNDS_IN_KITCHEN // 4)]
            task_id = f"{task}/{variation}"

            def reload(task: str = task, variation: int = variation) -> None:
                stock.load(task, variation, SIMPLIFICATION)
                stock.reset()

            def restart(env: gym.Env[str, str], task_id: str = task_id) -> None:
                env.reset(options={"task_id": task_id})

            stock_side.measure("reset", reload)
            our_side.measure("reset", lambda: restart(player))
            restart(lister)
            for number, action in enumerate(actions):
                where = "in the kitchen" if number >= len(path) else "on the way"

                def step_and_list(action: str = action) -> tuple[dict[str, Any], tuple[str, ...]]:
                    return lister.step(action)[4], lister.unwrapped.admissible_actions()

                listing = f"step with admissible actions, {where}"
                stock_info = stock_side.measure(listing, lambda action=action: stock.step(action))[3]
                # The stock step always lists.
                stock_side.samples.setdefault(f"step, {where}", []).append(stock_side.samples[listing][-1])
                info, listed = our_side.measure(listing, step_and_list)
                our_side.measure(f"step, {where}", lambda action=action: player.step(action))
                if repeat == 0 and info["details"]["moves"] != stock_info["moves"]:
                    raise RuntimeError(f"the two are at different times after {action!r}: not the same episode")
                if number >= len(path):
                    counts.append(len(listed))
    for env in (stock, lister, player):
        env.close()
    return {"admissible_actions_in_the_kitchen": statistics.median(counts)}


def memory(make: Callable[[], Any], play: Callable[[Any, int], Any], count: int) -> float:
    """Return the resident memory, in MiB, of the Java processes of ``count`` environments that have played some steps."""
    before = java_processes()
    envs = [make() for _ in range(count)]
    for number, env in enumerate(envs):
        play(env, number)
    resident = sum(process.memory_info().rss for process in java_processes() - before)
    for env in envs:
        env.close()
    return resident / 2**20


def play_stock(env: Any, number: int) -> None:
    task, variation = TASKS[number % len(TASKS)]
    env.load(task, variation, "easy")
    env.reset()
    for action in ("look around", "teleport to kitchen", "open fridge", "look around", "wait"):
        env.step(action)


def play_ours(env: Any, number: int) -> None:
    task, variation = TASKS[number % len(TASKS)]
    env.reset(options={"task_id": f"{task}/{variation}"})
    for action in ("look around", "teleport to kitchen", "open fridge", "look around", "wait"):
        env.step(action)
        env.unwrapped.admissible_actions()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="how often the tasks are played")
    parser.add_argument("--environments", type=int, default=16, help="how many environments memory is measured for")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    console = Console()
    stock_side, our_side = Side("stock"), Side("step-envs")
    figures = compare_play(stock_side, our_side, arguments.repeats)
    table = Table("what", "stock CPU ms", "step-envs CPU ms", "CPU ratio", "stock wall ms", "step-envs wall ms")
    for what in ("start", "reset", "step, in the kitchen", "step with admissible actions, in the kitchen"):
        cells = [
            statistics.median(s[i] for s in side.samples[what]) * 1e3 for i in (0, 1) for side in (stock_side, our_side)
        ]
        table.add_row(
            what, f"{cells[0]:.1f}", f"{cells[1]:.1f}", f"{cells[0] / cells[1]:.1f}", *(f"{c:.1f}" for c in cells[2:])
        )
        figures[what] = dict(zip(("stock_cpu_ms", "our_cpu_ms", "stock_wall_ms", "our_wall_ms"), cells, strict=True))
    console.print(table)
    listed = figures["admissible_actions_in_the_kitchen"]
    console.print(
        f"The stock step always lists what is admissible; in the kitchen that is {listed:.0f} actions (median)."
    )
    sizes = Table("environments", "stock MiB", "step-envs MiB")
    for count in (1, arguments.environments):
        ours = memory(lambda: gym.make("STeP-SciWorld-v0", disable_env_checker=True), play_ours, count)
        # One stock environment is one Java process; sixteen of them do not fit everywhere, so four stand for their like.
        measured = min(count, 4)
        stock = memory(lambda: ScienceWorldEnv("", envStepLimit=1000), play_stock, measured) * count / measured
        sizes.add_row(
            str(count), f"{stock:.0f}" + (f" ({measured} measured)" if measured < count else ""), f"{ours:.0f}"
        )
        figures[f"memory_{count}"] = {"stock_mib": stock, "our_mib": ours}
    console.print(sizes)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
