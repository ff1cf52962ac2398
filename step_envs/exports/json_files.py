"""The exports in JSON: ``messages`` (a line a trajectory), ``turns`` (a line a trained turn), ``sharegpt`` (a list)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from step_envs.exports.rows import message_row, sharegpt_row, turn_rows
from step_envs.exports.sources import Row


def write_messages(rows: Iterator[Row], path: Path) -> int:
    """Write a line of JSON for every trajectory with a reply, and return their number."""
    made = (message_row(trajectory, row_id) for row_id, trajectory in rows)
    return _write_lines((row for row in made if row["messages"]), path)


def write_turns(rows: Iterator[Row], path: Path) -> int:
    """Write a line of JSON for every trained turn, and return their number."""
    return _write_lines((row for row_id, trajectory in rows for row in turn_rows(trajectory, row_id)), path)


def _write_lines(rows: Iterable[dict[str, Any]], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
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
