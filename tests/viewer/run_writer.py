"""Writes a run as a collection does, in a process of its own, one order a line of standard input.

``12`` appends episode 12; ``half`` writes the beginning of a line; ``raw TEXT`` writes a line; ``fail 3 REASON`` notes a
failed episode; ``end`` writes the summary. After each order it answers ``done``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Self

from sample_runs import episode

from step_envs.store import TrajectoryStore


class RunWriter:
    """The process, as a test sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, __file__, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(self, *orders: object) -> None:
        """Have it do something, and wait until it is done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        for one in orders:
            self._process.stdin.write(f"{one}\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


def write(folder: Path) -> None:
    file = folder / "trajectories.jsonl"
    for line in sys.stdin:
        order, _, rest = line.strip().partition(" ")
        if order in ("half", "raw"):
            text = episode(0).to_json()[:700] if order == "half" else f"{rest}\n"
            with file.open("a") as stream:
                stream.write(text)
        elif order == "fail":
            number, _, reason = rest.partition(" ")
            record = {"episode": int(number), "task_id": f"boil/{number}", "seed": 0, "reason": reason, "detail": ""}
            with (folder / "failures.jsonl").open("a") as stream:
                stream.write(f"{json.dumps(record)}\n")
        elif order == "plan":
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps({"episodes": int(rest)}))
        elif order == "end":
            (folder / "summary.json").write_text("{}")
        elif order == "again":
            file.write_text("")
        else:
            with TrajectoryStore(file) as store:
                store.append(episode(int(order)))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
