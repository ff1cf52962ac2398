"""Waits for what a child process writes or becomes, without waiting for ever for one that has ended."""

import os
import signal
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


def suspend(process_id: int) -> None:
    """Suspend a process of Linux and wait until every thread of it has stopped.

    The signal alone is not enough: a thread that runs at that moment may still answer a call or two.
    """
    os.kill(process_id, signal.SIGSTOP)
    # The state follows the name, which is in brackets and may hold anything.
    while any(
        file.read_text().rpartition(") ")[2][0] != "T" for file in Path(f"/proc/{process_id}/task").glob("*/stat")
    ):
        time.sleep(0.01)
