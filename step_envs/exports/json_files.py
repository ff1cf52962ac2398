"""The exports that are JSON: ``messages`` (a line a trajectory) and ``sharegpt`` (one list)."""

import json
from collections.abc import Iterator
from pathlib import Path

from step_envs.exports.rows import message_row, sharegpt_row
from step_envs.exports.sources import Row


def write_messages(rows: Iterator[Row], path: Path) -> int:
    """Write JSON Lines and return their number."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row_id, trajectory in rows:
            file.write(json.dumps(message_row(trajectory, row_id), ensure_ascii=False) + "\n")
            count += 1
    return count


def write_sharegpt(rows: Iterator[Row], path: Path) -> int:
    """Write a JSON list and return its length."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for row_id, trajectory in rows:
            row = sharegpt_row(trajectory, row_id)
            if row is not None:
                file.write((",\n" if count else "\n") + json.dumps(row, ensure_ascii=False))
                count += 1
        file.write("\n]\n")
    return count
