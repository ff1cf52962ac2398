"""Measure what a long run costs: python benchmarks/scale.py [--episodes 2000 20000 200000] [--engine processes threads].

For each number of episodes the commands of a run follow each other, each as a process of its own: collect (novice and
oracle, which cost nothing but time), resume of the finished run, export, report, view. Wall time and processor time are
those of the command with all that it started; memory is the most that all of them had together, looked at ten times a
second.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil


class Cost(NamedTuple):
    """What a command cost: wall and processor seconds, and the most memory in MiB."""

    wall: float
    cpu: float
    memory: float


def run(*arguments: object) -> Cost:
    """Run a command of step-envs to its end."""
    command = [sys.executable, "-m", "step_envs.cli", *map(str, arguments)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryFile() as printed, subprocess.Popen(command, stdout=printed, stderr=printed) as process:
        most = [0.0]
        over = threading.Event()
        watching = threading.Thread(target=_watch, args=(process.pid, most, over))
        watching.start()
        code = process.wait()
        wall = time.monotonic() - started
        over.set()
        watching.join()
        if code:
            printed.seek(0)
            raise SystemExit(
                f"{' '.join(command)} ended with {code}:\n{printed.read().decode(errors='replace')[-3000:]}"
            )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, most[0])


def _watch(pid: int, most: list[float], over: threading.Event) -> None:
    while not over.wait(0.1):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            most[0] = max(most[0], sum(_resident(one) for one in family) / 2**20)


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def main() -> None:
    """Run the measurement and print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="STeP-ALFWorld-v0")
    parser.add_argument("--episodes", type=int, nargs="+", default=[2000, 20_000, 200_000])
    parser.add_argument("--engine", nargs="+", default=["processes"], help="the first one's run is also read")
    parser.add_argument("--agent", default="novice:error_rate=0.2")
    parser.add_argument("--concurrency", type=int, help="episodes at once; else as the command chooses")
    parser.add_argument("--folder", type=Path, help="where the runs go, and stay; else a temporary folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for episodes in options.episodes:
            for number, engine in enumerate(options.engine):
                out = folder / f"{engine}-{episodes}"
                same = ["--env", options.env, "--episodes", episodes, "--agent", options.agent, "--out", out]
                same += ["--engine", engine, "--json"]
                if options.concurrency:
                    same += ["--concurrency", options.concurrency]
                verbs = {f"collect ({engine})": ["collect", *same]}
                if number == 0:
                    verbs |= {
                        "resume": ["collect", "--resume", *same],
                        "export": ["export", out, "--out", folder / "rows.jsonl", "--overwrite"],
                        "report": ["report", out, "--out", folder / "report"],
                        "view": ["view", out, "--html", folder / "view.html"],
                    }
                for verb, arguments in verbs.items():
                    show(episodes, verb, run(*arguments), options.json)


def show(episodes: int, verb: str, cost: Cost, as_json: bool) -> None:
    """Print one line."""
    if as_json:
        print(json.dumps({"episodes": episodes, "verb": verb} | cost._asdict()), flush=True)
        return
    print(
        f"{episodes:9,} {verb:20} {cost.wall:9.1f} s wall {cost.cpu:9.1f} s CPU (wall {cost.wall / cost.cpu:4.2f} of it) "
        f"{episodes / cost.cpu:9.1f} episodes a CPU s {cost.memory:8.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
