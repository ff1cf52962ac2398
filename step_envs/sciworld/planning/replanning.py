"""A new plan for an agent that has left the solution.

Searching all actions is hopeless: there are up to 3,000 in a state, and each costs milliseconds. But the solution is
known, so what is tried are variants of it: first to go on with the steps that remain, then to undo what the agent did
wrong, then to repeat some of the steps that were done before. The order prefers plans that keep most of what the agent has
done. No variant is trusted before it was executed in the replay simulator and ended in success.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.inverse_actions import connected, disconnected, invert_action, things_touched
from step_envs.sciworld.planning.plan_executor import CANCEL, execute_plan, options_of
from step_envs.sciworld.planning.plan_progress import PlanProgress, is_focus, measure_progress
from step_envs.sciworld.planning.replay_simulator import ReplaySimulator, StateView
from step_envs.sciworld.planning.steps import ActionKind, PlanStep, action_kind, normalize

_MAX_TRIALS = 12
_MAX_TRIALS_TO_SHORTEN = 6
_MAX_ENGINE_STEPS = 1_500  # of one search
_STEPS_TO_REPEAT = (1, 2, 3, 5, 8, 13)


class CandidatePlan(NamedTuple):
    """Steps that may lead to success.

    Attributes:
        inverse: Steps that undo what the agent did, grouped by the action that they undo; they come first.
        steps: Steps of the solution.
    """

    inverse: list[list[PlanStep]]
    steps: list[PlanStep]

    @property
    def all_steps(self) -> list[PlanStep]:
        """All steps in order."""
        return [*chain.from_iterable(self.inverse), *self.steps]


def replan(simulator: ReplaySimulator, state: ActionHistory, steps: Sequence[PlanStep]) -> list[str] | None:
    """Find actions that lead to success from a state on or off a solution.

    Args:
        simulator: Where to try candidates.
        state: Where the agent is.
        steps: A solution of the task from its start.

    Returns:
        Actions that were tried out; None if none of the candidates succeeds.
    """
    views = simulator.observe_all(state)
    now = views[-1]
    if now.solved:
        return []
    if now.reply.done or not steps:
        return None
    end = simulator.steps + _MAX_ENGINE_STEPS
    progress = measure_progress(steps, state.actions, views)
    trials = 0
    for reply in _replies_to_question(now, progress):
        for candidate in _candidates(progress, state.then(*reply), views):
            if trials == _MAX_TRIALS or (trials and simulator.steps > end):
                return None
            trials += 1
            plan = execute_plan(simulator, state.then(*reply), candidate.all_steps)
            if plan is not None:
                return [*reply, *_shortened(simulator, state.then(*reply), candidate, plan)]
    return None


def _shortened(
    simulator: ReplaySimulator, state: ActionHistory, candidate: CandidatePlan, plan: list[str]
) -> list[str]:
    """Leave out inverse steps that are not needed."""
    inverse = candidate.inverse
    for group in inverse[:_MAX_TRIALS_TO_SHORTEN]:
        fewer = candidate._replace(inverse=[others for others in inverse if others is not group])
        shorter = execute_plan(simulator, state, fewer.all_steps)
        if shorter is not None and len(shorter) < len(plan):
            plan, inverse = shorter, fewer.inverse
    return plan


def _replies_to_question(now: StateView, progress: PlanProgress) -> list[tuple[str, ...]]:
    """List what to type first: nothing, or an answer if the engine asks which object is meant."""
    if not now.asks_which_object:
        return [()]
    options = options_of(now.reply.observation)
    if progress.pending is not None and options:
        answer = progress.pending.answer
        return [(answer if answer in options else min(options, key=int),), (CANCEL,)]
    return [(CANCEL,)]


def _candidates(progress: PlanProgress, state: ActionHistory, views: Sequence[StateView]) -> Iterator[CandidatePlan]:
    seen: set[tuple[tuple[str, ...], ...]] = set()
    for candidate in _candidates_with_repetitions(progress, state, views):
        key = tuple((step.room, *step.inputs) for step in candidate.all_steps)
        if key and key not in seen:
            seen.add(key)
            yield candidate


def _candidates_with_repetitions(
    progress: PlanProgress, state: ActionHistory, views: Sequence[StateView]
) -> Iterator[CandidatePlan]:
    remaining = progress.remaining
    if progress.pending is not None and state.actions[-1:] != (CANCEL,):
        remaining = [step for step in remaining if step is not progress.pending]
    passive = (ActionKind.WAIT, ActionKind.LOOK, ActionKind.MEASURE)
    waited = state.actions and action_kind(state.actions[-1]) in passive
    if waited and len(remaining) > 1 and remaining[0].kind is ActionKind.WAIT:
        yield CandidatePlan([], remaining[1:])
    unplanned = _UnplannedActions(progress, state, views)
    yield from unplanned.with_inverses(remaining)
    first = next((i for i, done in enumerate(progress.done) if not done), len(progress.done))
    if any(normalize(action) == "reset task" for action in state.actions):
        yield CandidatePlan([], list(progress.steps[first:]))
        yield CandidatePlan([], list(progress.steps))
    for count in (*_STEPS_TO_REPEAT, first):
        repeated = [step for step in progress.steps[max(first - count, 0) : first] if not is_focus(step)]
        yield from unplanned.with_inverses([*repeated, *remaining])
    yield CandidatePlan([], [*remaining, *_more_time(progress.steps[-1])])
    hard = next((i for i, step in enumerate(remaining) if not step.soft), None)
    if hard is not None:
        yield CandidatePlan([], [*remaining[:hard], *remaining[hard + 1 :]])


def _more_time(last: PlanStep) -> list[PlanStep]:
    return [PlanStep("wait", last.room, "", 11, 0, soft=True)] * 3


class _UnplannedActions:
    """The agent's actions that belong to no step of the solution, each with the steps that undo it."""

    def __init__(self, progress: PlanProgress, state: ActionHistory, views: Sequence[StateView]) -> None:
        self._progress = progress
        self._inverses: list[tuple[list[str], list[PlanStep]]] = []
        for index in reversed(progress.unplanned):
            before, after = views[index], views[index + 1]
            observation = after.reply.observation
            groups = [*invert_action(state.actions[index], before, after), self._reconnect(observation)]
            self._inverses += [(things_touched(observation), steps) for steps in groups if steps]

    def with_inverses(self, steps: list[PlanStep]) -> Iterator[CandidatePlan]:
        """Put before some steps: nothing; inverses of actions on things that the steps need; inverses of all actions."""
        yield CandidatePlan([], steps)
        text = " ".join(step.action.lower() for step in steps)
        yield CandidatePlan(
            [group for things, group in self._inverses if any(thing in text for thing in things)], steps
        )
        yield CandidatePlan([group for _, group in self._inverses], steps)

    def _reconnect(self, observation: str) -> list[PlanStep]:
        """Return the connections of the solution that are lost when the components in an observation are disconnected."""
        parts = connected(observation) + disconnected(observation)
        return [
            step
            for step, done in zip(self._progress.steps, self._progress.done, strict=True)
            if done and step.action.startswith("connect ") and any(part in step.action.lower() for part in parts)
        ]
