"""Preference pairs: two ways to go on from the same point, of which one was better.

A *trajectory pair* (ETO, arXiv 2403.02502) sets the best success of a task against an episode of the same task that ended
with a lower score. A *step pair* (the step level of IPR, arXiv 2406.11176) sets a single right reply against the wrong one
that was given in the same state; it says which reply made the difference, where a trajectory pair only says that one of
many did.

What counts on which side (``loss`` of a message; the rest is context):

- chosen trajectory: what training would train on, so the recorded weight of each turn. A turn that a teacher judged wrong
  weighs 0, and so does one that nobody approved although a teacher was there.
- rejected trajectory: all replies of the agent, also those judged right, because the pair compares whole ways of acting
  and the record seldom says which reply lost the game. Corrections and expert turns weigh 0: the agent did not write them,
  and to push down a teacher's correction would unlearn what the same data teaches elsewhere. A reply that broke off weighs
  0 as well, since its record ends in a way that the agent never wrote.
- step pairs: the two replies, and nothing of the history.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import gymnasium as gym

from step_envs.core import TextEnv
from step_envs.credit.episode_replay import WITHOUT_EFFECT, ReplayError, WorldPool, begin_again, replay
from step_envs.loss_weights import turn_weight
from step_envs.replies import reply_format
from step_envs.snapshots import RestorePoint
from step_envs.training.filters import is_golden
from step_envs.training.masking import begins_at
from step_envs.training.preferences.pair_data import (
    PairMessage,
    PairReport,
    PairSource,
    PreferencePair,
    as_context,
    digest,
)
from step_envs.training.preferences.reply_pairs import reply_pair
from step_envs.trajectory import Trajectory, Turn

__all__ = ["PairMessage", "PairReport", "PreferencePair", "step_pairs", "trajectory_pairs"]

MakeEnv = Callable[[], gym.Env[Any, Any]]
"""Makes the environment that the trajectories were recorded in, with the same data and settings."""

_UNTOLD = frozenset({"max_steps", "split", *WITHOUT_EFFECT})
"""Options of an environment that do not change the world of a task."""
_UNFINISHED = frozenset({"running", "unknown_verdict"})
"""Episodes that were cut off from outside: their score says nothing of how the agent acted."""


def trajectory_pairs(
    trajectories: Iterable[Trajectory],
    *,
    min_gap: float = 0.0,
    max_pairs: int | None = None,
    golden_only: bool = False,
    extra_rounds: int | None = None,
    make_env: MakeEnv | None = None,
) -> tuple[list[PreferencePair], PairReport]:
    """Pair the best success of every task with each worse episode of the task (ETO).

    The chosen side is the trajectory with the highest score, then the fewest steps, then an expert's, among those that
    reached the goal. The rejected sides are all finished trajectories of the same task with a lower score, the lowest
    first. Both sides share manual and task.

    Args:
        trajectories: Episodes of experts and agents, in any order.
        min_gap: Least difference of the final scores, 0 to 1.
        max_pairs: The most pairs of a task; None sets no limit.
        golden_only: Only an expert's trajectory can be chosen, as in ETO's first iteration.
        extra_rounds: Cut a rejected trajectory after as many replies as the chosen one has and this many more (ETO: 5);
            None keeps it whole.
        make_env: Makes the environment of the trajectories, in which the snapshots that both sides start from are compared;
            None does not check them.

    Returns:
        The pairs, task by task, and a report of what was left out.

    Raises:
        ValueError: An option is out of range.
        DataError: ``make_env`` makes another environment.
        UnknownNameError: The environment that it makes does not have a task.
    """
    if not 0 <= min_gap <= 1:
        raise ValueError(f"min_gap must be from 0 to 1, got {min_gap:g}.")
    if max_pairs is not None and max_pairs < 1:
        raise ValueError(f"max_pairs must be at least 1 or None, got {max_pairs}.")
    if extra_rounds is not None and extra_rounds < 0:
        raise ValueError(f"extra_rounds must not be negative, got {extra_rounds}.")
    report = PairReport()
    tasks: dict[tuple[str, str], list[Trajectory]] = defaultdict(list)
    for one in trajectories:
        report.trajectories += 1
        tasks[one.env_id, one.task_id].append(one)
    report.tasks = len(tasks)
    env = make_env() if make_env is not None and tasks else None
    pairs: list[PreferencePair] = []
    try:
        for played in tasks.values():
            pairs += _pairs_of_task(played, report, min_gap, max_pairs, golden_only, extra_rounds, env)
    finally:
        if env is not None:
            env.close()
    return pairs, report


def _pairs_of_task(
    played: list[Trajectory],
    report: PairReport,
    min_gap: float,
    max_pairs: int | None,
    golden_only: bool,
    extra_rounds: int | None,
    env: gym.Env[Any, Any] | None,
) -> Iterator[PreferencePair]:
    winners = [one for one in played if one.success and _trained(one) and (is_golden(one) or not golden_only)]
    if not winners:
        report.candidates += len(played)
        report.left_out["of a task without a success that can be chosen"] += len(played)
        return
    best = min(winners, key=lambda one: (-one.score, one.steps, not is_golden(one)))
    start = _start(env, best)
    others = sorted((one for one in played if one is not best), key=lambda one: one.score)
    report.candidates += len(others)
    made: set[tuple[PairMessage, ...]] = set()
    for other in others:
        reason = _fault(best, other, min_gap)
        rejected = () if reason else _rejected_side(other, _rounds(best, extra_rounds))
        if not reason and not any(message.loss for message in rejected):
            reason = "without a whole reply of the agent"
        if not reason and rejected in made:
            reason = "the same as another pair"
        if not reason and max_pairs is not None and len(made) >= max_pairs:
            reason = "over max_pairs"
        if not reason and start != _start(env, other):
            reason = "that start in another state"
        if reason:
            report.left_out[reason] += 1
            continue
        made.add(rejected)
        report.shortened += extra_rounds is not None and len(_replies(other)) > len(_replies(best)) + extra_rounds
        pair = PreferencePair(
            env_id=best.env_id,
            task_id=best.task_id,
            kind="trajectory",
            prompt=as_context(best.turns[: begins_at(best)]),
            chosen=_side(best, [turn.loss for turn in best.turns]),
            rejected=rejected,
            chosen_source="expert" if is_golden(best) else "agent",
            rejected_source="agent",
            chosen_score=best.score,
            rejected_score=other.score,
            episode=other.episode,
            state=start,
        )
        report.add(pair)
        yield pair


def _fault(best: Trajectory, other: Trajectory, min_gap: float) -> str | None:
    """Say why a trajectory cannot be rejected in favour of another one; None if it can."""
    gap = best.score - other.score
    # Scores are sums of floats: a gap of 0.3 may be written 0.29999999999999993.
    if gap <= 0 or gap < min_gap - 1e-9:
        return "not lower in score" if gap <= 0 else "closer in score than min_gap"
    if other.stop_reason in _UNFINISHED:
        return "cut off before the episode ended"
    heads = [[(turn.role, turn.content) for turn in one.turns[: begins_at(one)]] for one in (best, other)]
    if heads[0] != heads[1]:
        return "with other instructions"
    worlds = [
        {name: value for name, value in one.protocol.get("env", {}).items() if name not in _UNTOLD}
        for one in (best, other)
    ]
    if worlds[0] != worlds[1]:
        return "played in a world with other options"
    return None


def _rejected_side(trajectory: Trajectory, rounds: int | None) -> tuple[PairMessage, ...]:
    weights = [rejected_weight(turn, judged=trajectory.teacher is not None) for turn in trajectory.turns]
    return _side(trajectory, weights, rounds)


def rejected_weight(turn: Turn, *, judged: bool) -> float:
    """Return how much a turn counts on the rejected side: 1 for a whole reply of the agent, right or wrong, else 0.

    Args:
        turn: The turn.
        judged: A teacher watched the episode.
    """
    if turn.kind not in ("agent", "error"):
        return 0.0
    # Without a teacher, a reply of the agent weighs nothing in the record only if it broke off. With a teacher that was not
    # asked about it, it weighs nothing either way: then one without an action is taken for one that broke off.
    unapproved = turn.kind == "agent" and turn.verdict is None and not turn.loss
    broke_off = unapproved and (not judged or turn.action is None)
    return turn_weight(turn.kind, masking="none", unfinished=broke_off)


def _side(trajectory: Trajectory, weights: Sequence[float], rounds: int | None = None) -> tuple[PairMessage, ...]:
    """Take the turns from the first reply to the last, or to that of a round; no reply follows the ones after it."""
    replies = _replies(trajectory)[:rounds]
    if not replies:
        return ()
    chosen = range(begins_at(trajectory), replies[-1] + 1)
    return tuple(
        PairMessage(role=trajectory.turns[at].role, content=trajectory.turns[at].content, loss=weights[at])
        for at in chosen
    )


def _rounds(best: Trajectory, extra: int | None) -> int | None:
    return None if extra is None else len(_replies(best)) + extra


def _replies(trajectory: Trajectory) -> list[int]:
    return [at for at, turn in enumerate(trajectory.turns) if turn.role == "assistant" and turn.kind != "instruction"]


def _trained(trajectory: Trajectory) -> bool:
    return any(trajectory.turns[at].loss for at in _replies(trajectory))


def _start(env: gym.Env[Any, Any] | None, trajectory: Trajectory) -> str | None:
    """Return the digest of the state that a trajectory started in; None if there is no environment to ask."""
    if env is None:
        return None
    world = _text_world(env)
    begin_again(trajectory, world)
    return digest(world.snapshot())


def _text_world(env: gym.Env[Any, Any]) -> TextEnv:
    world = env.unwrapped
    if not isinstance(world, TextEnv):
        raise TypeError(f"make_env makes a step_envs text environment, got {type(world).__name__}.")
    return world


def step_pairs(
    trajectories: Iterable[Trajectory], make_env: MakeEnv | None = None, *, confirmed: bool = False
) -> tuple[list[PreferencePair], PairReport]:
    """Pair every wrong reply with a right one from the same state.

    The episode is played again, so that both replies have a state to start from. The chosen reply takes the teacher's
    corrected action where the teacher chose it for the state before the error: with ``intervene="before"``, where an error
    was undone, and wherever the snapshots before error and correction have the same bytes. Elsewhere the correction answers
    the state after the error, in which another action may be right, so the oracle's next action is taken instead.

    The thought of the chosen reply says what to do, and not that something was wrong: in the conversation that both sides
    share, nothing has been wrong yet.

    Args:
        trajectories: Episodes that a teacher watched; without errors in them there are no pairs.
        make_env: Makes the environment of the trajectories, with the data and settings they were recorded with. None makes
            it from the environment's arguments in the record; data that was named by environment variable must be named so
            again.
        confirmed: Leave out pairs in which the oracle does not find success nearer after the chosen reply than after the
            rejected one, for teachers that can be wrong.

    Returns:
        The pairs, in the order of the trajectories, and a report of what was left out.

    Raises:
        DataError: ``make_env`` makes another environment.
        UnknownNameError: The environment does not have a task.
    """
    report = PairReport()
    tasks: set[tuple[str, str]] = set()
    pairs: list[PreferencePair] = []
    made: set[object] = set()
    with ExitStack() as opened:
        recorded = WorldPool()
        opened.callback(recorded.close)
        own: TextEnv | None = None
        if make_env is not None:
            env = make_env()
            opened.callback(env.close)
            own = _text_world(env)
        for trajectory in trajectories:
            report.trajectories += 1
            tasks.add((trajectory.env_id, trajectory.task_id))
            errors = [at for at in _replies(trajectory) if is_error(trajectory.turns[at])]
            report.candidates += len(errors)
            if not errors:
                continue
            world = own or recorded.world_for(trajectory.env_id, trajectory.protocol)
            for pair in _pairs_of_episode(trajectory, errors, world, report):
                if confirmed and not pair.confirmed:
                    report.left_out["not confirmed by the oracle"] += 1
                elif (same := (pair.env_id, pair.task_id, pair.prompt, pair.chosen, pair.rejected)) in made:
                    report.left_out["the same as another pair"] += 1
                else:
                    made.add(same)
                    report.add(pair)
                    pairs.append(pair)
    report.tasks = len(tasks)
    return pairs, report


def is_error(turn: Turn) -> bool:
    """Return True if a teacher judged a reply of the agent wrong."""
    return turn.kind == "error" or (
        turn.kind == "agent" and turn.verdict is not None and turn.verdict.status == "error"
    )


def _pairs_of_episode(
    trajectory: Trajectory, errors: list[int], world: TextEnv, report: PairReport
) -> Iterator[PreferencePair]:
    points: dict[int, RestorePoint] = {}
    try:
        points.update({turn.number: turn.before for turn in replay(trajectory, world) if turn.before is not None})
    except ReplayError:
        # Counted and not raised: one episode from another version of the data should not cost all others. The turns up to
        # where it differs are not used either, because nobody knows what else is different.
        report.left_out["in an episode that the world does not repeat"] += len(errors)
        return
    write = reply_format(trajectory.protocol.get("reply_format", "react")).write
    for at in errors:
        wrong, before = trajectory.turns[at], bytes(points[at])
        world.restore(points[at])
        source: PairSource = "oracle"
        score = None
        action, thought = correction_from_here(trajectory, at, points)
        if action is not None:
            source = "correction"
            following = next((later for later in points if later > at), None)
            if following is not None and bytes(points[following]) == before:
                score = trajectory.turns[following].score
        else:
            action = world.oracle.next_action()
        if not action:
            report.left_out["for which no right action is known"] += 1
            continue
        chosen = write(thought or world.oracle.thought(action), action)
        if action == wrong.action or chosen == wrong.content:
            report.left_out["with the same action on both sides"] += 1
            continue
        right = Turn(role="assistant", content=chosen, kind="correction", action=action, score=score)
        yield reply_pair(
            world,
            points[at],
            trajectory.turns[:at],
            right,
            wrong,
            chosen_source=source,
            episode=trajectory.episode,
        )


def correction_from_here(trajectory: Trajectory, at: int, points: Mapping[int, RestorePoint]) -> tuple[str | None, str]:
    """Return the teacher's action and thought for the state before an error; no action if it was for another state.

    Args:
        trajectory: The episode.
        at: Index of the wrong reply in its turns.
        points: Index of a reply -> the state in which it was written, from ``replay``.
    """
    verdict = trajectory.turns[at].verdict
    if verdict is None or verdict.corrected_action is None:
        return None, ""
    following = next((later for later in points if later > at), None)
    same = (
        following is not None
        and trajectory.turns[following].kind == "correction"
        and bytes(points[following]) == bytes(points[at])
    )
    # A teacher that judges before a reply runs, or that takes it back, has chosen for the state before. That also holds
    # where no correction follows, because the error was one too many.
    if not (same or verdict.undo or trajectory.protocol.get("intervene") == "before"):
        return None, ""
    # As the correction of the record is written: a line break would end the action too early.
    return " ".join(verdict.corrected_action.splitlines()).strip(), (verdict.reflection or "").strip()
