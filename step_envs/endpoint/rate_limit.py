"""How fast an endpoint is asked: the user's own limit, and the server's word when it is asked too fast.

Every attempt at every request to an endpoint waits here. When a server says "too many requests", all episodes leave it
alone for as long as it says, and then ask less often until it has answered for a while. Without that, each of many
episodes in flight would wait and try again by itself, and all of them would come back at once.
"""

import threading
import time
from collections.abc import Callable

_FIRST_GAP = 0.02
_LONGEST_GAP = 1.0
_RECOVERY = 0.9
_LONGEST_PAUSE = 120.0


class RateLimit:
    """Spaces the requests to one endpoint, for any number of threads.

    Args:
        per_minute: Most requests in a minute; None means no limit.
        clock: Returns seconds that only grow.
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
        self._user_gap = 60.0 / per_minute if per_minute else 0.0
        self._gap = 0.0
        self._next = 0.0
        self._paused_until = 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Wait until a request may be sent, and return the seconds waited."""
        waited = 0.0
        while True:
            with self._lock:
                now = self._clock()
                wait = self._paused_until - now
                taken = wait <= 0
                if taken:
                    slot = max(now, self._next)
                    self._next = slot + max(self._gap, self._user_gap)
                    wait = slot - now
            if wait > 0:
                self._sleep(wait)
                waited += wait
            # The server may have asked for a pause while this request waited for its slot.
            if taken and self._paused_until <= self._clock():
                return waited

    def note_refusal(self, retry_after: float | None) -> None:
        """Note that the server was asked too often.

        Args:
            retry_after: Seconds for which it wants to be left alone; None where it did not say.
        """
        with self._lock:
            now = self._clock()
            if now >= self._paused_until:
                # Once for each pause, not once for each of the requests that met it.
                self._gap = min(max(self._gap * 2, _FIRST_GAP), _LONGEST_GAP)
            pause = min(1.0 if retry_after is None else retry_after, _LONGEST_PAUSE)
            self._paused_until = max(self._paused_until, now + pause)
            self._next = max(self._next, self._paused_until)

    def note_answer(self) -> None:
        """Note that the server answered."""
        if self._gap:
            with self._lock:
                self._gap = self._gap * _RECOVERY if self._gap > _FIRST_GAP / 20 else 0.0
