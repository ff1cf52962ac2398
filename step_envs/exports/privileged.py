"""The exports of prompts with privileged context, as JSON Lines and as a table: the columns of TRL's SDFTTrainer."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from step_envs.errors import missing_package
from step_envs.exports.preferences import Say
from step_envs.exports.sources import Row

if TYPE_CHECKING:
    from step_envs.training.distillation.privileged_context import PrivilegedRow


def write_privileged(rows: Iterator[Row], path: Path, say: Say) -> int:
    """Write a line of JSON for every reply that a teacher judged wrong; the episodes are played again.

    Returns:
        Number of lines.
    """
    made = _make(rows, say)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in made:
            file.write(row.model_dump_json() + "\n")
    return len(made)


def write_privileged_parquet(rows: Iterator[Row], path: Path, say: Say) -> int:
    """Write the same rows as one Parquet file.

    Returns:
        Number of rows.

    Raises:
        gymnasium.error.DependencyNotInstalled: ``pyarrow`` is missing.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import write_table
    except ImportError as error:
        raise missing_package("pyarrow", "Export to Parquet", "data") from error
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    # Named, because a column in which every episode is None would have no type.
    types = {
        "prompt": pa.list_(message),
        **dict.fromkeys(("privileged_context", "env_id", "task_id"), pa.string()),
        **dict.fromkeys(("episode", "turn"), pa.int64()),
        **dict.fromkeys(("status", "action", "source"), pa.string()),
    }
    made = _make(rows, say)
    write_table(pa.Table.from_pylist([row.model_dump() for row in made], schema=pa.schema(types)), path)
    return len(made)


def _make(rows: Iterator[Row], say: Say) -> "list[PrivilegedRow]":
    from step_envs.training.distillation.privileged_context import privileged_rows

    made, report = privileged_rows(trajectory for _, trajectory in rows)
    for sentence in report.lines():
        say(sentence)
    return made
