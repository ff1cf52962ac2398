"""Ctrl-C during a collection: what is in flight ends, or is dropped, or the process ends at once."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from step_envs.collection.progress import Progress

_LEAVE_THE_PANEL = b"\r\n\x1b[?25h"
"""Shows the cursor again, below what was drawn."""


class InterruptCounter:
    """Counts Ctrl-C and the termination signal, so that they do not strike in the middle of a write; the third ends all.

    Python delivers signals to the main thread only; in any other thread this counts nothing.

    Args:
        progress: Its ``interrupts`` is counted up at once, so that a display can say what is waited for.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def count(self) -> int:
        """How many signals came."""
        return self._progress.interrupts

    def __enter__(self) -> "InterruptCounter":
        self._progress.interrupts = 0
        self._previous: list[Any] = []
        if threading.current_thread() is threading.main_thread():
            self._previous = [signal.signal(number, self._on_signal) for number in self._SIGNALS]
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in zip(self._SIGNALS, self._previous, strict=False):
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._progress.interrupts += 1
        # Without this, an endpoint that hangs would be waited for, one timeout after the other. To leave here is safe: what
        # is on disk is whole at any moment. But an interactive interpreter is not ours to end.
        if self.count > 2 and not hasattr(sys, "ps1"):
            # Not by sys.stdout, which may be in the middle of a write.
            terminal = next((handle for handle in (1, 2) if os.isatty(handle)), None)
            if terminal is not None:
                os.write(terminal, _LEAVE_THE_PANEL)
            os._exit(128 + number)
