"""Batches the ``info`` of several environments as Gymnasium does, for values that need not have one type.

Gymnasium makes one array for each key, of the type of the first value that it meets. If another environment has None
there, it raises TypeError; if it has a float where the first had an int, the float is rounded without a word; and a key
that begins with an underscore is taken for a mask. Values of one type give the same arrays here. All others give arrays of
objects.
"""

from typing import Any

import numpy as np

_NUMBERS: dict[type, type] = {bool: np.bool_, int: np.int64, float: np.float64}
"""Types of plain values that have an array type of their own."""


def add_info(batched: dict[str, Any], info: dict[str, Any], place: int, count: int) -> dict[str, Any]:
    """Put the info of one environment into the batch.

    Args:
        batched: The batch so far: key -> array of shape (count,) or batched dict, and ``_key`` -> mask of shape (count,).
        info: The info of one environment.
        place: Number of that environment.
        count: Number of environments.

    Returns:
        ``batched``.
    """
    for key, value in info.items():
        mask = batched.get(f"_{key}")
        mask = np.zeros(count, dtype=np.bool_) if mask is None else mask
        column = batched.get(key)
        if _is_table(value) and (column is None or isinstance(column, dict)):
            batched[key] = add_info(column or {}, value, place, count)
        else:
            batched[key] = _put(_as_array(column, mask, value, count, objects=key == "final_obs"), mask, value, place)
        mask[place] = True
        batched[f"_{key}"] = mask
    return batched


def _is_table(value: object) -> bool:
    """Return True for a dict that becomes a dict of arrays: no key of it can be taken for a mask."""
    return isinstance(value, dict) and not any(str(key).startswith("_") for key in value)


def _as_array(column: Any, mask: Any, value: Any, count: int, *, objects: bool) -> Any:
    """Return the column as an array; make it where there is none yet."""
    if isinstance(column, dict):
        rows = np.full(count, None, dtype=object)
        for i in np.flatnonzero(mask):
            rows[i] = _row(column, int(i))
        return rows
    if column is not None:
        return column
    if isinstance(value, np.ndarray) and not objects:
        return np.zeros((count, *value.shape), dtype=value.dtype)
    kind = _NUMBERS.get(type(value), type(value) if isinstance(value, np.number) else object)
    return np.full(count, None, dtype=object) if kind is object or objects else np.zeros(count, dtype=kind)


def _row(table: dict[str, Any], place: int) -> dict[str, Any]:
    """Read the dict of one environment back from a dict of arrays."""
    row = {}
    for key, column in table.items():
        mask = table.get(f"_{key}")
        if mask is not None and mask[place]:
            row[key] = _row(column, place) if isinstance(column, dict) else _plain(column[place])
    return row


def _put(column: Any, mask: Any, value: Any, place: int) -> Any:
    """Write a value into a column, which becomes one of objects if the value is of another type."""
    if column.dtype != object and not _fits(column, value):
        rows = np.full(len(column), None, dtype=object)
        for i in np.flatnonzero(mask):
            rows[i] = _plain(column[i])
        column = rows
    column[place] = value
    return column


def _fits(column: Any, value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype == column.dtype and value.shape == column.shape[1:])
    if column.ndim != 1 or not (type(value) in _NUMBERS or isinstance(value, np.number)):
        return False
    if type(value) is int and not -(2**63) <= value < 2**63:
        return False
    return bool(np.dtype(_NUMBERS.get(type(value), type(value))) == column.dtype)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
