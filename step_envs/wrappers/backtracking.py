"""A look at another state of a world, which is left as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from step_envs.core import TextEnv
from step_envs.snapshots import RestorePoint


@contextmanager
def world_at(world: TextEnv, snapshot: bytes | RestorePoint) -> Iterator[None]:
    """Take a world to the state of a snapshot, and back to where it was at the end, whatever happens in between.

    Args:
        world: The world, with a running episode.
        snapshot: A snapshot or restore point of the same environment.
    """
    now = world.restore_point()
    try:
        world.restore(snapshot)
        yield
    finally:
        world.restore(now)
