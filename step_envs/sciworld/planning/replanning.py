"""Ways back to a solution for an agent that has left it: what to try, and in which order.

Nothing here is trusted before it has been tried out. What comes first is what keeps most of what the agent has done: going
on from where it is, then taking back what it did wrong, then doing parts of the solution again.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from step_envs.sciworld.planning.action_history import Episode
from step_envs.sciworld.planning.inverse_actions import connected, disconnected, things_touched, undo
from step_envs.sciworld.planning.plan_executor import CANCEL, options_of, play
from step_envs.sciworld.planning.progress import Progress, declares, measure
from step_envs.sciworld.planning.replay_simulator import Moment, Scout
from step_envs.sciworld.planning.steps import Kind, Step, kind_of, normal

_TRIALS = 12
_TRIALS_TO_TRIM = 6
_EFFORT = 1_500  # steps of the engine that one search may take
_BACK = (1, 2, 3, 5, 8, 13)


class Candidate(NamedTuple):
    """A way that may lead to success.

    Attributes:
        undone: What is taken back first, each thing by its steps.
        steps: What is done then.
    """

    undone: list[list[Step]]
    steps: list[Step]

    @property
    def all_steps(self) -> list[Step]:
        """Everything in order."""
        return [*chain.from_iterable(self.undone), *self.steps]


def way_back(scout: Scout, state: Episode, steps: Sequence[Step]) -> list[str] | None:
    """Find actions that lead to success from a state on or off a solution.

    Args:
        scout: Where to try.
        state: Where the agent is.
        steps: A solution of the task from its start.

    Returns:
        Actions that were tried out; None where no way was found.
    """
    moments = scout.history(state)
    now = moments[-1]
    if now.solved:
        return []
    if now.reply.done or not steps:
        return None
    end = scout.steps + _EFFORT
    progress = measure(steps, state.actions, moments)
    trials = 0
    for said in _answers(now, progress):
        for candidate in _candidates(progress, state.then(*said), moments):
            if trials == _TRIALS or (trials and scout.steps > end):
                return None
            trials += 1
            plan = play(scout, state.then(*said), candidate.all_steps)
            if plan is not None:
                return [*said, *_trimmed(scout, state.then(*said), candidate, plan)]
    return None


def _trimmed(scout: Scout, state: Episode, candidate: Candidate, plan: list[str]) -> list[str]:
    """Leave out what need not be taken back."""
    undone = candidate.undone
    for steps in undone[:_TRIALS_TO_TRIM]:
        fewer = candidate._replace(undone=[others for others in undone if others is not steps])
        shorter = play(scout, state, fewer.all_steps)
        if shorter is not None and len(shorter) < len(plan):
            plan, undone = shorter, fewer.undone
    return plan


def _answers(now: Moment, progress: Progress) -> list[tuple[str, ...]]:
    """What to say first, where the engine waits for an answer."""
    if not now.asks:
        return [()]
    options = options_of(now.reply.observation)
    if progress.pending is not None and options:
        answer = progress.pending.answer
        return [(answer if answer in options else min(options, key=int),), (CANCEL,)]
    return [(CANCEL,)]


def _candidates(progress: Progress, state: Episode, moments: Sequence[Moment]) -> Iterator[Candidate]:
    seen: set[tuple[tuple[str, ...], ...]] = set()
    for candidate in _all_candidates(progress, state, moments):
        key = tuple((step.room, *step.inputs) for step in candidate.all_steps)
        if key and key not in seen:
            seen.add(key)
            yield candidate


def _all_candidates(progress: Progress, state: Episode, moments: Sequence[Moment]) -> Iterator[Candidate]:
    left = progress.left
    if progress.pending is not None and state.actions[-1:] != (CANCEL,):
        left = [step for step in left if step is not progress.pending]
    waited = state.actions and kind_of(state.actions[-1]) in (Kind.WAIT, Kind.LOOK, Kind.MEASURE)
    if waited and len(left) > 1 and left[0].kind is Kind.WAIT:
        yield Candidate([], left[1:])
    strays = _Strays(progress, state, moments)
    yield from strays.with_mendings(left)
    first = next((i for i, done in enumerate(progress.done) if not done), len(progress.done))
    if any(normal(action) == "reset task" for action in state.actions):
        yield Candidate([], list(progress.steps[first:]))
        yield Candidate([], list(progress.steps))
    for back in (*_BACK, first):
        again = [step for step in progress.steps[max(first - back, 0) : first] if not declares(step)]
        yield from strays.with_mendings([*again, *left])
    yield Candidate([], [*left, *_more_time(progress.steps[-1])])
    hard = next((i for i, step in enumerate(left) if not step.soft), None)
    if hard is not None:
        yield Candidate([], [*left[:hard], *left[hard + 1 :]])


def _more_time(last: Step) -> list[Step]:
    return [Step("wait", last.room, "", 11, 0, soft=True)] * 3


class _Strays:
    """What the agent did that belongs to no step, and how to take it back."""

    def __init__(self, progress: Progress, state: Episode, moments: Sequence[Moment]) -> None:
        self._progress = progress
        self._undone: list[tuple[list[str], list[Step]]] = []
        for place in reversed(progress.strays):
            before, after = moments[place], moments[place + 1]
            observation = after.reply.observation
            groups = [*undo(state.actions[place], before, after), self._reconnect(observation)]
            self._undone += [(things_touched(observation), steps) for steps in groups if steps]

    def with_mendings(self, steps: list[Step]) -> Iterator[Candidate]:
        """Do steps at once; after taking back what concerns them; after taking back everything."""
        yield Candidate([], steps)
        text = " ".join(step.action.lower() for step in steps)
        yield Candidate([undone for things, undone in self._undone if any(thing in text for thing in things)], steps)
        yield Candidate([undone for _, undone in self._undone], steps)

    def _reconnect(self, observation: str) -> list[Step]:
        """Connections of the solution that are lost with a component, or by taking it out of the circuit again."""
        parts = connected(observation) + disconnected(observation)
        return [
            step
            for step, done in zip(self._progress.steps, self._progress.done, strict=True)
            if done and step.action.startswith("connect ") and any(part in step.action.lower() for part in parts)
        ]
