"""What the trainers of the field do with the loss weight of a turn, so that an export can say who would train the errors.

A file with weights says what is to be trained, but a trainer that does not know the field trains every reply, errors
included, and says nothing. One row for each trained turn helps only with a trainer that can be told to train on the last
message alone: others train on every reply of its context, too. So the export names the trainers, and what to do. What is
written here is measured: tests/loaders runs each of them, in the version named, and counts the tokens that it trains on.
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
        version: The version that was run.
        weights: What it does with weights: they are ``ignored``; read if ``asked``; or ``rounded``: above 0 is 1. What is
            read if asked is rounded, too.
        setting: The setting that makes it read weights.
        last_message: The setting that makes it train on the last message of a row and on no other; ``""`` if it does so by
            itself, None if it cannot.
        instead: What to use where it can do neither.
    """

    name: str
    version: str
    weights: Literal["ignored", "asked", "rounded"]
    setting: str = ""
    last_message: str | None = None
    instead: str = ""


LOADERS = (
    Loader("axolotl", "0.19.0", "asked", "message_field_training: loss", instead="--format messages"),
    Loader("LLaMA-Factory", "0.9.5", "ignored", last_message="mask_history: true"),
    Loader("ms-swift", "4.6.0", "rounded", last_message="loss_scale: last_round"),
    Loader("SkyRL", "0.3.0", "ignored", last_message=""),
    Loader("TRL", "1.16.0", "ignored", last_message="columns prompt and completion"),
    Loader("verl", "0.9.1", "ignored", instead="examples/verl_dataset.py"),
)
"""The trainers, by name. LLaMA-Factory's weights for turns are an open pull request (9630)."""


class UntrainedReplies:
    """Counts the replies of what is exported that are not to be trained, or only in part.

    Args:
        format: The format of the export: ``turns``, or one with a weight for every turn.
    """

    def __init__(self, format: str = "messages") -> None:
        self.format = format
        self.errors = self.others = self.partly = 0

    def add(self, trajectory: Trajectory) -> None:
        """Count the replies of a trajectory."""
        turns = trajectory.turns
        if self.format == "turns":
            # What comes after the last trained turn is in no row.
            turns = turns[: max((number for number, turn in enumerate(turns, 1) if turn.loss), default=0)]
        counts = Counter(turn.kind for turn in turns if turn.role == "assistant" and not turn.loss)
        self.errors += counts["error"]
        self.others += counts.total() - counts["error"]
        self.partly += sum(0 < turn.loss < 1 for turn in turns if is_reply(turn))

    def figures(self) -> dict[str, int | list[str]]:
        """Return the counts, and the trainers that would train these replies if nothing is set."""
        return {
            "errors": self.errors,
            "others": self.others,
            "partly": self.partly,
            "trained_by": [
                one.name
                for one in LOADERS
                if (one.last_message != "" if self.format == "turns" else one.weights != "rounded")
            ],
        }

    def sentences(self) -> list[str]:
        """Say which trainers would train these replies, and what to do; nothing if there are none."""
        said = []
        if self.errors or self.others:
            replies = _count(self.errors + self.others, "reply", "replies")
            errors = _count(self.errors, "error", "errors")
            said.append(self._turns(replies, errors) if self.format == "turns" else self._weights(replies, errors))
        if self.partly:
            rounding = (one.name for one in LOADERS if self.format == "turns" or one.weights != "ignored")
            said.append(
                f"{_count(self.partly, 'reply has', 'replies have')} a weight between 0 and 1, which "
                f"{_list(rounding)} count as 1: use step-envs train."
            )
        return said

    def _weights(self, replies: str, errors: str) -> str:
        ignored = [one for one in LOADERS if one.weights == "ignored"]
        asked = [f"{one.name} unless you set {one.setting}" for one in LOADERS if one.weights == "asked"]
        alone = _list(one.name for one in ignored if one.last_message is not None)
        other = [f"{one.instead} for {one.name}" for one in ignored if one.last_message is None]
        return (
            f"{replies} must not be trained ({errors}). {_list(one.name for one in ignored)} ignore the weights and would "
            f"train them, and so would {_list(asked)}. Use --format turns for {alone}, {_list(other)}, or step-envs train."
        )

    def _turns(self, replies: str, errors: str) -> str:
        settings = [f"{one.name} ({one.last_message})" for one in LOADERS if one.last_message]
        never = [one for one in LOADERS if one.last_message is None]
        return (
            f"The rows hold {replies} as context ({errors}): train on the last message of a row only. "
            f"{_list(settings)} must be told so. {_list(one.name for one in never)} cannot, and would train them: use "
            f"{_list(f'{one.instead} for {one.name}' for one in never)}."
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _list(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
