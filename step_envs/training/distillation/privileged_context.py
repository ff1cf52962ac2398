"""Prompts with privileged context: what a student sees, and beside it what a teacher knew.

Self-distillation (SDFT, arXiv 2601.19897) lets a model write a reply to the prompt alone, and trains it towards its own
probabilities given the prompt and a hint. Here the hint is a teacher's verdict, so the rows are made of the replies that a
teacher judged wrong. The student's prompt ends before the wrong reply: it sees neither the error nor the verdict.

The hint must be right for the state in which the prompt ends. A teacher that judges after the action ran
(``intervene="after"``) chose its correction for the state after the error. Where that is another state, the row names the
oracle's next action instead; preference pairs of single replies do the same, see ``training.preferences.pairs.step_pairs``.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from step_envs.core import TextEnv
from step_envs.credit.episode_replay import ReplayError, WorldPool, replay
from step_envs.errors import StoreError, first_fault
from step_envs.file_reading import model_from_json
from step_envs.snapshots import RestorePoint
from step_envs.store import read_lines
from step_envs.training.preferences.pairs import correction_from_here, is_error
from step_envs.trajectory import Role, Trajectory, Turn, Verdict, Words

Judged = Literal["errors", "all"]


class PromptMessage(BaseModel):
    """One message of a prompt.

    Attributes:
        role: Who speaks.
        content: The text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    content: Words


class PrivilegedRow(BaseModel):
    """A prompt, and what only the teacher of the distillation may read; TRL's ``SDFTTrainer`` takes such rows.

    Attributes:
        prompt: The messages before the judged reply.
        privileged_context: The verdict in words, with the right action for the state in which the prompt ends.
        env_id: Id of the environment.
        task_id: The task.
        episode: Number of the episode in its run.
        turn: Index of the judged reply in the turns of its trajectory.
        status: How the reply was judged: ``error`` or ``ok``.
        action: The right action.
        source: Whose action it is: the teacher's ``correction``, the ``oracle``'s, or the ``agent``'s own, judged right.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: tuple[PromptMessage, ...] = Field(min_length=1)
    privileged_context: Words
    env_id: str
    task_id: str
    episode: int | None = None
    turn: int
    status: Literal["error", "ok"]
    action: Words
    source: Literal["correction", "oracle", "agent"]


class PrivilegedReport(BaseModel):
    """What became of the judged replies.

    Attributes:
        trajectories: Number of trajectories.
        candidates: Replies that were judged; each became a row or was left out.
        rows: Number of rows.
        sources: Number of rows by whose action they name.
        left_out: Reason -> number of replies left out for it.
    """

    model_config = ConfigDict(extra="forbid")

    trajectories: int = 0
    candidates: int = 0
    rows: int = 0
    sources: Counter[str] = Field(default_factory=Counter)
    left_out: Counter[str] = Field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Write the same figures as sentences, for a terminal."""
        said = [
            f"{self.rows:,} prompts from {self.candidates:,} judged replies in {self.trajectories:,} trajectories.",
        ]
        if self.sources:
            by = ", ".join(f"{source} {number:,}" for source, number in sorted(self.sources.items()))
            said.append(f"Prompts by whose action they name: {by}.")
        if self.left_out:
            reasons = "; ".join(f"{number:,} {reason}" for reason, number in self.left_out.most_common())
            said.append(f"Left out: {reasons}.")
        return said


def privileged_rows(
    trajectories: Iterable[Trajectory], *, judged: Judged = "errors"
) -> tuple[list[PrivilegedRow], PrivilegedReport]:
    """Make a row of every reply that a teacher judged wrong, or of every reply that it judged.

    Episodes with errors are played again, so that the right action is known for the state before each error. The worlds are
    made from the environment's arguments in the record; data that was named by environment variable must be named so again.

    Args:
        trajectories: Episodes that a teacher watched.
        judged: ``errors``: only replies judged wrong. ``all``: also those judged right, whose context names the agent's own
            action.

    Returns:
        The rows, in the order of the trajectories, and a report of what was left out.

    Raises:
        ValueError: ``judged`` is neither.
        UnknownNameError: The environment does not have a task.
        gymnasium.error.Error: The environment is not registered.
    """
    if judged not in ("errors", "all"):
        raise ValueError(f"judged must be 'errors' or 'all', got {judged!r}.")
    report = PrivilegedReport()
    rows: list[PrivilegedRow] = []
    made: set[object] = set()
    with closing(WorldPool()) as worlds:
        for trajectory in trajectories:
            report.trajectories += 1
            wanted = [at for at, turn in enumerate(trajectory.turns) if _is_judged(turn, judged)]
            report.candidates += len(wanted)
            for row in _rows_of_episode(trajectory, wanted, worlds, report):
                same = row.env_id, row.task_id, row.prompt, row.privileged_context
                if same in made:
                    report.left_out["the same as another row"] += 1
                    continue
                made.add(same)
                report.rows += 1
                report.sources[row.source] += 1
                rows.append(row)
    return rows, report


def _is_judged(turn: Turn, judged: Judged) -> bool:
    return is_error(turn) or (
        judged == "all" and turn.kind == "agent" and turn.verdict is not None and turn.verdict.status == "ok"
    )


def _rows_of_episode(
    trajectory: Trajectory, wanted: list[int], worlds: WorldPool, report: PrivilegedReport
) -> Iterator[PrivilegedRow]:
    points: dict[int, RestorePoint] = {}
    world: TextEnv | None = None
    if any(is_error(trajectory.turns[at]) for at in wanted):
        world = worlds.world_for(trajectory.env_id, trajectory.protocol)
        try:
            points.update({turn.number: turn.before for turn in replay(trajectory, world) if turn.before is not None})
        except ReplayError:
            report.left_out["in an episode that the world does not repeat"] += len(wanted)
            return
    for at in wanted:
        turn = trajectory.turns[at]
        if trajectory.turns[at - 1].role != "user":
            # The teacher's prompt is written into the last message of the user.
            report.left_out["behind a message that is not the user's"] += 1
            continue
        source: Literal["correction", "oracle", "agent"] = "agent"
        action, advice = turn.action, ""
        if is_error(turn):
            assert world is not None
            source = "correction"
            action, advice = correction_from_here(trajectory, at, points)
            if action is None:
                source = "oracle"
                world.restore(points[at])
                action = world.oracle.next_action()
                advice = world.oracle.thought(action) if action else ""
        if not action:
            report.left_out["for which no right action is known"] += 1
            continue
        if is_error(turn) and action == turn.action:
            report.left_out["whose action is the right one"] += 1
            continue
        yield PrivilegedRow(
            prompt=tuple(PromptMessage(role=one.role, content=one.content) for one in trajectory.turns[:at]),
            privileged_context=verdict_in_words(turn, action, advice),
            env_id=trajectory.env_id,
            task_id=trajectory.task_id,
            episode=trajectory.episode,
            turn=at,
            status="error" if is_error(turn) else "ok",
            action=action,
            source=source,
        )


def verdict_in_words(turn: Turn, action: str, advice: str = "") -> str:
    """Write a verdict as privileged context.

    Args:
        turn: The judged reply.
        action: The right action in the state in which it was written.
        advice: What should be done instead, in words.
    """
    verdict = turn.verdict or Verdict(status="unknown")
    if is_error(turn):
        wrote = f"The action {turn.action!r}" if turn.action else "A reply without an action"
        said = [f"{wrote} is wrong here."]
    else:
        said = [f"The action {action!r} is right here."]
    parts = (("What is wrong", verdict.error), ("Why", verdict.reason), ("What to do instead", advice))
    said += [f"{name}: {' '.join(text.split())}" for name, text in parts if text and text.strip()]
    return "\n".join([*said, f"The right action: {action}"] if is_error(turn) else said)


def read_privileged(path: str | os.PathLike[str]) -> Iterator[PrivilegedRow]:
    """Read the rows that ``step-envs export --format privileged`` wrote as JSON Lines, one at a time.

    Args:
        path: The file.

    Raises:
        StoreError: The file cannot be read, or a line of it is not a row; the message names the line.
    """
    for number, line in read_lines(Path(path)):
        try:
            yield model_from_json(PrivilegedRow, line)
        except ValidationError as error:
            raise StoreError(
                f"Line {number} of {path} is not a row with privileged context: {first_fault(error)}."
            ) from error
        except (ValueError, RecursionError) as error:
            raise StoreError(f"Line {number} of {path} is not a row with privileged context: {error}.") from error
