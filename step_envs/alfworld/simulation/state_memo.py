"""Answers about one state of a household, kept until the state changes.

Agent, teacher and oracle ask about the same few states over and over: what the plan is, whether the goal holds, which
commands are possible. Several copies of an engine can be in the same state (the episode, the state before a step, an
imagined step), and each would compute the same plan again. So the answers are kept beside the state, in an object that all
copies in this state share. The rules are deterministic: the same command in the same state leads to the same state,
so that an imagined step and the real one share their answers as well.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class StateMemo:
    """What is known about one state. Its answers must be functions of the state, and nobody may change them.

    Attributes:
        won: The goal holds; None if nobody has asked.
        admissible: The commands that are possible; None if nobody has asked.
    """

    __slots__ = ("_answers", "_next", "admissible", "won")

    def __init__(self) -> None:
        self.won: bool | None = None
        self.admissible: tuple[str, ...] | None = None
        self._answers: dict[str, Any] | None = None
        self._next: dict[str, StateMemo] | None = None

    def answer(self, question: str, find: Callable[[], Answer]) -> Answer:
        """Return the answer to a question, which is computed when it is asked for the first time.

        Args:
            question: Name of the question, unique among all that are asked about states.
            find: Computes the answer.
        """
        if self._answers is None:
            self._answers = {}
        if question not in self._answers:
            self._answers[question] = find()
        found: Answer = self._answers[question]
        return found

    def after(self, command: str, memo: "StateMemo") -> "StateMemo":
        """Return the memo of the state that a command leads to: the one of an earlier copy that took it, else ``memo``."""
        if self._next is None:
            self._next = {}
        return self._next.setdefault(command, memo)
