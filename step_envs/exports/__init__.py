"""Writes trajectories in the formats that training code reads: messages with loss, ShareGPT, Parquet, datasets, Minari.

Every row of a format has the same keys, nested ones included, with None where there is no value, because Parquet and
``datasets`` would otherwise fill in missing keys by themselves. A store is read one trajectory at a time, so that it may be
larger than memory. The export replaces its target in one step or not at all. The same trajectories give the same bytes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from step_envs.errors import unknown_name
from step_envs.exports.arrow import SCHEMA, to_dataset, write_dataset, write_parquet
from step_envs.exports.json_files import write_messages, write_sharegpt
from step_envs.exports.minari import write_minari
from step_envs.exports.rows import message_row, sharegpt_row, table_row
from step_envs.exports.sources import Keep, Row, Source, StrPath, named
from step_envs.exports.targets import refuse_to_destroy
from step_envs.files import replacing

__all__ = [
    "FORMATS",
    "SCHEMA",
    "Keep",
    "Source",
    "StrPath",
    "export",
    "message_row",
    "sharegpt_row",
    "table_row",
    "to_dataset",
]

FORMATS: dict[str, Callable[[Iterator[Row], Path], int]] = {
    "messages": write_messages,
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
        format: A name from ``FORMATS``: ``messages`` (JSON Lines), ``sharegpt`` (a JSON list, as ETO's), ``parquet``,
            ``datasets`` (a folder for ``datasets.load_from_disk``) or ``minari`` (a folder for ``minari.MinariDataset``,
            of one environment).
        overwrite: Replace what is there.
        keep: Called with each trajectory; True exports it. None exports all.

    Returns:
        Number of rows written: one for every trajectory kept, except that ``sharegpt`` and ``minari`` leave out
        trajectories without any reply.

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
