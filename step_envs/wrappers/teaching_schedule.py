"""Which steps of an episode the teacher is asked about.

A teacher that judges every step costs a request for every step, and the agent always learns under its eye. Asking about
some steps only is cheaper, and a share that falls over the episode hands the episode over to the agent. A step that the
teacher was not asked about is neither right nor wrong: it has no verdict, and weighs 0 in training.

Whether a step is judged depends on the episode's seed and the number of the step alone: not on the teacher, on the steps
before, or on where and when the episode is played. So a run that was resumed has the schedule of one that never stopped.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from step_envs.errors import unknown_name

_RULES = ("all", "after", "every", "falling", "first", "share")
_SHARES = ("falling", "share")
_OWN_STREAM = 0x7EAC
"""Added to the seed, so that the draws are not the ones that an agent with the same seed takes."""


@dataclass(frozen=True, slots=True)
class TeachingSchedule:
    """A rule that says which steps are judged; steps are counted from 1, and only the agent's own count.

    Attributes:
        rule: ``all``; ``every`` (each ``number``-th step: the ``number``-th, the one twice as late, and so on); ``share``
            (each step with probability ``number``); ``falling`` (step ``k`` with probability ``number ** (k - 1)``);
            ``first`` (the first ``number`` steps); ``after`` (all steps but the first ``number``).
        number: The number of the rule; 1 for ``all``.
    """

    rule: str = "all"
    number: float = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``all`` or ``RULE:NUMBER``.

        Raises:
            TypeError: It is no string.
            UnknownNameError: There is no such rule.
            ValueError: The number is missing, or not one that the rule takes.

        Examples:
            >>> TeachingSchedule.parse("share:0.5")
            TeachingSchedule(rule='share', number=0.5)
        """
        if not isinstance(text, str):
            raise TypeError(f"teach is a str such as 'all' or 'share:0.5', got {text!r}.")
        rule, colon, number = text.partition(":")
        if rule not in _RULES:
            raise unknown_name("rule of teach", rule, _RULES)
        if rule == "all":
            if colon:
                raise ValueError(f"In teach={text!r}, the rule 'all' takes no number.")
            return cls()
        # A rule that judges no step would leave a teacher that is never asked.
        if rule in _SHARES:
            return cls(rule, _share(text, number, above_zero=rule == "share"))
        return cls(rule, _count(text, number, 0 if rule == "after" else 1))

    def __str__(self) -> str:
        """Write the rule as ``parse`` reads it."""
        return self.rule if self.rule == "all" else f"{self.rule}:{self.number}"

    def judges(self, step: int, drawn: float) -> bool:
        """Return True if the teacher is asked about a step.

        Args:
            step: Its number among the agent's own steps, from 1.
            drawn: A number drawn for it, from 0 to below 1.
        """
        match self.rule:
            case "every":
                return step % int(self.number) == 0
            case "share":
                return drawn < self.number
            case "falling":
                return drawn < self.number ** (step - 1)
            case "first":
                return step <= self.number
            case "after":
                return step > self.number
        return True


class ScheduledSteps:
    """Goes through the steps of one episode after another and says of each whether it is judged.

    Args:
        schedule: The rule.
    """

    def __init__(self, schedule: TeachingSchedule) -> None:
        self.schedule = schedule
        self._draws = np.random.default_rng()
        self._step = 0

    def begin(self, seed: int | None) -> None:
        """Begin an episode; without a seed the draws go on where those of the episode before ended, as Gymnasium's do."""
        if seed is not None:
            self._draws = np.random.default_rng([_OWN_STREAM, seed])
        self._step = 0

    def next_is_judged(self) -> bool:
        """Go to the next step, and return True if the teacher is asked about it."""
        self._step += 1
        # Drawn under every rule, so that a step has the same number under all of them.
        return self.schedule.judges(self._step, float(self._draws.random()))


def _share(text: str, number: str, *, above_zero: bool) -> float:
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if above_zero and not 0 < share <= 1:
        raise ValueError(f"In teach={text!r}, the number must be above 0 and at most 1.")
    if not 0 <= share <= 1:
        raise ValueError(f"In teach={text!r}, the number must be from 0 to 1.")
    return share


def _count(text: str, number: str, least: int) -> int:
    if not (number.isascii() and number.isdecimal()) or int(number) < least:
        raise ValueError(f"In teach={text!r}, the number must be a whole number from {least}.")
    return int(number)
