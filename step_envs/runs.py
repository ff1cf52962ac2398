"""Name several runs so that a reader can tell them apart."""

from collections.abc import Sequence
from pathlib import Path


def run_names(runs: Sequence[Path]) -> list[str]:
    """Name runs by their last folder, or by as many folders as make the names different.

    Raises:
        ValueError: The same run is named twice.
    """
    resolved = [run.resolve() for run in runs]
    for number, run in enumerate(resolved):
        if run in resolved[:number]:
            raise ValueError(f"{runs[number]} is named twice: name each run once.")
    parts = [(run.parent if run.name == "trajectories.jsonl" else run).parts for run in resolved]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run) for run in runs]
