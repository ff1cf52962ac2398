"""Compare the two backends of ScienceWorld, in turn in one run: python benchmarks/sciworld_backends.py [--rounds N].

Each backend plays in a process of its own, with a Java process of its own, so that neither pays for what the other leaves
to Java's compiler. They take turns every few steps, so that other work on the machine affects both equally; trust the
ratios before the figures. CPU time is Python's and Java's together. Java compiles while it plays: the first rounds warm up,
and the figures are medians of the last half.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import psutil
from rich.console import Console
from rich.table import Table

import step_envs  # noqa: F401  (registers the ids)
from step_envs.sciworld.engine import Simulator

BACKENDS = ("stock", "fast")
ROOMS = ("kitchen", "hallway", "greenhouse")
ACTIONS = (
    "look around", "wait1", "open fridge", "close fridge", "pick up metal pot", "put down metal pot", "look at stove",
    "activate stove", "deactivate stove",
)  # fmt: skip
STEPS = 45
RESETS = 10
GOLD_TASKS = (("boil", 0), ("grow-plant", 0), ("mendelian-genetics-known-plant", 0))


class Cost(NamedTuple):
    """Seconds that one unit of work took."""

    cpu: float
    wall: float


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its Java process so far."""
    java = [child.cpu_times() for child in psutil.Process().children(recursive=True) if "java" in child.name()]
    return time.process_time() + sum(times.user + times.system for times in java)


def measure(work: Callable[[], Any], units: int) -> Cost:
    """Carry out some work and return the cost of a unit of it."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return Cost((cpu_seconds() - cpu) / units, (time.perf_counter() - wall) / units)


class Player:
    """Carries out the measured work in one backend."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.env: Any = None
        self.simulator: Any = None

    def first_observation(self) -> Cost:
        """Make the first environment of the process and reset it."""

        def start() -> None:
            self.env = gym.make("STeP-SciWorld-v0", backend=self.backend, max_steps=None, disable_env_checker=True)
            self.env.reset(options={"task_id": "boil/0"})

        return measure(start, 1)

    def step(self, room: str) -> Cost:
        """Take steps in a room; nobody asks for the list."""
        self._go(room)
        return measure(lambda: [self.env.step(ACTIONS[i % len(ACTIONS)]) for i in range(STEPS)], STEPS)

    def step_with_list(self, room: str) -> Cost:
        """Take steps and list the valid actions after each."""

        def play() -> None:
            for i in range(STEPS):
                self.env.step(ACTIONS[i % len(ACTIONS)])
                self.env.unwrapped.admissible_actions()

        self._go(room)
        return measure(play, STEPS)

    def reset(self) -> Cost:
        """Start episodes of one task."""
        tasks = [f"boil/{i % 3}" for i in range(RESETS)]
        return measure(lambda: [self.env.reset(options={"task_id": task}) for task in tasks], RESETS)

    def gold_path(self, task: str, variation: int) -> Cost:
        """Have the engine solve a task."""
        if self.simulator is None:
            self.simulator = Simulator(backend=self.backend)  # type: ignore[arg-type]
        self.simulator.load(task, variation, "easy")
        return measure(self.simulator.gold_path, 1)

    def resident_mib(self, environments: int) -> float:
        """Return the memory of Python and Java after several environments have played some steps."""
        envs = [
            gym.make("STeP-SciWorld-v0", backend=self.backend, disable_env_checker=True) for _ in range(environments)
        ]
        for number, env in enumerate(envs):
            env.reset(options={"task_id": ("find-plant/0", "boil/0", "use-thermometer/0")[number % 3]})
            for action in ("look around", "teleport to kitchen", "open fridge", "look around", "wait"):
                env.step(action)
                env.unwrapped.admissible_actions()  # type: ignore[attr-defined]
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        resident = sum(process.memory_info().rss for process in processes)
        for env in envs:
            env.close()
        return resident / 2**20

    def _go(self, room: str) -> None:
        self.env.reset(options={"task_id": "boil/0"})
        self.env.step(f"teleport to {room}")


def serve(backend: str, orders: Connection) -> None:
    """Carry out what the parent asks for, in one backend, until it asks for nothing."""
    player = Player(backend)
    while (order := orders.recv()) is not None:
        method, arguments = order
        orders.send(getattr(player, method)(*arguments))


class Worker:
    """A process that plays one backend."""

    def __init__(self, backend: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(backend, theirs))
        self._process.start()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Have it carry out a method of ``Player``."""
        self._orders.send((method, arguments))
        return self._orders.recv()

    def close(self) -> None:
        """End the process."""
        self._orders.send(None)
        self._process.join()


def compare_work(rounds: int) -> dict[str, dict[str, Cost]]:
    """Return the median cost of each kind of work, by backend."""
    orders: dict[str, tuple[Any, ...]] = {f"step, {room}": ("step", room) for room in ROOMS}
    orders["step with list, kitchen"] = ("step_with_list", "kitchen")
    orders["reset"] = ("reset",)
    workers = {backend: Worker(backend) for backend in BACKENDS}
    figures = {"first observation": {name: worker.ask("first_observation") for name, worker in workers.items()}}
    samples: dict[str, dict[str, list[Cost]]] = {what: {name: [] for name in BACKENDS} for what in orders}
    for _ in range(rounds):
        for what, order in orders.items():
            for name, worker in workers.items():
                samples[what][name].append(worker.ask(*order))
    for what, by_backend in samples.items():
        figures[what] = {name: median(costs[len(costs) // 2 :]) for name, costs in by_backend.items()}
    for task, variation in GOLD_TASKS:
        paths = {name: [worker.ask("gold_path", task, variation) for _ in range(2)] for name, worker in workers.items()}
        figures[f"gold path, {task}/{variation}"] = {name: costs[-1] for name, costs in paths.items()}
    for worker in workers.values():
        worker.close()
    return figures


def median(costs: list[Cost]) -> Cost:
    """Return the median CPU and wall time."""
    return Cost(statistics.median(cost.cpu for cost in costs), statistics.median(cost.wall for cost in costs))


def compare_memory(environments: int) -> dict[str, float]:
    """Return the resident memory, in MiB, by backend; each is measured in a fresh process."""
    found = {}
    for backend in BACKENDS:
        worker = Worker(backend)
        found[backend] = worker.ask("resident_mib", environments)
        worker.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16, help="how often each kind of work is measured")
    parser.add_argument("--environments", type=int, default=16, help="how many environments memory is measured for")
    parser.add_argument("--json", help="file for the figures")
    given = parser.parse_args()
    console = Console()
    work = compare_work(given.rounds)
    table = Table("what", "stock CPU ms", "fast CPU ms", "CPU ratio", "stock wall ms", "fast wall ms")
    for what, costs in work.items():
        stock, fast = costs["stock"], costs["fast"]
        cells = (stock.cpu * 1e3, fast.cpu * 1e3, stock.cpu / fast.cpu, stock.wall * 1e3, fast.wall * 1e3)
        table.add_row(what, *(f"{cell:.1f}" for cell in cells))
    console.print(table)
    memory = {count: compare_memory(count) for count in (1, given.environments)}
    sizes = Table("environments", "stock MiB", "fast MiB")
    for count, by_backend in memory.items():
        sizes.add_row(str(count), f"{by_backend['stock']:.0f}", f"{by_backend['fast']:.0f}")
    console.print(sizes)
    if given.json:
        figures = {what: {name: cost._asdict() for name, cost in costs.items()} for what, costs in work.items()}
        Path(given.json).write_text(json.dumps({"work_s": figures, "memory_mib": memory}, indent=2) + "\n")


if __name__ == "__main__":
    main()
