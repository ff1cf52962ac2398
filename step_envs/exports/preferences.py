"""The exports of preference pairs: one JSON line a pair, in TRL's conversational format with a weight for every message."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from step_envs.exports.sources import Row

if TYPE_CHECKING:
    from step_envs.training.preferences.pair_data import PairReport, PreferencePair

Say = Callable[[str], object]
"""Called with each sentence about what was left out."""


def write_trajectory_pairs(rows: Iterator[Row], path: Path, say: Say) -> int:
    """Write a line of JSON for every pair of whole episodes, and return their number."""
    from step_envs.training.preferences.pairs import trajectory_pairs

    return _write(trajectory_pairs(trajectory for _, trajectory in rows), path, say)


def write_step_pairs(rows: Iterator[Row], path: Path, say: Say) -> int:
    """Write a line of JSON for every pair of single replies, and return their number; the episodes are played again."""
    from step_envs.training.preferences.pairs import step_pairs

    return _write(step_pairs(trajectory for _, trajectory in rows), path, say)


def _write(made: "tuple[Iterable[PreferencePair], PairReport]", path: Path, say: Say) -> int:
    from step_envs.training.preferences.pair_data import write_pairs

    pairs, report = made
    write_pairs(pairs, path)
    for sentence in report.lines():
        say(sentence)
    return report.pairs
