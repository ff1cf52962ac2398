"""Waits for what a child process writes, without waiting for ever for one that has ended."""

import subprocess
import time
from pathlib import Path


def wait_for_a_trajectory(process: "subprocess.Popen[str]", run: Path) -> None:
    """Wait until a collection has written to its run folder.

    Raises:
        AssertionError: The process ended first; its output is in the message.
    """
    file = run / "trajectories.jsonl"
    while not file.exists() or not file.stat().st_size:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
