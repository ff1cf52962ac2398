"""Lanes of the fast backend: which simulators share a copy of the engine, and whose turn it is.

A lane is a copy of the engine's classes in the Java process (``src/stepenvs/lanes/Lane.java``). One for each simulator
would be loaded and compiled anew each time; a single one would leave all but one processor idle. So there are at most as
many as processors, and each serves many simulators, one call at a time.

Lanes are numbers here. A Java process that is started in the place of a dead one makes lanes of the same numbers, so a
simulator keeps its number, and its turn, for its whole life.

Whoever waits for a turn waits in Python and not in Java: waiting does not count as an engine call that takes too long.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_MOST_LANES = 8  # a lane takes 15 to 25 MiB of Java's memory
_SIMULATORS_BEFORE_NEXT_LANE = 2  # an environment and its oracle seldom work at the same time


class Lanes:
    """Numbers of lanes, and a lock for each.

    Args:
        processors: How many processors there are to run lanes at the same time.
    """

    def __init__(self, processors: int) -> None:
        self._count = min(processors, _MOST_LANES)
        self._gold_count = max(1, self._count // 2)
        self._users = [0]
        self._make_locks()

    def _make_locks(self) -> None:
        # A simulator may be garbage-collected, and leave, in the middle of another one's call of ``join``.
        self._lock = threading.RLock()
        self._turns = [threading.RLock() for _ in range(self._count)]
        # The lane given back last is given first: its code is compiled.
        self._gold_lanes: queue.LifoQueue[int] = queue.LifoQueue()
        for number in reversed(range(self._count, self._count + self._gold_count)):
            self._gold_lanes.put(number)

    def join(self) -> int:
        """Return the number of the lane that a new simulator should use."""
        with self._lock:
            users = min(self._users)
            if users >= _SIMULATORS_BEFORE_NEXT_LANE and len(self._users) < self._count:
                self._users.append(0)
                users = 0
            lane = self._users.index(users)
            self._users[lane] += 1
            return lane

    def leave(self, lane: int) -> None:
        """Record that a simulator uses its lane no more."""
        with self._lock:
            self._users[lane] -= 1

    def turn(self, lane: int) -> AbstractContextManager[bool]:
        """Return the lock to hold during a call into a lane."""
        return self._turns[lane]

    @contextmanager
    def gold_turn(self) -> Iterator[int]:
        """Hold one of the lanes for gold paths, which no simulator plays in.

        A gold path takes seconds; in a lane with simulators, all of them would wait.

        Yields:
            The number of the lane.
        """
        lane = self._gold_lanes.get()
        try:
            yield lane
        finally:
            self._gold_lanes.put(lane)

    def after_fork(self) -> None:
        """Replace locks that nobody would ever release in a forked child."""
        self._make_locks()
