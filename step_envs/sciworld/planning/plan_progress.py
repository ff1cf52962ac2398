"""Which steps of a solution an agent has done, in whatever order, and what else it did.

Comparing actions one by one with the solution fails as soon as the agent does two steps in the other order, or says the
same in other words. So an action is matched with the first open step that has the same words or the same effect, in the
same room.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from step_envs.sciworld.planning.replay_simulator import StateView
from step_envs.sciworld.planning.steps import ActionKind, PlanStep, action_kind, had_no_effect, normalize


@dataclass
class PlanProgress:
    """Which steps of a solution are done.

    Attributes:
        steps: The solution.
        done: For each step, True if it is done, or is no longer needed because the step that it prepared is done.
        unplanned: Indices of the agent's actions that had an effect and belong to no step of the solution.
        pending: The step whose action made the engine ask which object is meant, while it waits for the answer.
    """

    steps: Sequence[PlanStep]
    done: list[bool]
    unplanned: list[int] = field(default_factory=list)
    pending: PlanStep | None = None

    @property
    def remaining(self) -> list[PlanStep]:
        """The steps that are not done."""
        return [step for step, done in zip(self.steps, self.done, strict=True) if not done]


def measure_progress(steps: Sequence[PlanStep], actions: Sequence[str], views: Sequence[StateView]) -> PlanProgress:
    """Match the agent's actions with a solution.

    Args:
        steps: The solution.
        actions: The agent's actions.
        views: What could be seen at the start and after each action.
    """
    progress = PlanProgress(steps, [False] * len(steps))
    asked: int | None = None
    for index, action in enumerate(actions):
        before, after = views[index], views[index + 1]
        if before.asks_which_object:
            if asked is not None and action_kind(action) is ActionKind.ANSWER and _had_effect(after):
                _mark_done(progress, asked)
            elif _had_effect(after):
                progress.unplanned.append(index)
            asked = None
            continue
        match = _matching_step(progress, action, before, after)
        if after.asks_which_object:
            asked = match
        elif match is not None:
            _mark_done(progress, match)
        elif normalize(action) == "reset task":
            # The engine forgets what was focused on, and nothing else.
            progress.done = [done and not is_focus(step) for step, done in zip(steps, progress.done, strict=True)]
        elif _had_effect(after) and _changes_world(action):
            progress.unplanned.append(index)
    if asked is not None and views[-1].asks_which_object:
        progress.pending = steps[asked]
    return progress


def is_focus(step: PlanStep) -> bool:
    """Return True if a step focuses on a thing; doing that a second time can fail the task."""
    return step.action.startswith("focus on ")


def _had_effect(after: StateView) -> bool:
    return not had_no_effect(after.reply.observation)


def _changes_world(action: str) -> bool:
    return action_kind(action) not in (ActionKind.TRAVEL, ActionKind.LOOK) or normalize(action).startswith("close")


def _matching_step(progress: PlanProgress, action: str, before: StateView, after: StateView) -> int | None:
    """Find the first open step that this action does; a soft step only if no other step before it is open."""
    text, observation, only_soft_so_far = normalize(action), after.reply.observation, True
    if not _had_effect(after):
        return None
    for index, step in enumerate(progress.steps):
        if progress.done[index]:
            continue
        same_words = normalize(step.action) == text and (
            step.answer is None or after.asks_which_object or step.observation == observation
        )
        same_effect = step.kind is ActionKind.ACT and step.observation == observation and _same_verb(step.action, text)
        if step.room == before.room and (same_words or same_effect) and (only_soft_so_far or not step.soft):
            return index
        only_soft_so_far = only_soft_so_far and step.soft
    return None


def _same_verb(action: str, text: str) -> bool:
    return normalize(action).split()[:1] == text.split()[:1]


def _mark_done(progress: PlanProgress, index: int) -> None:
    progress.done[index] = True
    earlier = range(index)
    if all(progress.done[i] or progress.steps[i].soft for i in earlier):
        for i in earlier:
            progress.done[i] = True
