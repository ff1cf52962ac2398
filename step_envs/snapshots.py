"""The frame of a snapshot: whose it is, and the fields in it. What a world puts into it is the world's own."""

import json
from typing import Any

from step_envs.errors import SnapshotError

SNAPSHOT_SCHEMA = "step-snapshot/1"


def read_snapshot(snapshot: bytes, env_id: str) -> dict[str, Any]:
    """Open a snapshot and check whose it is.

    Args:
        snapshot: What ``TextEnv.snapshot()`` gave.
        env_id: The environment that wants to read it.

    Returns:
        The fields: ``task_id``, ``steps``, ``state`` (as ``WorldState``), ``world`` (as the world's ``_save`` gave it).

    Raises:
        SnapshotError: The bytes are not a snapshot, or one of another environment.
    """
    try:
        saved = json.loads(snapshot)
    except (TypeError, ValueError, RecursionError) as error:
        raise SnapshotError(f"These bytes are not a snapshot: {error}.") from error
    if not isinstance(saved, dict) or saved.get("schema") != SNAPSHOT_SCHEMA:
        raise SnapshotError(f'These bytes are not a snapshot: no "schema": "{SNAPSHOT_SCHEMA}" in them.')
    if saved.get("env_id") != env_id:
        raise SnapshotError(f"This is a snapshot of {saved.get('env_id')!r}; it cannot be restored in {env_id!r}.")
    return saved
