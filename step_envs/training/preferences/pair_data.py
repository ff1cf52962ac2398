"""What a preference pair is: two ways to go on from the same point, of which one was better.

In JSON a pair has the columns of TRL's conversational format (``prompt``, ``chosen``, ``rejected``), and a weight for every
message. Trainers that do not know the weight count every token of a side, observations included; see
``training.preferences.tuning``.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from step_envs.errors import StoreError, first_fault
from step_envs.file_reading import model_from_json
from step_envs.store import read_lines
from step_envs.trajectory import Role, Turn, Words

PairKind = Literal["trajectory", "step"]
PairSource = Literal["expert", "agent", "correction", "oracle"]


class PairMessage(BaseModel):
    """One message of a pair.

    Attributes:
        role: Who speaks.
        content: The text.
        loss: Weight, 0 to 1, of its tokens in the log-probability of its side; only replies can have one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    role: Role
    content: Words
    loss: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _only_replies_count(self) -> Self:
        if self.loss and self.role != "assistant":
            raise ValueError(f"a message of role {self.role!r} cannot carry loss, got {self.loss}")
        return self


class PreferencePair(BaseModel):
    """Two continuations of one conversation, of which the first is preferred.

    Attributes:
        env_id: Id of the environment.
        task_id: The task.
        kind: ``trajectory``: both sides are whole episodes; ``step``: both are one reply.
        prompt: The messages before both sides; none of them counts.
        chosen: The preferred side. It begins with a reply, and some of its replies count.
        rejected: The other side, likewise.
        chosen_source: Who wrote the chosen side: an ``expert``, the ``agent``, a teacher's ``correction``, the ``oracle``.
        rejected_source: Who wrote the rejected side.
        chosen_score: Final score of a trajectory (over the maximum); for a step, the score after it. None if not known.
        rejected_score: The same of the rejected side.
        chosen_distance: For a step: number of steps that the oracle's plan needs after it; None if it knows no way.
        rejected_distance: The same of the rejected side.
        episode: Number of the rejected side's episode in its run.
        turn: For a step: index of the rejected reply in the turns of its trajectory.
        state: SHA-256 (hex) of the snapshot from which both sides start; None if it was not checked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    env_id: str
    task_id: str
    kind: PairKind
    prompt: tuple[PairMessage, ...] = Field(min_length=1)
    chosen: tuple[PairMessage, ...] = Field(min_length=1)
    rejected: tuple[PairMessage, ...] = Field(min_length=1)
    chosen_source: PairSource
    rejected_source: PairSource
    chosen_score: float | None = None
    rejected_score: float | None = None
    chosen_distance: int | None = None
    rejected_distance: int | None = None
    episode: int | None = None
    turn: int | None = None
    state: str | None = None

    @model_validator(mode="after")
    def _compares_something(self) -> Self:
        if any(message.loss for message in self.prompt):
            raise ValueError("a message of the prompt cannot carry loss: both sides share it")
        for name in ("chosen", "rejected"):
            side = getattr(self, name)
            if side[0].role != "assistant":
                raise ValueError(f"the {name} side must begin with a reply")
            if not any(message.loss for message in side):
                raise ValueError(f"no message of the {name} side carries loss, so there is nothing to compare")
        if self.chosen == self.rejected:
            raise ValueError("both sides are the same")
        return self

    @property
    def confirmed(self) -> bool:
        """For a step: the oracle finds success nearer after the chosen reply than after the rejected one."""
        return self.chosen_distance is not None and (
            self.rejected_distance is None or self.chosen_distance < self.rejected_distance
        )

    def messages(self, side: Literal["chosen", "rejected"]) -> list[dict[str, Any]]:
        """Return the whole conversation of one side: ``role``, ``content`` and ``loss`` of prompt and side."""
        return [message.model_dump() for message in (*self.prompt, *getattr(self, side))]


class PairReport(BaseModel):
    """What became of the candidates: trajectories (for trajectory pairs) or errors (for step pairs).

    Attributes:
        trajectories: Number of trajectories.
        tasks: Number of tasks.
        candidates: What could have been a rejected side; each became a pair or was left out.
        pairs: Number of pairs.
        sources: Number of pairs by who wrote the chosen side.
        left_out: Reason -> number of candidates left out for it.
        shortened: Rejected trajectories of which the end was left out, see ``extra_rounds``.
    """

    model_config = ConfigDict(extra="forbid")

    trajectories: int = 0
    tasks: int = 0
    candidates: int = 0
    pairs: int = 0
    sources: Counter[str] = Field(default_factory=Counter)
    left_out: Counter[str] = Field(default_factory=Counter)
    shortened: int = 0

    def __add__(self, other: "PairReport") -> "PairReport":
        """Add what became of other candidates; a task of both counts twice."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in PairReport.model_fields}
        return PairReport.model_validate(sums)

    def lines(self) -> list[str]:
        """Write the same figures as sentences, for a terminal."""
        said = [
            f"{self.pairs:,} pairs from {self.candidates:,} candidates in {self.trajectories:,} trajectories of "
            f"{self.tasks:,} tasks."
        ]
        if self.sources:
            by = ", ".join(f"{source} {number:,}" for source, number in sorted(self.sources.items()))
            said.append(f"Pairs by who wrote the chosen side: {by}.")
        if self.left_out:
            reasons = "; ".join(f"{number:,} {reason}" for reason, number in self.left_out.most_common())
            said.append(f"Left out: {reasons}.")
        if self.shortened:
            said.append(f"{self.shortened:,} rejected trajectories are longer than extra_rounds allows: shortened.")
        return said

    def add(self, pair: PreferencePair) -> None:
        """Count a pair."""
        self.pairs += 1
        self.sources[pair.chosen_source] += 1


def read_pairs(path: str | os.PathLike[str]) -> Iterator[PreferencePair]:
    """Read the pairs that ``write_pairs`` or ``step-envs export --format pairs`` wrote, one at a time.

    Args:
        path: The file, JSON Lines.

    Raises:
        StoreError: The file cannot be read, or a line of it is not a pair; the message names the line.
    """
    for number, line in read_lines(Path(path)):
        try:
            yield model_from_json(PreferencePair, line)
        except ValidationError as error:
            raise StoreError(f"Line {number} of {path} is not a preference pair: {first_fault(error)}.") from error
        except (ValueError, RecursionError) as error:
            raise StoreError(f"Line {number} of {path} is not a preference pair: {error}.") from error


def write_pairs(pairs: Iterable[PreferencePair], path: str | os.PathLike[str]) -> None:
    """Write pairs as JSON Lines, for ``read_pairs`` and for trainers that take TRL's conversational format.

    Args:
        pairs: The pairs.
        path: The file; one that is there is replaced.

    Raises:
        OSError: The file cannot be written.
    """
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for pair in pairs:
            file.write(pair.model_dump_json() + "\n")


def as_context(turns: Iterable[Turn]) -> tuple[PairMessage, ...]:
    """Return turns as messages that do not count."""
    return tuple(PairMessage(role=turn.role, content=turn.content) for turn in turns)


def digest(snapshot: bytes) -> str:
    """Return the SHA-256 of a snapshot, in hex."""
    return hashlib.sha256(snapshot).hexdigest()
