"""How far an agent has come along a solution, whatever order it went in and whatever else it did."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from step_envs.sciworld.planning.replay_simulator import Moment
from step_envs.sciworld.planning.steps import Kind, Step, kind_of, normal, without_effect


@dataclass
class Progress:
    """What of a solution is done.

    Attributes:
        steps: The solution.
        done: For each of its steps whether it is done, or no longer needed since what it prepared is done.
        strays: Places in the history of the actions that belong to no step of the solution.
        pending: The step whose action made the engine ask, where it now waits for the answer.
    """

    steps: Sequence[Step]
    done: list[bool]
    strays: list[int] = field(default_factory=list)
    pending: Step | None = None

    @property
    def left(self) -> list[Step]:
        """The steps that are to be done."""
        return [step for step, done in zip(self.steps, self.done, strict=True) if not done]


def measure(steps: Sequence[Step], actions: Sequence[str], moments: Sequence[Moment]) -> Progress:
    """Match what was done with a solution.

    Args:
        steps: The solution.
        actions: What was done.
        moments: What was to be seen at the start and after each action.
    """
    progress = Progress(steps, [False] * len(steps))
    asked: int | None = None
    for place, action in enumerate(actions):
        before, after = moments[place], moments[place + 1]
        if before.asks:
            if asked is not None and kind_of(action) is Kind.ANSWER and _worked(after):
                _tick_off(progress, asked)
            elif _worked(after):
                progress.strays.append(place)
            asked = None
            continue
        match = _match(progress, action, before, after)
        if after.asks:
            asked = match
        elif match is not None:
            _tick_off(progress, match)
        elif normal(action) == "reset task":
            # The engine forgets what was declared, and only that.
            progress.done = [done and not declares(step) for step, done in zip(steps, progress.done, strict=True)]
        elif _worked(after) and (kind_of(action) not in (Kind.TRAVEL, Kind.LOOK) or normal(action).startswith("close")):
            progress.strays.append(place)
    if asked is not None and moments[-1].asks:
        progress.pending = steps[asked]
    return progress


def declares(step: Step) -> bool:
    """Say whether a step declares a thing; a second time fails the task where the engine waits for another."""
    return step.action.startswith("focus on ")


def _worked(after: Moment) -> bool:
    return not without_effect(after.reply.observation)


def _match(progress: Progress, action: str, before: Moment, after: Moment) -> int | None:
    """Find the first step yet to be done that this action does."""
    text, observation, only_soft_so_far = normal(action), after.reply.observation, True
    if not _worked(after):
        return None
    for index, step in enumerate(progress.steps):
        if progress.done[index]:
            continue
        same_words = normal(step.action) == text and (
            step.answer is None or after.asks or step.observation == observation
        )
        same_effect = step.kind is Kind.ACT and step.observation == observation and _same_verb(step.action, text)
        if step.room == before.room and (same_words or same_effect) and (only_soft_so_far or not step.soft):
            return index
        only_soft_so_far = only_soft_so_far and step.soft
    return None


def _same_verb(action: str, text: str) -> bool:
    return normal(action).split()[:1] == text.split()[:1]


def _tick_off(progress: Progress, index: int) -> None:
    progress.done[index] = True
    earlier = range(index)
    if all(progress.done[i] or progress.steps[i].soft for i in earlier):
        for i in earlier:
            progress.done[i] = True
