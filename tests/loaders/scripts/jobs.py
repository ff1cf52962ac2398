"""Reads what a script of this folder is to encode, and writes what the loader makes of it.

Each script runs with the packages of its loader: ``python axolotl_rows.py JOBS TOKENIZER OUT``.
JOBS is a JSON file: name of the job -> ``data`` (an export), and ``config`` (the settings of the loader's recipe).
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Encoded = Iterable[tuple[list[int], list[int]]]
"""Input ids and labels of each row; -100 is a token that is not trained."""


def run_jobs(encode: Callable[[str, dict[str, Any], str], Encoded]) -> None:
    """Encode the data of every job.

    Args:
        encode: Called with the path of the data, the settings, and the folder of the tokenizer.
    """
    jobs, tokenizer, out = sys.argv[1:]
    made = {
        name: [
            {"input_ids": list(ids), "labels": list(labels)}
            for ids, labels in encode(job["data"], job["config"], tokenizer)
        ]
        for name, job in json.loads(Path(jobs).read_text()).items()
    }
    Path(out).write_text(json.dumps(made))


def masked(ids: list[int], mask: list[int]) -> list[int]:
    """Return labels for a mask that covers the end of a row."""
    start = len(ids) - len(mask)
    return [-100] * start + [token if on else -100 for token, on in zip(ids[start:], mask, strict=True)]
