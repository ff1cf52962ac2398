"""Writes trajectories in formats that training code reads: messages with loss, turns, ShareGPT, Parquet, datasets, Minari.

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
from step_envs.exports.rows import message_row, sharegpt_row, table_row, turn_rows
from step_envs.exports.sources import Keep, Row, Source, StrPath, named
from step_envs.exports.targets import refuse_to_destroy
from step_envs.files import replacing

__all__ = [
    "FORMATS",
    "LOADERS",
    "SCHEMA",
    "Keep",
    "Loader",
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
"""Name of each format -> the function that writes it and returns the number of rows."""


def export(
    source: Source,
    out: StrPath,
    format: str = "messages",
    *,
    overwrite: bool = False,
    keep: Keep | None = None,
) -> int:
    """Write trajectories in another format.

    Args:
        source: Trajectories, or the run folders or files that hold them.
        out: The file to write, or the folder for ``datasets`` and ``minari``; missing parent folders are made.
        format: A name from ``FORMATS``: ``messages`` (JSON Lines), ``turns`` (JSON Lines, one a trained turn), ``sharegpt``
            (a JSON list, as ETO's), ``parquet``, ``datasets`` (a folder for ``datasets.load_from_disk``) or ``minari`` (a
            folder for ``minari.MinariDataset``, of one environment).
        overwrite: Replace what is there.
        keep: Called with each trajectory; True exports it. None exports all.

    Returns:
        Number of rows written: one for every trajectory kept, except that ``messages``, ``sharegpt`` and ``minari`` leave
        out trajectories without any reply; for ``turns``, one for every trained turn.

    Raises:
        UnknownNameError: There is no such format.
        StoreError: The source cannot be read or does not fit the format, or the target exists or cannot be written.
        gymnasium.error.DependencyNotInstalled: ``pyarrow``, ``datasets`` or ``minari`` is missing.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    out = Path(out)
    refuse_to_destroy(source, out, format=format, overwrite=overwrite)
    with replacing(out) as temporary:
        return FORMATS[format](named(source, keep), temporary)
