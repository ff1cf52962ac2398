"""A look at another state of a world, which is left as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from step_envs.core import TextEnv


@contextmanager
def world_at(world: TextEnv, snapshot: bytes) -> Iterator[None]:
    """Take a world to the state of a snapshot, and back to where it was at the end, whatever happens in between.

    Args:
        world: The world, with a running episode.
        snapshot: A snapshot of the same environment.
    """
    now = world.snapshot()
    try:
        world.restore(snapshot)
        yield
    finally:
        world.restore(now)
