"""Reads runs and keeps of each episode what a report needs: outcome, errors with kind and place, verdicts.

A run may have more episodes than would fit into memory whole. What is kept of one is small, and what many have in common
(tasks, replies with the same action) is kept once.
"""

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from step_envs.errors import DataError, StoreError
from step_envs.file_reading import open_regular, parse_json, read_bytes
from step_envs.runs import run_names
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory, Turn, Usage
from step_envs.wrappers.conversation import took_no_step
from step_envs.wrappers.judged_turns import error_category, is_unjudged, judged_by_teacher

ERROR_KINDS = ("no action", "fatal", "repeated", "no effect", "wrong step")
"""How an error turn is called, the first that fits: the reply held no action; it closed the way to success, or ended the
episode without it; it does what the step before did; the world did not change; all others."""

MOST_RUNS = 30
"""The most runs of one report: 30 of them already make 435 comparisons."""

# What the worlds answer to an action that they do not understand or that does nothing.
_REFUSALS = ("Nothing happens.", "No known action matches that input.")


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """One reply of an episode.

    Attributes:
        action: Its action; None where it held none.
        error: The kind of error if the teacher judged it wrong, else None.
        void: It held no action, or its action did not change the world.
        verdict: Status of its verdict; None where there is none.
        judged: That verdict is the teacher's own; see ``judged_by_teacher``.
        correction: The teacher wrote it.
        expert: It is an expert's, of a golden trajectory.
        trained: Its turn has a weight in training.
        category: The category of the error, if the teacher gave one.
        unjudged: The agent wrote it and a teacher watched the episode, but was not asked about this step.
    """

    action: str | None
    error: str | None
    void: bool
    verdict: str | None
    judged: bool
    correction: bool
    expert: bool
    trained: bool
    category: str | None
    unjudged: bool


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """One episode, as far as a report needs it.

    Attributes:
        task: Environment and task: episodes with the same can be paired.
        split: The split.
        type: The task type.
        success: The task was done.
        score: Final score.
        steps: Actions carried out.
        stop: Why it ended.
        replies: Its replies in order.
        values: What the state at the start was worth and the state after each reply, each None where it is not known; empty
            if the episode was not annotated.
        seconds: Wall time of the episode; 0 where it is not recorded.
        agent_seconds: Wall time of the agent for each reply, None where it is not recorded; empty if it is for none.
        teacher_seconds: The same of the teacher's verdict on each reply.
    """

    task: tuple[str, str]
    split: str
    type: str
    success: bool
    score: float
    steps: int
    stop: str
    replies: tuple[ReplyRecord, ...]
    values: tuple[float | None, ...] = ()
    seconds: float = 0.0
    agent_seconds: tuple[float | None, ...] = ()
    teacher_seconds: tuple[float | None, ...] = ()

    @property
    def errors(self) -> int:
        """Number of replies that were judged wrong."""
        return sum(reply.error is not None for reply in self.replies)

    @property
    def stumbled(self) -> bool:
        """True if any reply was an error, held no action, or changed nothing."""
        return any(reply.error is not None or reply.void for reply in self.replies)


@dataclass
class Run:
    """One run.

    Attributes:
        name: What the report calls it.
        path: Where it is.
        digest: SHA-256 of its trajectories.
        envs: Ids of its environments.
        agents: Who acted.
        teachers: Who taught; ``none`` where nobody did.
        episodes: The episodes.
        usage: What the episodes cost together.
        paid: What all requests of the run cost, those without a trajectory included; None where that is not recorded.
        valued_by: What the values of its states come from; empty where there are none.
    """

    name: str
    path: Path
    digest: str
    envs: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    teachers: list[str] = field(default_factory=list)
    episodes: list[EpisodeRecord] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    paid: Usage | None = None
    valued_by: list[str] = field(default_factory=list)


def gather(paths: Sequence[Path]) -> list[Run]:
    """Read runs.

    Raises:
        StoreError: A run cannot be read.
        DataError: A run holds no trajectory, or its summary is damaged.
        ValueError: A run is named twice, or they are more than ``MOST_RUNS``.
    """
    if len(paths) > MOST_RUNS:
        raise ValueError(
            f"{len(paths)} runs are too many for one report, which compares each two: name at most {MOST_RUNS}."
        )
    return [_read(name, path) for name, path in zip(run_names(paths), paths, strict=True)]


def _read(name: str, path: Path) -> Run:
    file = path / "trajectories.jsonl" if path.is_dir() else path
    episodes, envs, agents, teachers = [], dict[str, None](), dict[str, None](), dict[str, None]()
    valued_by = dict[str, None]()
    usage, shared = Usage(), dict[Any, Any]()
    for one in read_trajectories(file):
        episodes.append(episode_of(one, shared))
        usage += one.usage
        envs[one.env_id] = None
        agents[_who(one.agent.name, one.agent.model)] = None
        teachers["none" if one.teacher is None else _who(one.teacher.name, one.teacher.model)] = None
        if one.valued_by is not None:
            valued_by[_who(one.valued_by.name, one.valued_by.model)] = None
    if not episodes:
        raise DataError(f"{path} holds no trajectory yet: there is nothing to report.")
    with open_regular(file) as lines:
        digest = hashlib.file_digest(lines, "sha256").hexdigest()
    who = list(envs), list(agents), list(teachers)
    return Run(name, path, digest, *who, episodes, usage, _paid(file), list(valued_by))


def episode_of(trajectory: Trajectory, shared: dict[Any, Any] | None = None) -> EpisodeRecord:
    """Return the record of a trajectory.

    Args:
        trajectory: The trajectory.
        shared: Parts of the records made before: a part that is equal is taken from here; it is filled.
    """
    shared = {} if shared is None else shared
    task = trajectory.env_id, trajectory.task_id
    replies = _places(trajectory)
    agent, teacher = _seconds(trajectory, replies)
    return EpisodeRecord(
        task=shared.setdefault(task, task),
        split=sys.intern(trajectory.split),
        type=sys.intern(trajectory.task_type),
        success=trajectory.success,
        score=trajectory.score,
        steps=trajectory.steps,
        stop=sys.intern(trajectory.stop_reason),
        replies=tuple(shared.setdefault(reply, reply) for reply in _replies(trajectory, replies)),
        values=_values(trajectory, replies),
        seconds=trajectory.usage.seconds,
        agent_seconds=agent,
        teacher_seconds=teacher,
    )


def _places(trajectory: Trajectory) -> list[int]:
    return [at for at, turn in enumerate(trajectory.turns) if turn.role == "assistant" and turn.kind != "instruction"]


def _values(trajectory: Trajectory, replies: Sequence[int]) -> tuple[float | None, ...]:
    before = [turn.value for turn in trajectory.turns[: replies[0]] if turn.value is not None] if replies else []
    values = before[-1] if before else None, *(trajectory.turns[at].value for at in replies)
    return () if all(value is None for value in values) else values


def _seconds(trajectory: Trajectory, replies: Sequence[int]) -> tuple[tuple[float | None, ...], ...]:
    """Return the seconds of the agent and those of the teacher."""
    turns = [trajectory.turns[at] for at in replies]
    agent = tuple(None if turn.kind == "correction" else _timed(turn.usage) for turn in turns)
    teacher = tuple(None if turn.verdict is None else _timed(turn.verdict.usage) for turn in turns)
    return tuple(() if all(one is None for one in found) else found for found in (agent, teacher))


def _timed(usage: Usage | None) -> float | None:
    # A script has no usage, and an answer from the cache none of time: neither tells how long the model takes.
    return usage.seconds if usage is not None and usage.seconds > 0 else None


def _replies(trajectory: Trajectory, replies: Sequence[int]) -> list[ReplyRecord]:
    found: list[ReplyRecord] = []
    ends = [*replies[1:], len(trajectory.turns)]
    judged = judged_by_teacher(trajectory)
    before, shown = None, _said(trajectory.turns[: replies[0]][-1:]) if replies else ""
    for at, end in zip(replies, ends, strict=True):
        turn, answers = trajectory.turns[at], trajectory.turns[at + 1 : end]
        seen = _said(answers)
        # Who does the same again may well be told the same again, and rightly: waiting, for one.
        unmoved = bool(seen) and seen == shown and turn.action != before and not took_no_step(turn)
        void = turn.action is None or seen.startswith(_REFUSALS) or unmoved
        last = end == len(trajectory.turns) and trajectory.stop_reason == "failure"
        kind = _kind(turn, before, void=void, last=last) if turn.kind == "error" else None
        found.append(
            ReplyRecord(
                action=turn.action,
                error=kind,
                void=void,
                verdict=None if turn.verdict is None else turn.verdict.status,
                judged=judged[at],
                correction=turn.kind == "correction",
                expert=turn.kind == "expert",
                trained=turn.loss > 0,
                category=error_category(turn),
                unjudged=is_unjudged(turn, taught=trajectory.teacher is not None),
            )
        )
        before, shown = turn.action, seen
    return found


def _said(answers: Sequence[Turn]) -> str:
    return "\n".join(answer.content for answer in answers).removeprefix("Observation:").strip()


def _kind(turn: Turn, before: str | None, *, void: bool, last: bool) -> str:
    if turn.action is None:
        return "no action"
    if last or (turn.verdict is not None and turn.verdict.undo):
        return "fatal"
    if turn.action == before:
        return "repeated"
    return "no effect" if void else "wrong step"


def _who(name: str, model: str | None) -> str:
    return name if model is None else f"{name} ({model})"


def _paid(trajectories: Path) -> Usage | None:
    file = trajectories.parent / "summary.json"
    if trajectories.name != "trajectories.jsonl" or not file.is_file():
        return (
            None  # some of a run's trajectories, a run that was not collected by the command, or one that is not done
        )
    data = read_bytes(file, fault=DataError)
    try:
        paid = parse_json(data, str(file)).get("paid")
        return None if paid is None else Usage.model_validate(paid)
    except (StoreError, ValueError, AttributeError) as error:
        raise DataError(
            f"{file} is not the summary of a run: remove it, or collect with --resume, which writes it anew."
        ) from error


@dataclass(frozen=True)
class Curve:
    """The learning curves of a training run.

    Attributes:
        name: What the report calls it.
        points: Name of a quantity -> (step, value) pairs.
    """

    name: str
    points: dict[str, list[tuple[int, float]]]


def read_curve(folder: Path) -> Curve:
    """Read the log of a trainer: ``trainer_state.json`` in a checkpoint, or in the last checkpoint of a folder.

    Raises:
        DataError: There is none, or it is not one.
    """
    file = folder if folder.is_file() else folder / "trainer_state.json"
    if not file.exists():
        checkpoints = [one for one in folder.glob("checkpoint-*/trainer_state.json") if _step(one) >= 0]
        if not checkpoints:
            raise DataError(f"There is no trainer_state.json in {folder} or in a checkpoint-N folder of it.")
        file = max(checkpoints, key=_step)
    data = read_bytes(file, fault=DataError)
    try:
        state = parse_json(data, str(file))
        points: dict[str, list[tuple[int, float]]] = {}
        for entry in state["log_history"]:
            for name, value in entry.items():
                # A loss that is not a number, as of a training that diverged, has no place in a curve or in JSON.
                if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                    points.setdefault(name, []).append((int(entry["step"]), float(value)))
    except (StoreError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{file} is not the state of a trainer: it has no readable log_history.") from error
    return Curve(folder.name, {name: _rising(pairs) for name, pairs in points.items()})


def _step(file: Path) -> int:
    number = file.parent.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() else -1


def _rising(pairs: list[tuple[int, float]]) -> list[tuple[int, float]]:
    # A trainer that was resumed may have logged a step twice; the later entry counts.
    kept = dict(pairs)
    return sorted(kept.items())


def read_teacher_eval(file: Path) -> list[dict[str, Any]]:
    """Read what ``step-envs teacher-eval --json`` printed.

    Raises:
        DataError: It is not that.
    """
    data = read_bytes(file, fault=DataError)
    try:
        reports = parse_json(data, str(file))
        for report in reports:
            _ = report["teacher"], report["env"], report["steps"]
            for name in ("precision", "recall", "f1", "back_on_track", "unknown"):
                _value, _low, _high = report[name]
    except (StoreError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not the output of `step-envs teacher-eval --json`.") from error
    return list(reports)


def longest_common_start(first: EpisodeRecord, second: EpisodeRecord) -> list[tuple[ReplyRecord, ReplyRecord]]:
    """Pair the replies of two episodes that were given after the same actions, so that their verdicts can be compared."""
    paired: list[tuple[ReplyRecord, ReplyRecord]] = []
    for one, other in zip(first.replies, second.replies, strict=False):
        if one.action != other.action:
            break
        paired.append((one, other))
    return paired
