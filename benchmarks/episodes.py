"""Measure the CPU time of a scripted episode, by world and by part: python benchmarks/episodes.py [--episodes N].

A novice plays and the oracle judges, as in `step-envs collect --agent novice:error_rate=0.2 --teacher oracle`. No model is
asked and nothing waits, so all of an episode is our own cost. Each part is measured where it is called, without the parts
that it calls:

    reset    begin the task: generate or read it, and the chat around it
    agent    the novice: plan, admissible actions, thought
    teacher  the oracle judges: plans before and after the action, thought, admissible correction
    step     the world carries out an action
    record   conversation, verdicts, restore points, the trajectory
    JSON     the trajectory as a line

With --collect, a whole collection on one core is measured too: the CPU time of the process, with the store that flushes
every line to the disk.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.rollouts import rollout

WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0")
PARTS = ("reset", "agent", "teacher", "step", "record", "JSON")
WARM_UP = 20


class PartClock:
    """Adds up the CPU time of named parts; time within an inner part counts for the inner part alone."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._open: list[str] = ["record"]
        self._since = time.process_time()

    def measured(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its CPU time counted for a part."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._turn_to(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn_back()

        return call

    def start(self) -> None:
        """Forget what was measured so far."""
        self.seconds.clear()
        self._since = time.process_time()

    def stop(self) -> None:
        """Count the time since the last change."""
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def _turn_to(self, part: str) -> None:
        self.stop()
        self._open.append(part)

    def _turn_back(self) -> None:
        self.stop()
        self._open.pop()


def episode_parts(config: CollectConfig) -> tuple[dict[str, float], float]:
    """Play the episodes of a configuration one after the other.

    Returns:
        Part -> CPU milliseconds an episode; steps an episode.
    """
    env, agent = config.make_env(), config.make_agent()
    clock, world, teacher = PartClock(), env.unwrapped, env.get_wrapper_attr("teacher")
    for owner, method, part in (
        (env, "reset", "reset"),
        (agent, "act", "agent"),
        (teacher, "judge", "teacher"),
        (world, "step", "step"),
    ):
        setattr(owner, method, clock.measured(part, getattr(owner, method)))
    planned, steps = config.episodes_to_play(), 0
    for number, plan in enumerate(planned):
        if number == WARM_UP:
            clock.start()
            steps = 0
        trajectory = rollout(env, agent, seed=plan.seed, task_id=plan.task_id)
        clock.measured("JSON", trajectory.to_json)()
        steps += trajectory.steps
    clock.stop()
    env.close()
    episodes = len(planned) - WARM_UP
    return {part: 1000 * clock.seconds[part] / episodes for part in PARTS}, steps / episodes


def collection_rate(config: CollectConfig) -> float:
    """Collect the episodes of a configuration with one thread, and return the episodes of a CPU second."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        collect(config, Path(folder) / "run", concurrency=1)
        return config.episodes / (time.process_time() - started)


def main() -> None:
    """Print a table, or one line of JSON for each world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", action="append", choices=WORLDS, help="only this world; may be given again")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--error-rate", type=float, default=0.2)
    parser.add_argument("--collect", action="store_true", help="measure whole collections too")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    if not arguments.json:
        print(f"{'CPU ms an episode':18}", *(f"{part:>8}" for part in (*PARTS, "all", "steps")), "  in a CPU second")
    for world in arguments.env or WORLDS:
        config = CollectConfig(
            env=world, episodes=arguments.episodes + WARM_UP, agent=f"novice:error_rate={arguments.error_rate}"
        )
        parts, steps = episode_parts(config)
        total = sum(parts.values())
        rates = {"rollout": 1000 / total}
        if arguments.collect:
            rates["collect"] = collection_rate(config)
        if arguments.json:
            print(json.dumps({"env": world, "parts": parts, "steps": steps, "episodes_per_cpu_second": rates}))
            continue
        figures = (*parts.values(), total, steps)
        said = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        print(f"{world:18}", *(f"{figure:8.2f}" for figure in figures), f"  {said}", flush=True)


if __name__ == "__main__":
    main()
