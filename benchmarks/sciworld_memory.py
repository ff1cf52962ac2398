"""Measures the resident memory of ScienceWorld, Python and Java together, over many episodes.

The Java process may grow into its whole heap before it collects what nobody needs any more, so a short play says nothing
about a long one. This script plays random episodes in 1 or 16 environments and prints the memory every so many episodes.

    python benchmarks/sciworld_memory.py --environments 16 --episodes 2000 --steps 8
"""

import argparse
import random
import resource
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym

import step_envs  # noqa: F401  (registers the ids)
from step_envs.sciworld.java.jvm import shared_jvm

ENV = "STeP-SciWorld-v0"


def resident_mib(process: int | str) -> float:
    """Read the resident memory of a process from ``/proc``, in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def play(environments: int, episodes: int, steps: int) -> Iterator[int]:
    """Play random episodes in turn in several environments; give the number of episodes played so far."""
    envs = [gym.make(ENV, max_steps=None) for _ in range(environments)]
    dice = random.Random(0)
    try:
        for number in range(episodes):
            env = envs[number % environments]
            env.reset(seed=number)
            for _ in range(steps):
                action = dice.choice(env.unwrapped.admissible_actions())  # type: ignore[attr-defined]
                if env.step(action)[2]:
                    break
            yield number + 1
    finally:
        for env in envs:
            env.close()


def main() -> None:
    """Print one line for every hundredth of the episodes, and the highest figure at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--environments", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=8)
    given = parser.parse_args()
    highest = 0.0
    for played in play(given.environments, given.episodes, given.steps):
        if played % max(1, given.episodes // 40) and played != given.episodes:
            continue
        java = shared_jvm().running().pid
        python_mib, java_mib = resident_mib("self"), resident_mib(java)
        highest = max(highest, python_mib + java_mib)
        seconds = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        ticks = Path(f"/proc/{java}/stat").read_text().rpartition(")")[2].split()[11:13]
        java_seconds = sum(map(int, ticks)) / 100
        print(
            f"{played:6} episodes: Python {python_mib:5.0f} MiB, Java {java_mib:5.0f} MiB, together "
            f"{python_mib + java_mib:5.0f} MiB; CPU {seconds:.0f} s + {java_seconds:.0f} s",
            flush=True,
        )
    print(f"highest: {highest:.0f} MiB with {given.environments} environments over {given.episodes} episodes")


if __name__ == "__main__":
    main()
