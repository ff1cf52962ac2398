"""What the trainers of the field do with the loss weight of a turn, so that an export can say who would train the errors.

A file with weights says what is to be trained, but a trainer that does not know the field trains every reply, errors
included, and says nothing. So the export names these trainers. Each was run, or read, in the version named here.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from step_envs.exports.rows import is_reply
from step_envs.trajectory import Trajectory


class Loader(NamedTuple):
    """A trainer that reads conversations.

    Attributes:
        name: Its name.
        version: The version that was looked at.
        weights: What it does with weights: they are ``ignored``; read if ``asked``; or ``rounded``: above 0 is 1.
        setting: The setting that makes it read weights.
    """

    name: str
    version: str
    weights: Literal["ignored", "asked", "rounded"]
    setting: str = ""


LOADERS = (
    Loader("axolotl", "0.19.0", "asked", "message_field_training: loss"),
    Loader("LLaMA-Factory", "0.9.5", "ignored"),
    Loader("ms-swift", "4.6", "rounded"),
    Loader("SkyRL", "0.3.0", "ignored"),
    Loader("TRL", "1.16.0", "ignored"),
    Loader("verl", "0.9.1", "ignored"),
)
"""The trainers, by name."""


class UntrainedReplies:
    """Counts the replies of what is exported that are not to be trained, or only in part."""

    def __init__(self) -> None:
        self.errors = self.others = self.partly = 0

    def add(self, trajectory: Trajectory) -> None:
        """Count the replies of a trajectory."""
        counts = Counter(turn.kind for turn in trajectory.turns if turn.role == "assistant" and not turn.loss)
        self.errors += counts["error"]
        self.others += counts.total() - counts["error"]
        self.partly += sum(0 < turn.loss < 1 for turn in trajectory.turns if is_reply(turn))

    def figures(self) -> dict[str, int | list[str]]:
        """Return the counts, and the trainers that would train these replies."""
        return {
            "errors": self.errors,
            "others": self.others,
            "partly": self.partly,
            "trained_by": [loader.name for loader in LOADERS if loader.weights != "rounded"],
        }

    def sentences(self) -> list[str]:
        """Say which trainers would train these replies, and what to do; nothing if there are none."""
        said = []
        if self.errors or self.others:
            asked = [f"{one.name} unless you set {one.setting}" for one in LOADERS if one.weights == "asked"]
            said.append(
                f"{_count(self.errors + self.others, 'reply', 'replies')} must not be trained "
                f"({_count(self.errors, 'error', 'errors')}). {_list(_named('ignored'))} ignore the weights and would "
                f"train them, and so would {_list(asked)}: use --format turns for these, or step-envs train."
            )
        if self.partly:
            said.append(
                f"{_count(self.partly, 'reply has', 'replies have')} a weight between 0 and 1, which "
                f"{_list(_named('rounded'))} counts as 1: use step-envs train."
            )
        return said


def _named(weights: str) -> list[str]:
    return [loader.name for loader in LOADERS if loader.weights == weights]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _list(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
