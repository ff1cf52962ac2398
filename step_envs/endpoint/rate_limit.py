"""How fast an endpoint is asked: the user's rate limit, and the server's own word when it is asked too fast.

All requests to one endpoint pass here, those that are sent again included. A server that says "too many" is left alone by
everybody for as long as it says, and is then asked less often until it has answered for a while: many episodes in flight
must not become many that hammer at the door.
"""

import threading
import time
from collections.abc import Callable

_FIRST_GAP = 0.02
_LONGEST_GAP = 1.0
_RECOVERY = 0.9
_LONGEST_PAUSE = 120.0


class RateLimit:
    """Spaces the requests to one endpoint.

    Args:
        per_minute: Most requests in a minute; None means no limit.
        clock: Seconds that only grow.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        per_minute: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if per_minute is not None and per_minute <= 0:
            raise ValueError(f"Requests per minute must be more than 0, got {per_minute}.")
        self._set_gap = 60.0 / per_minute if per_minute else 0.0
        self._gap = 0.0
        self._next = 0.0
        self._paused_until = 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()

    def take(self) -> float:
        """Wait for a turn to send a request; give the seconds waited."""
        waited = 0.0
        while True:
            with self._lock:
                now = self._clock()
                wait = self._paused_until - now
                if wait <= 0:
                    slot = max(now, self._next)
                    self._next = slot + max(self._gap, self._set_gap)
                    wait, taken = slot - now, True
                else:
                    taken = False
            if wait > 0:
                self._sleep(wait)
                waited += wait
            # A pause may have been called while this one waited for its slot.
            if taken and self._paused_until <= self._clock():
                return waited

    def refused(self, retry_after: float | None) -> None:
        """Note that the server was asked too often.

        Args:
            retry_after: Seconds it wants to be left alone; None where it did not say.
        """
        with self._lock:
            now = self._clock()
            if now >= self._paused_until:
                # Once a pause, not once for each of the requests that met it.
                self._gap = min(max(self._gap * 2, _FIRST_GAP), _LONGEST_GAP)
            pause = min(1.0 if retry_after is None else retry_after, _LONGEST_PAUSE)
            self._paused_until = max(self._paused_until, now + pause)
            self._next = max(self._next, self._paused_until)

    def answered(self) -> None:
        """Note that the server answered."""
        if self._gap:
            with self._lock:
                self._gap = self._gap * _RECOVERY if self._gap > _FIRST_GAP / 20 else 0.0
