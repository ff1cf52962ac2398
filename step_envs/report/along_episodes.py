"""Computes what happens along the episodes of a run: kinds of replies at each step, values of the states, and time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from step_envs.report.gathering import EpisodeRecord, ReplyRecord, Run

REPLY_KINDS = {
    "error": "wrong",
    "no effect": "not judged, no effect",
    "correction": "teacher's correction",
    "recovered": "right again after an error",
    "right": "right",
    "effect again": "not judged, an effect again",
    "not judged": "not judged",
    "expert": "expert's step",
}
"""Kind of a reply -> how pictures name it, from the bottom to the top of a stack."""

UNTIL = 20
"""Steps that have a place of their own; all later ones share one."""

GRID = tuple(range(0, 101, 5))
"""Percent of an episode at which values are told."""


@dataclass(frozen=True)
class RepliesAtStep:
    """The replies at one step of a run's episodes.

    Attributes:
        step: Its number, from 1; ``> 20`` for all later ones.
        episodes: Episodes that have a reply there.
        replies: How many replies there are.
        shares: Kind of a reply, as in ``REPLY_KINDS`` -> its share of the replies; kinds that do not occur are left out.
    """

    step: str
    episodes: int
    replies: int
    shares: dict[str, float]


def kinds_of_replies(episode: EpisodeRecord) -> list[str]:
    """Tell the kind of every reply of an episode, a key of ``REPLY_KINDS``.

    An agent has recovered with its first right reply after an error. Where nobody judges, what can be told is when a reply
    holds no action or changes nothing, and which is the first one with an effect after it.
    """
    found, astray = [], False
    for reply in episode.replies:
        kind = _kind(reply, astray)
        found.append(kind)
        if kind in ("error", "no effect"):
            astray = True
        elif kind in ("recovered", "right", "effect again"):
            astray = False
    return found


def _kind(reply: ReplyRecord, astray: bool) -> str:
    if reply.error is not None:
        return "error"
    if reply.correction or reply.expert:
        return "correction" if reply.correction else "expert"
    if reply.verdict == "ok":
        return "recovered" if astray else "right"
    if reply.void:
        return "no effect"
    return "effect again" if astray and reply.verdict is None and not reply.unjudged else "not judged"


def replies_by_step(run: Run, *, until: int = UNTIL) -> list[RepliesAtStep]:
    """Count the kinds of replies at every step of a run's episodes."""
    counts: dict[int, Counter[str]] = {}
    episodes: Counter[int] = Counter()
    for one in run.episodes:
        kinds = kinds_of_replies(one)
        for number, kind in enumerate(kinds, 1):
            counts.setdefault(min(number, until + 1), Counter())[kind] += 1
        episodes.update(range(1, min(len(kinds), until + 1) + 1))
    return [
        RepliesAtStep(
            step=str(at) if at <= until else f"> {until}",
            episodes=episodes[at],
            replies=counts[at].total(),
            shares={kind: counts[at][kind] / counts[at].total() for kind in REPLY_KINDS if counts[at][kind]},
        )
        for at in sorted(counts)
    ]


@dataclass(frozen=True)
class ValueCurve:
    """The values of the states along the episodes with one outcome.

    Attributes:
        outcome: ``success`` or ``no success``.
        episodes: How many episodes have values.
        mean: Mean value at each place of ``GRID``.
        low: The 25 % quantile there.
        high: The 75 % quantile there.
    """

    outcome: str
    episodes: int
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def value_curves(run: Run) -> list[ValueCurve]:
    """Compute the values along a run's episodes by outcome; empty where the run was not annotated.

    Episodes differ in length, so each is laid out from its start (0 %) to its end (100 %), with straight lines between the
    values that are known.
    """
    curves = []
    for outcome, success in (("success", True), ("no success", False)):
        lines = [line for one in run.episodes if one.success is success and (line := _line(one.values)) is not None]
        if lines:
            values = np.array(lines)
            low, high = np.quantile(values, [0.25, 0.75], axis=0)
            mean, low, high = (tuple(map(float, one)) for one in (values.mean(axis=0), low, high))
            curves.append(ValueCurve(outcome, len(lines), mean, low, high))
    return curves


def _line(values: Sequence[float | None]) -> list[float] | None:
    """Return the values at the places of the grid; None where fewer than two are known, which make no line."""
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    places, found = zip(*known, strict=True)
    end = len(values) - 1
    return [float(value) for value in np.interp([percent / 100 * end for percent in GRID], places, found)]


@dataclass(frozen=True)
class SecondsAtStep:
    """Seconds of one reply at one step: means over the replies whose time is recorded.

    Attributes:
        step: Its number, from 1; ``> 20`` for all later ones.
        agent: Seconds of the agent; None where none is recorded.
        teacher: Seconds of the teacher; None where none is recorded.
    """

    step: str
    agent: float | None
    teacher: float | None


@dataclass(frozen=True)
class TimeUse:
    """Where the time of a run's episodes went, in seconds of wall time; means over the episodes.

    Attributes:
        episodes: Episodes whose time is recorded.
        total: Seconds of an episode.
        agent: Seconds of the agent in it; None where none is recorded.
        teacher: Seconds of the teacher in it; None where none is recorded.
        rest: What is left: the world, and what has no record of its own.
        agent_timed: Replies of the agent whose time is recorded.
        agent_replies: Replies of the agent.
        teacher_timed: Verdicts whose time is recorded.
        teacher_verdicts: Verdicts of the teacher.
        by_step: Seconds of one reply at each step.
    """

    episodes: int
    total: float
    agent: float | None
    teacher: float | None
    rest: float
    agent_timed: int
    agent_replies: int
    teacher_timed: int
    teacher_verdicts: int
    by_step: tuple[SecondsAtStep, ...]

    def not_recorded(self) -> list[str]:
        """Say what has no record of its own, and so counts as rest."""
        said = []
        for name, timed, of in (
            ("agent", self.agent_timed, self.agent_replies),
            ("teacher", self.teacher_timed, self.teacher_verdicts),
        ):
            noun = "replies" if name == "agent" else "verdicts"
            if of and not timed:
                said.append(f"the {name}'s time (a script, or answers from the cache)")
            elif timed < of:
                said.append(f"the time of {of - timed:,} of the {name}'s {of:,} {noun}")
        return said


def time_use(run: Run) -> TimeUse | None:
    """Compute where a run's time went; None where no episode's time is recorded."""
    timed = [one for one in run.episodes if one.seconds > 0]
    if not timed:
        return None
    agent = [second for one in timed for second in one.agent_seconds if second is not None]
    teacher = [second for one in timed for second in one.teacher_seconds if second is not None]
    total = fmean(one.seconds for one in timed)
    spent = (sum(agent) + sum(teacher)) / len(timed)
    replies = [reply for one in timed for reply in one.replies]
    return TimeUse(
        episodes=len(timed),
        total=total,
        agent=sum(agent) / len(timed) if agent else None,
        teacher=sum(teacher) / len(timed) if teacher else None,
        # Requests that are sent side by side can take more seconds together than the episode.
        rest=max(0.0, total - spent),
        agent_timed=len(agent),
        agent_replies=sum(not reply.correction and not reply.expert for reply in replies),
        teacher_timed=len(teacher),
        teacher_verdicts=sum(reply.judged for reply in replies),
        by_step=tuple(_seconds_by_step(timed)),
    )


def _seconds_by_step(episodes: Sequence[EpisodeRecord], until: int = UNTIL) -> list[SecondsAtStep]:
    found: dict[str, dict[int, list[float]]] = {"agent": {}, "teacher": {}}
    for one in episodes:
        for name, seconds in (("agent", one.agent_seconds), ("teacher", one.teacher_seconds)):
            for number, second in enumerate(seconds, 1):
                if second is not None:
                    found[name].setdefault(min(number, until + 1), []).append(second)
    steps = sorted({at for by_step in found.values() for at in by_step})
    means = {name: {at: fmean(seconds) for at, seconds in by_step.items()} for name, by_step in found.items()}
    return [
        SecondsAtStep(str(at) if at <= until else f"> {until}", means["agent"].get(at), means["teacher"].get(at))
        for at in steps
    ]
