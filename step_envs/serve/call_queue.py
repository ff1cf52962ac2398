"""One thread and one short queue for each session, so that a slow call keeps only its own session waiting.

With a pool of threads for all sessions, requests that wait for one slow session take up the pool, and then everybody waits.
Here a request that waits takes no thread: it is an entry in the queue of its session, and one too many is refused. The
threads are daemons, because an engine that hangs must not keep the process alive.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from step_envs.serve.protocol import RefusedError


class CallQueue:
    """Carries out calls one after the other, in the order in which they came.

    Args:
        name: What the calls are for, as the end of a sentence: ``"this session"``.
        room: Most calls that wait while another one is carried out.
    """

    def __init__(self, name: str, room: int) -> None:
        self._name, self._room = name, room
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._unfinished: set[Future[Any]] = set()
        self._at_work = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a call is being carried out or waits."""
        return self._at_work > 0

    def submit(self, call: Callable[[], Any], *, last: bool = False) -> "Future[Any]":
        """Put a call into the queue.

        Args:
            call: What to do.
            last: There is always room for this call, and the thread ends after it.

        Returns:
            Its result, once there is one.

        Raises:
            RefusedError: The queue is full.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._at_work > self._room and not last:
                raise RefusedError(
                    429,
                    "Busy",
                    f"{self._room} requests wait for {self._name} already, the most there may be: "
                    "send one at a time and wait for its answer.",
                    retry_after=1,
                )
            self._at_work += 1
            self._calls.put((future, call))
            if not last:
                self._unfinished.add(future)
            else:
                self._calls.put(None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="step-envs-calls", daemon=True)
                self._thread.start()
        return future

    def give_up(self, error: Exception) -> None:
        """Answer all calls but the last one with an error.

        Those that wait are not carried out, and the result of the one under way is dropped.
        """
        with self._lock:
            for future in self._unfinished:
                if not future.done():
                    future.set_exception(error)
            self._unfinished.clear()

    def stop(self) -> None:
        """End the thread after all calls; no call may follow."""
        self._calls.put(None)

    def _work(self) -> None:
        while (entry := self._calls.get()) is not None:
            future, call = entry
            with self._lock:
                wanted = not future.done() and future.set_running_or_notify_cancel()
            result, fault = None, None
            try:
                result = call() if wanted else None
            except BaseException as error:  # whoever waits for the result has to deal with it
                fault = error
            with self._lock:
                self._at_work -= 1
                self._unfinished.discard(future)
                if wanted and not future.done():
                    future.set_result(result) if fault is None else future.set_exception(fault)
            del entry, future, call, result, fault  # a thread that waits keeps nothing alive
