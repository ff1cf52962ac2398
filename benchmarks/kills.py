"""Kill and interrupt a collection at random moments, resume it, and count what was lost, repeated or cut.

    python benchmarks/kills.py --kills 60 --interrupts 60 --early 20

As many kills and interrupts as asked for fall into play: each comes at a random moment after its process has written a
first trajectory. The early blows come at a random moment after the start, so most of them fall into the imports. Ctrl-C is
pressed once, twice or three times. After each blow the file is checked. In the end the run is resumed and compared with one
that nobody disturbed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from step_envs.collection import CollectConfig, collect
from step_envs.store import read_trajectories

ROOT = Path(__file__).parents[1]
OPTIONS = {"env": "STeP-ALFWorld-v0", "agent": "novice:error_rate=0.5", "seed": 3}


def default_signals() -> None:
    """Handle signals as at a terminal: a shell lets its background jobs ignore SIGINT, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start(out: Path, episodes: int, log: Path) -> "subprocess.Popen[bytes]":
    """Start ``step-envs collect --resume``; what it prints is appended to a log."""
    options = [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "step_envs.cli", "collect", "--out", str(out), "--episodes", str(episodes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with log.open("ab") as printed:
        return subprocess.Popen(
            [*command, *options, "--resume"],
            env=environment,
            stdout=printed,
            stderr=printed,
            preexec_fn=default_signals,
        )


def strike(process: "subprocess.Popen[bytes]", number: signal.Signals, rng: random.Random) -> None:
    """Send the signal, an interrupt up to three times, and wait for the end."""
    for _ in range(1 if number is signal.SIGKILL else rng.choice((1, 1, 2, 3))):
        process.send_signal(number)
        time.sleep(rng.uniform(0, 0.3))
    process.wait(timeout=120)


def without_time(out: Path) -> dict[int | None, dict[str, Any]]:
    """Read the trajectories of a run by episode, without what they cost."""
    found = list(read_trajectories(out))
    assert len({one.episode for one in found}) == len(found), "an episode is there twice"
    return {one.episode: one.model_dump(exclude={"usage"}) for one in found}


def wait_for_play(process: "subprocess.Popen[bytes]", file: Path, log: Path) -> None:
    """Wait until the trajectories file grows."""
    size = file.stat().st_size if file.exists() else 0
    while not file.exists() or file.stat().st_size <= size:
        assert process.poll() is None, "the run ended too early: " + log.read_text(errors="replace")[-2000:]
        time.sleep(0.005)


def disturb(
    folder: Path, blows: list[tuple[signal.Signals, bool]], *, longest: float, episodes: int, seed: int = 0
) -> dict[str, int]:
    """Disturb a run, resume it to its end, and compare it with an undisturbed one.

    Args:
        folder: Folder for both runs.
        blows: Signals in the order in which they are sent, each with whether it waits until episodes are played.
        longest: Most seconds that a blow waits, after the start or after the first episode.
        episodes: Episodes of the run.
        seed: Decides the moments.

    Returns:
        How many blows fell into play and how many before it, episodes in the end, and lost and changed episodes.
    """
    rng, out, log = random.Random(seed), folder / "run", folder / "log.txt"
    file, in_play, before = out / "trajectories.jsonl", 0, dict[int | None, dict[str, Any]]()
    for number, waits in blows:
        process = start(out, episodes, log)
        if waits:
            wait_for_play(process, file, log)
        time.sleep(rng.uniform(0.01, longest))
        strike(process, number, rng)
        now = without_time(out) if file.exists() else {}
        assert before.items() <= now.items(), "what was there is not there any more"
        in_play += len(before) < len(now) < episodes
        before = now
    process = start(out, episodes, log)
    assert process.wait(timeout=900) == 0, log.read_text(errors="replace")[-2000:]
    collect(CollectConfig(episodes=episodes, **OPTIONS), folder / "whole")  # type: ignore[arg-type]
    run, whole = without_time(out), without_time(folder / "whole")
    return {
        "in play": in_play,
        "before play": len(blows) - in_play,
        "episodes": len(run),
        "lost": len(whole.keys() - run.keys()),
        "changed": sum(run[episode] != one for episode, one in whole.items() if episode in run),
    }


def main() -> None:
    """Run the measurement and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--interrupts", type=int, default=60)
    parser.add_argument("--early", type=int, default=20, help="further blows that do not wait for play")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds a blow waits")
    parser.add_argument("--episodes", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    blows = [(signal.SIGKILL, True)] * asked.kills + [(signal.SIGINT, True)] * asked.interrupts
    blows += [(rng.choice((signal.SIGKILL, signal.SIGINT)), False) for _ in range(asked.early)]
    rng.shuffle(blows)
    with tempfile.TemporaryDirectory() as folder:
        print(disturb(Path(folder), blows, longest=asked.longest, episodes=asked.episodes, seed=asked.seed))


if __name__ == "__main__":
    main()
