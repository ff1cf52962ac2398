"""Writes trajectories in formats that training code reads: messages with loss, turns, ShareGPT, pairs, tables, and others.

Every row of a format has the same keys, nested ones included, with None where there is no value, because Parquet and
``datasets`` would otherwise fill in missing keys by themselves. A store is read one trajectory at a time, so that it may be
larger than memory. The export replaces its target in one step or not at all. The same trajectories give the same bytes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from step_envs.errors import unknown_name
from step_envs.exports.arrow import SCHEMA, to_dataset, write_dataset, write_parquet
from step_envs.exports.json_files import write_messages, write_sharegpt, write_turns
from step_envs.exports.loaders import LOADERS, Loader, UntrainedReplies
from step_envs.exports.minari import write_minari
from step_envs.exports.preferences import Say, write_step_pairs, write_trajectory_pairs
from step_envs.exports.privileged import write_privileged, write_privileged_parquet
from step_envs.exports.rows import message_row, sharegpt_row, table_row, turn_rows
from step_envs.exports.sources import Keep, Row, Source, StrPath, named
from step_envs.exports.targets import refuse_to_destroy
from step_envs.files import replacing

__all__ = [
    "FORMATS",
    "LOADERS",
    "PAIR_FORMATS",
    "PRIVILEGED_FORMATS",
    "SCHEMA",
    "Keep",
    "Loader",
    "Say",
    "Source",
    "StrPath",
    "UntrainedReplies",
    "export",
    "message_row",
    "sharegpt_row",
    "table_row",
    "to_dataset",
    "turn_rows",
]

FORMATS: dict[str, Callable[[Iterator[Row], Path], int]] = {
    "messages": write_messages,
    "turns": write_turns,
    "sharegpt": write_sharegpt,
    "parquet": write_parquet,
    "datasets": write_dataset,
    "minari": write_minari,
}
"""Name of each format of trajectories -> the function that writes it and returns the number of rows."""

PAIR_FORMATS: dict[str, Callable[[Iterator[Row], Path, Say], int]] = {
    "pairs": write_trajectory_pairs,
    "step-pairs": write_step_pairs,
}
"""Name of each format of preference pairs -> the function that writes it and returns the number of pairs."""

PRIVILEGED_FORMATS: dict[str, Callable[[Iterator[Row], Path, Say], int]] = {
    "privileged": write_privileged,
    "privileged-parquet": write_privileged_parquet,
}
"""Name of each format of prompts with privileged context -> the function that writes it and returns their number."""


def export(
    source: Source,
    out: StrPath,
    format: str = "messages",
    *,
    overwrite: bool = False,
    keep: Keep | None = None,
    say: Say = lambda sentence: None,
) -> int:
    """Write trajectories in another format.

    Args:
        source: Trajectories, or the run folders or files that hold them.
        out: The file to write, or the folder for ``datasets`` and ``minari``; missing parent folders are made.
        format: A name from ``FORMATS``: ``messages`` (JSON Lines), ``turns`` (JSON Lines, one a trained turn), ``sharegpt``
            (a JSON list, as ETO's), ``parquet``, ``datasets`` (a folder for ``datasets.load_from_disk``) or ``minari`` (a
            folder for ``minari.MinariDataset``, of one environment). Or one from ``PAIR_FORMATS``: ``pairs`` (JSON Lines,
            whole episodes of one task, see ``training.trajectory_pairs``) or ``step-pairs`` (single replies from the same
            state, see ``training.step_pairs``; the episodes are played again). Or one from ``PRIVILEGED_FORMATS``:
            ``privileged`` (JSON Lines, prompts with a teacher's verdict beside them, see ``training.privileged_rows``; the
            episodes are played again) or ``privileged-parquet`` (the same as a table).
        overwrite: Replace what is there.
        keep: Called with each trajectory; True exports it. None exports all.
        say: Called with sentences about what was left out; only pairs and prompts have any.

    Returns:
        Number of rows written: one for every trajectory kept, except that ``messages``, ``sharegpt`` and ``minari`` leave
        out trajectories without any reply; for ``turns``, one for every trained turn; for pairs, one for every pair; for
        prompts, one for every reply judged wrong.

    Raises:
        UnknownNameError: There is no such format.
        StoreError: The source cannot be read or does not fit the format, or the target exists or cannot be written.
        gymnasium.error.DependencyNotInstalled: ``pyarrow``, ``datasets`` or ``minari`` is missing.
    """
    reporting = PAIR_FORMATS | PRIVILEGED_FORMATS
    if format not in FORMATS and format not in reporting:
        raise unknown_name("format", format, [*FORMATS, *reporting])
    out = Path(out)
    refuse_to_destroy(source, out, format=format, overwrite=overwrite)
    with replacing(out) as temporary:
        if format in reporting:
            return reporting[format](named(source, keep), temporary, say)
        return FORMATS[format](named(source, keep), temporary)
