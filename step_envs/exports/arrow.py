"""The exports that are tables: Parquet, and ``datasets``, which keeps Arrow files."""

import hashlib
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from step_envs.errors import StoreError, missing_package
from step_envs.exports.rows import table_row
from step_envs.exports.sources import Keep, Row, Source, digested, named

SCHEMA = "step-export/1"
_BATCH = 256  # trajectories held at once, and the size of a row group


def to_dataset(source: Source, *, keep: Keep | None = None) -> Any:
    """Make a ``datasets.Dataset``, held in memory in Arrow's compact form.

    Args:
        source: Trajectories, or the run folders or files that hold them.
        keep: Says of each trajectory whether to take it; None keeps all.

    Returns:
        A ``datasets.Dataset`` with a row for every trajectory kept: the columns of ``table_row``.

    Raises:
        StoreError: The source cannot be read.
        gymnasium.error.DependencyNotInstalled: ``datasets`` is missing.
    """
    datasets, pyarrow = _import_datasets(), _import_pyarrow()
    digest = hashlib.sha256()
    schema = _schema(pyarrow)
    batches = list(_record_batches(digested(named(source, keep), digest), pyarrow, schema))
    table = pyarrow.Table.from_batches(batches, schema)
    return datasets.Dataset(table, fingerprint=digest.hexdigest()[:16])


def write_parquet(rows: Iterator[Row], path: Path) -> int:
    """Write one Parquet file and return the number of its rows."""
    pyarrow = _import_pyarrow()
    from pyarrow.parquet import ParquetWriter

    schema = _schema(pyarrow)
    count = 0
    with ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _record_batches(rows, pyarrow, schema):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def write_dataset(rows: Iterator[Row], path: Path) -> int:
    """Write a folder for ``datasets.load_from_disk`` and return the number of its rows."""
    datasets, pyarrow = _import_datasets("Export to datasets"), _import_pyarrow()
    from datasets.table import MemoryMappedTable
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    # In a folder of its own, because datasets refuses to save beside the file it reads.
    rough = path / "rough" / "rows.arrow"
    rough.parent.mkdir(parents=True)
    schema = _schema(pyarrow)
    digest = hashlib.sha256()
    count = 0
    with pyarrow.OSFile(str(rough), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for batch in _record_batches(digested(rows, digest), pyarrow, schema):
            writer.write_batch(batch)
            count += batch.num_rows
    # Without a fingerprint, datasets makes one from the time the file was written, and the same data would differ.
    dataset = datasets.Dataset(MemoryMappedTable.from_file(str(rough)), fingerprint=digest.hexdigest()[:16])
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        # An empty dataset is saved as no shard at all unless one is asked for, and then cannot be loaded.
        dataset.save_to_disk(str(path), num_shards=None if count else 1)
    finally:
        if shown:
            enable_progress_bar()
    shutil.rmtree(rough.parent)
    return count


def _record_batches(rows: Iterator[Row], pyarrow: Any, schema: Any) -> Iterator[Any]:
    while chunk := [table_row(trajectory, row_id) for row_id, trajectory in islice(rows, _BATCH)]:
        try:
            batch = pyarrow.RecordBatch.from_pylist(chunk, schema=schema)
        except OverflowError as error:
            names = f"{chunk[0]['id']!r} to {chunk[-1]['id']!r}"
            raise StoreError(
                f"A whole number in the trajectories {names}, such as a seed, does not fit into the 64 bits of parquet and "
                "datasets: export to messages or sharegpt."
            ) from error
        yield batch


def _schema(pa: Any) -> Any:
    """Return the column types of ``table_row``; inferred from the first rows, a column of Nones would have no type."""
    usage = pa.struct(
        [
            ("prompt_tokens", pa.int64()),
            ("completion_tokens", pa.int64()),
            ("requests", pa.int64()),
            ("cached", pa.int64()),
            ("seconds", pa.float64()),
            ("cost", pa.float64()),
        ]
    )
    verdict = pa.struct(
        [
            *(
                (name, pa.string())
                for name in ("status", "error", "reason", "reflection", "corrected_action", "category")
            ),
            ("undo", pa.bool_()),
            ("usage", usage),
        ]
    )
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("loss", pa.float64())])
    turn = pa.struct(
        [
            ("kind", pa.string()),
            ("action", pa.string()),
            ("reward", pa.float64()),
            ("score", pa.float64()),
            ("valid_action", pa.bool_()),
            ("verdict", verdict),
            ("usage", usage),
            ("shortened", pa.int64()),
            ("value", pa.float64()),
            ("logprobs", pa.list_(pa.struct([("token", pa.string()), ("logprob", pa.float64())]))),
        ]
    )
    types = {
        **dict.fromkeys(("id", "env_id", "task_id", "task_type", "split"), pa.string()),
        **dict.fromkeys(("seed", "episode"), pa.int64()),
        **dict.fromkeys(("instruction", "agent", "teacher"), pa.string()),
        "score": pa.float64(),
        "success": pa.bool_(),
        "reward": pa.float64(),
        "steps": pa.int64(),
        "stop_reason": pa.string(),
        **dict.fromkeys(("errors", "unknown_verdicts"), pa.int64()),
        "messages": pa.list_(message),
        **dict.fromkeys(("terminated", "truncated"), pa.bool_()),
        "turns": pa.list_(turn),
        "usage": usage,
        **dict.fromkeys(("protocol", "versions", "agent_config", "teacher_config", "value_config"), pa.string()),
    }
    return pa.schema(list(types.items()), metadata={"step_envs": SCHEMA})


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise missing_package("pyarrow", "Export to Parquet or datasets", "data") from error
    return pyarrow


def _import_datasets(purpose: str = "to_dataset") -> Any:
    try:
        import datasets
    except ImportError as error:
        raise missing_package("datasets", purpose, "data") from error
    return datasets
