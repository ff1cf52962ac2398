"""Compute what happened in an episode, and the figures of a run: success, first pass, recovery, and errors by kind.

Success alone hides how an agent succeeds. One arm may make fewer errors, and another may recover from more of them. So
every run is also told by its first pass (episodes in which every reply had an effect), its recovery (success after a reply
without an effect), and by what kind of errors it makes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from step_envs.statistics import Interval, wilson
from step_envs.trajectory import Trajectory, Turn

_REFLECTION = 'Thought: "'  # the teacher's corrections begin with a quote of the wrong action; no other thought does
_NAME = re.compile(r"[^\W\d]+ \d+|\w+")
_NO_NAME = frozenset("a an the to from with in on into of at and".split())  # noqa: SIM905
_CLOSE = 1e-9


class EpisodeFigures(NamedTuple):
    """Figures of an episode.

    Attributes:
        task: Id of the task.
        success: The episode reached the goal.
        score: Score at its end.
        steps: Number of steps.
        invalid: Replies without an effect: without an action, or with an action that the world did not understand.
        repeated: Those of them that repeat, word for word, an action that had no effect before.
        unknown_names: The others whose action names something that the conversation had not mentioned.
        reflections: Replies that say what was wrong with the step before.
        judged: Replies with an effect that were judged by the distance to success.
        idle: Those of them after which the goal is as far as before.
        lost: Those of them after which the goal is farther than before, or out of reach.
    """

    task: str
    success: bool
    score: float
    steps: int
    invalid: int
    repeated: int = 0
    unknown_names: int = 0
    reflections: int = 0
    judged: int = 0
    idle: int = 0
    lost: int = 0


class RunFigures(NamedTuple):
    """Figures of a run.

    Attributes:
        episodes: Number of episodes.
        success: Share that reached the goal, with its Wilson interval.
        score: Mean score.
        steps: Steps per episode.
        first_pass: Share of the episodes that reached the goal and in which every reply had an effect.
        met: Episodes with a reply without an effect.
        recovered: Share of these episodes that still reached the goal.
        invalid: Share of the replies without an effect.
        repeated: Share of the replies that repeat an action that had no effect before.
        unknown_names: Share of the replies with another action that names something which was not mentioned.
        idle: Share of the judged replies after which the goal is as far as before; None if none was judged.
        lost: Share of the judged replies after which it is farther; None if none was judged.
        reflections: Reflections per episode.
    """

    episodes: int
    success: Interval
    score: float
    steps: float
    first_pass: float
    met: int
    recovered: Interval
    invalid: float
    repeated: float
    unknown_names: float
    idle: float | None
    lost: float | None
    reflections: float


def measure_episode(trajectory: Trajectory, values: Sequence[float | None] = ()) -> EpisodeFigures:
    """Compute the figures of an episode.

    Args:
        trajectory: The episode.
        values: What the state after each turn is worth, as ``OracleValue.values`` returns it; if empty, no step is judged.
    """
    replies = [turn for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction"]
    repeated, unknown = _kinds(trajectory.turns)
    judged = list(_gains(trajectory.turns, values))
    return EpisodeFigures(
        task=trajectory.task_id,
        success=trajectory.success,
        score=trajectory.score,
        steps=trajectory.steps,
        invalid=sum(map(_without_effect, replies)),
        repeated=repeated,
        unknown_names=unknown,
        reflections=sum(turn.content.startswith(_REFLECTION) for turn in replies),
        judged=len(judged),
        idle=sum(abs(gain) <= _CLOSE for gain in judged),
        lost=sum(gain < -_CLOSE for gain in judged),
    )


def measure_run(episodes: Sequence[EpisodeFigures]) -> RunFigures:
    """Compute the figures of a run."""
    met = [episode for episode in episodes if episode.invalid]
    clean = [episode for episode in episodes if not episode.invalid]
    steps = sum(episode.steps for episode in episodes)
    judged = sum(episode.judged for episode in episodes)

    def share(name: str, of: int = steps) -> float:
        return float(sum(getattr(episode, name) for episode in episodes)) / max(of, 1)

    return RunFigures(
        episodes=len(episodes),
        success=wilson(sum(episode.success for episode in episodes), len(episodes)),
        score=share("score", len(episodes)),
        steps=steps / len(episodes),
        first_pass=sum(episode.success for episode in clean) / len(episodes),
        met=len(met),
        recovered=wilson(sum(episode.success for episode in met), len(met)),
        invalid=share("invalid"),
        unknown_names=share("unknown_names"),
        repeated=share("repeated"),
        idle=share("idle", judged) if judged else None,
        lost=share("lost", judged) if judged else None,
        reflections=share("reflections", len(episodes)),
    )


def _without_effect(turn: Turn) -> bool:
    return turn.action is None or turn.valid_action is False


def _kinds(turns: Sequence[Turn]) -> tuple[int, int]:
    """Count the replies without an effect that repeat one before, and of the others those with an unknown name."""
    seen: list[str] = []
    failed: set[str | None] = set()
    repeated = unknown = 0
    for turn in turns:
        if turn.role != "assistant" or turn.kind == "instruction":
            seen.append(turn.content.lower())
        elif _without_effect(turn):
            if turn.action in failed:
                repeated += 1
            elif turn.action is not None:
                unknown += _has_unknown_name(turn.action, "\n".join(seen))
            failed.add(turn.action)
    return repeated, unknown


def _has_unknown_name(action: str, seen: str) -> bool:
    # The first word is what is to be done; the names come after it.
    names = [name for name in _NAME.findall(action.lower())[1:] if name not in _NO_NAME]
    return any(re.search(rf"\b{re.escape(name)}\b", seen) is None for name in names)


def _gains(turns: Sequence[Turn], values: Sequence[float | None]) -> Iterable[float]:
    """Yield how much each reply with an effect changed the value of the state."""
    before: float | None = None
    for turn, value in zip(turns, values, strict=False):
        if value is None:
            continue
        if turn.role == "assistant" and turn.kind != "instruction" and before is not None and not _without_effect(turn):
            yield value - before
        before = value
