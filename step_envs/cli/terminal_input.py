"""Reads single keys from a terminal, also over a slow connection, and leaves the terminal as it was found."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SEQUENCES = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "[H": "home", "[F": "end", "[1~": "home", "[4~": "end",
    "[7~": "home", "[8~": "end", "[5~": "pageup", "[6~": "pagedown", "OA": "up", "OB": "down", "OC": "right",
    "OD": "left", "OH": "home", "OF": "end", "[Z": "backtab",
}  # fmt: skip
"""What terminals send after an escape character, and our name of the key."""
_NAMES = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\t": "tab",
    "\x04": "pagedown",
    "\x15": "pageup",
}
_REST_OF_A_KEY = 0.05
"""Seconds within which the rest of a key arrives; an escape character that stands alone is the key Esc."""


class KeyReader:
    """Reads keys from a terminal that has been set to give them one by one.

    Args:
        handle: File descriptor of the terminal.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._waiting = ""

    def key(self, seconds: float) -> str | None:
        """Wait for a key.

        Args:
            seconds: How long.

        Returns:
            A character, or a name such as ``up``; None where none was pressed.

        Raises:
            EOFError: The terminal is gone.
        """
        if not self._waiting and not self._receive(seconds):
            return None
        character, self._waiting = self._waiting[0], self._waiting[1:]
        return self._escaped() if character == "\x1b" else _NAMES.get(character, character)

    def _escaped(self) -> str:
        while True:
            for sequence, name in _SEQUENCES.items():
                if self._waiting.startswith(sequence):
                    self._waiting = self._waiting[len(sequence) :]
                    return name
            begun = not self._waiting or any(one.startswith(self._waiting) for one in _SEQUENCES)
            if not begun or not self._receive(_REST_OF_A_KEY):
                break
        if self._waiting.startswith("["):
            # A key that is not known: skip it whole, so that its letters are not taken for keys.
            end = next((at for at, one in enumerate(self._waiting[1:], 1) if "@" <= one <= "~"), len(self._waiting))
            self._waiting = self._waiting[end + 1 :]
            return "unknown"
        return "escape"

    def _receive(self, seconds: float) -> bool:
        if not select.select([self._handle], [], [], seconds)[0]:
            return False
        data = os.read(self._handle, 1024)
        if not data:
            raise EOFError("the terminal is gone")
        self._waiting += data.decode("utf-8", "replace")
        return True


@contextmanager
def single_keys() -> Iterator[KeyReader]:
    """Have the terminal of standard input give its keys one by one, and set it back at the end, whatever ends it."""
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    terminated = signal.signal(signal.SIGTERM, end)
    try:
        tty.setcbreak(handle)
        settings: list[Any] = termios.tcgetattr(handle)
        # Stopped by Ctrl-Z, it would leave the terminal without echo and with another screen.
        settings[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(handle, termios.TCSANOW, settings)
        yield KeyReader(handle)
    finally:
        termios.tcsetattr(handle, termios.TCSAFLUSH, before)
        signal.signal(signal.SIGTERM, terminated)
