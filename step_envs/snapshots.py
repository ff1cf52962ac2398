"""Snapshots: the frame that all worlds share, written and checked in one place.

A snapshot is UTF-8 JSON: the environment and task it belongs to, the number of steps taken, the ``WorldState``, and a part
of the world's own. ``TextEnv.restore`` and every oracle get a ``Snapshot`` whose shared fields have been checked, so that
garbled bytes raise the same error everywhere.

Bytes can be kept and sent. But a teacher looks back and ahead at every step, and writing and reading JSON can take longer
than the step itself. So within a process there is the ``RestorePoint``, which becomes bytes only when somebody asks.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NamedTuple

from step_envs.errors import DataError, SnapshotError
from step_envs.file_reading import check_json
from step_envs.world_state import WorldState, read_world_state

SNAPSHOT_SCHEMA = "step-snapshot/1"


class Snapshot(NamedTuple):
    """An opened snapshot.

    Attributes:
        task_id: The task that was played.
        steps: Actions that had been carried out.
        state: What the world had answered last.
        world: The world's own part, as its ``_save`` gave it and JSON kept it, not checked yet; in a restore point what
            its ``_remember`` gave.
    """

    task_id: str
    steps: int
    state: WorldState
    world: Any


class RestorePoint:
    """A state of one environment in this process, to go back to or to plan from.

    ``bytes(point)`` is the snapshot of the same moment; it is written when it is asked for.

    Args:
        env: The environment that made it, and the only one that can go back to it without the bytes.
        env_id: The id of that environment.
        snapshot: The state.
    """

    __slots__ = ("_bytes", "_env", "_env_id", "snapshot")

    def __init__(self, env: object, env_id: str, snapshot: Snapshot) -> None:
        self._env, self._env_id = env, env_id
        self.snapshot = snapshot
        self._bytes: bytes | None = None

    def made_by(self, env: object) -> bool:
        """Return True if this very environment made the point: another one may play another game under the same id."""
        return self._env is env

    def __bytes__(self) -> bytes:
        if self._bytes is None:
            world = self.snapshot.world
            saved = world.save() if hasattr(world, "save") else world
            self._bytes = write_snapshot(self.snapshot._replace(world=saved), self._env_id)
        return self._bytes


def write_snapshot(snapshot: Snapshot, env_id: str) -> bytes:
    """Write a snapshot of the environment ``env_id`` as UTF-8 JSON."""
    return json.dumps(
        {
            "schema": SNAPSHOT_SCHEMA,
            "env_id": env_id,
            "task_id": snapshot.task_id,
            "steps": snapshot.steps,
            "state": asdict(snapshot.state),
            "world": snapshot.world,
        },
        separators=(",", ":"),
    ).encode()


def read_snapshot(snapshot: bytes, env_id: str) -> Snapshot:
    """Open a snapshot and check everything in it that is not the world's own.

    Args:
        snapshot: What ``TextEnv.snapshot()`` gave.
        env_id: The environment that reads it.

    Raises:
        SnapshotError: The bytes are not a snapshot, or one of another environment, or a field is missing or wrong.
    """
    if not isinstance(snapshot, bytes | bytearray | str):
        raise SnapshotError(f"These bytes are not a snapshot: a snapshot is bytes, got {type(snapshot).__name__}.")
    try:
        check_json(
            bytes(str(snapshot), "utf-8", "surrogatepass") if not isinstance(snapshot, bytes | bytearray) else snapshot
        )
        saved = json.loads(snapshot)
    except (TypeError, ValueError, RecursionError) as error:
        raise SnapshotError(f"These bytes are not a snapshot: {error}.") from error
    if not isinstance(saved, dict) or saved.get("schema") != SNAPSHOT_SCHEMA:
        raise SnapshotError(f'These bytes are not a snapshot: no "schema": "{SNAPSHOT_SCHEMA}" in them.')
    if saved.get("env_id") != env_id:
        raise SnapshotError(f"This is a snapshot of {saved.get('env_id')!r}; it cannot be restored in {env_id!r}.")
    with snapshot_faults():
        task_id, steps, state = saved["task_id"], saved["steps"], read_world_state(saved["state"])
        if type(task_id) is not str:
            raise ValueError(f"task_id is {task_id!r}")
        if type(steps) is not int or steps < 0:
            raise ValueError(f"steps is {steps!r}")
        return Snapshot(task_id, steps, state, saved["world"])


@contextmanager
def snapshot_faults() -> Iterator[None]:
    """Turn whatever goes wrong while the fields of a snapshot are read into a ``SnapshotError``.

    Garbled fields fail in as many ways as there are types. Only reading belongs into this block: a fault of a planner or an
    engine must not be taken for a fault of the bytes.

    Raises:
        SnapshotError: Something within raised an error that wrong data raises.
    """
    try:
        yield
    except SnapshotError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, DataError) as error:
        raise SnapshotError(f"The snapshot lacks or garbles a field ({str(error).rstrip('.')}).") from error
