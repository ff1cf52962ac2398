"""Compresses the engine's own solution into a plan that is worth learning from.

The engine's solutions walk through rooms where they do nothing, type actions that are not understood, read a thermometer a
hundred times, and go on after the task is done. A model that imitates them learns that too. The compressed plan keeps the
actions that have an effect, in the same order, waits in few long steps, and looks around on entering a room.

To drop steps by rule alone is not safe: without its detours an agent may arrive before a plant has grown. So every variant
is executed, and one that does not solve the task is discarded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.plan_executor import execute_plan
from step_envs.sciworld.planning.replay_simulator import ReplaySimulator
from step_envs.sciworld.planning.steps import ActionKind, PlanStep, action_kind, had_no_effect
from step_envs.sciworld.tasks import simplification_labels

VERSION = 4
"""To be increased with every change of the plans made here, so that plans kept on disk are made again."""

_WAIT_TICKS = 11
_WAIT1_TICKS = 2
_MIN_WATCH_STEPS = 4
# Task and action that fail if they come too early: an organism has to reach a stage, a substance has to cool down.
_TIMED = (("identify-", "focus on "), ("use-thermometer", "pick up "))
_MAX_ENGINE_STEPS = 3_000  # for compressing one solution

WaitShortener = Callable[[Sequence[PlanStep]], list[PlanStep]]
"""Returns a shorter replacement for a run of steps that only let time pass."""


def extract_steps(simulator: ReplaySimulator, task: ActionHistory, actions: Sequence[str]) -> list[PlanStep]:
    """Replay a solution and return its steps, without travel and without actions that had no effect."""
    return mark_soft(list(steps_by_action(simulator, task, actions).values()))


def steps_by_action(simulator: ReplaySimulator, task: ActionHistory, actions: Sequence[str]) -> dict[int, PlanStep]:
    """Replay a solution and return its steps, by the index of the action that each begins with; none is soft yet."""
    views = simulator.observe_all(task.beginning().then(*actions))
    steps: dict[int, PlanStep] = {}
    for index, action in enumerate(actions):
        before, after = views[index], views[index + 1]
        if before.solved:
            break
        observation, ticks = after.reply.observation, after.reply.moves - before.reply.moves
        if before.asks_which_object:
            first, asked = steps.popitem()
            if action_kind(action) is ActionKind.ANSWER and not had_no_effect(observation):
                ticks, score = asked.ticks + ticks, after.reply.score
                steps[first] = replace(asked, answer=action, observation=observation, ticks=ticks, score=score)
            continue
        if action_kind(action) in (ActionKind.TRAVEL, ActionKind.ANSWER) and not (
            action.startswith("close") and "closed" in observation
        ):
            continue
        if had_no_effect(observation) or (action.startswith("pick up ") and after.inventory == before.inventory):
            continue
        steps[index] = PlanStep(action, before.room, observation, ticks, after.reply.score, start=before.reply.moves)
    return steps


def compress_plan(simulator: ReplaySimulator, task: ActionHistory, gold: Sequence[str]) -> list[str]:
    """Compress the engine's solution.

    Returns:
        Actions that were tried out and lead to success; the engine's own if no shorter ones do. An empty list if not even
        those do, as in ``freeze/11`` with ``openContainers``.
    """
    end = simulator.steps + _MAX_ENGINE_STEPS
    task = task.beginning()
    steps = _look_once_per_room(extract_steps(simulator, task, gold))
    for attempt in (_without_needless_moves(steps), steps, _with_waits(steps, task)):
        plan = _with_least_waiting(simulator, task, attempt, end)
        if plan is not None:
            return plan
    return _until_solved(simulator, task, gold)


def _with_least_waiting(
    simulator: ReplaySimulator, task: ActionHistory, steps: Sequence[PlanStep], end: int
) -> list[str] | None:
    """Shorten all waits at once if that works, else one after the other; None if not even the unchanged steps succeed."""
    runs = _waiting_runs(steps, task)
    for shorten in (_by_tens, _to_the_tick):
        everywhere = {run: _not_at_all if _is_idle(steps[slice(*run)]) else shorten for run in runs}
        plan = execute_plan(simulator, task, _rewrite(steps, everywhere), repair=False) if runs else None
        if plan is not None:
            return plan
    best = execute_plan(simulator, task, steps, repair=False)
    if best is None:
        return None
    chosen: dict[tuple[int, int], WaitShortener] = {}
    for run in runs:
        for shorten in (_not_at_all, _by_tens, _to_the_tick):
            if simulator.steps > end:
                return best
            plan = execute_plan(simulator, task, _rewrite(steps, {**chosen, run: shorten}), repair=False)
            if plan is not None and len(plan) < len(best):
                best, chosen[run] = plan, shorten
                break
    return best


def _until_solved(simulator: ReplaySimulator, task: ActionHistory, gold: Sequence[str]) -> list[str]:
    views = simulator.observe_all(task.then(*gold))
    return list(gold[: next((i for i, view in enumerate(views) if view.solved), 0)])


def mark_soft(steps: Sequence[PlanStep]) -> list[PlanStep]:
    """Mark steps that may be left out: looking, waiting, and every measurement but the last."""
    last = max((i for i, step in enumerate(steps) if step.kind is ActionKind.MEASURE), default=-1)
    return [
        replace(
            step,
            soft=step.kind in (ActionKind.LOOK, ActionKind.WAIT) or (step.kind is ActionKind.MEASURE and i != last),
        )
        for i, step in enumerate(steps)
    ]


def _look_once_per_room(steps: Sequence[PlanStep]) -> list[PlanStep]:
    """Look around on first entering a room and after time has passed, not otherwise; and drop immediate repetitions."""
    kept: list[PlanStep] = []
    room, waited, seen = "", False, set[str]()
    for index, step in enumerate(steps):
        around = step.action == "look around"
        entered = step.room != room
        if entered and step.room not in seen and not around:
            kept.append(PlanStep("look around", step.room, "", 0, step.score, start=step.start, soft=True))
        repeated = (
            index > 0
            and step == replace(steps[index - 1], score=step.score, start=step.start)
            and step.kind is ActionKind.ACT
        )
        if not repeated and (not around or entered or waited):
            kept.append(step)
        waited = (waited or step.kind in (ActionKind.WAIT, ActionKind.WATER)) and not around
        room = step.room
        seen.add(room)
    return kept


def _without_needless_moves(steps: Sequence[PlanStep]) -> list[PlanStep]:
    """Drop moves of a thing that is picked up again at once, as at a sink or stove that turns out to be broken."""
    kept: list[PlanStep] = []
    for step in steps:
        thing = step.action.removeprefix("pick up ")
        if kept and thing != step.action and kept[-1].action.startswith(f"move {thing} to "):
            kept.pop()
            # Drop the picking up as well if the thing had been carried before.
            if f"pick up {thing}" in (earlier.action for earlier in kept):
                continue
        kept.append(step)
    return kept


def _with_waits(steps: Sequence[PlanStep], task: ActionHistory) -> list[PlanStep]:
    """Add waits before actions that may come too early, until the clock shows the same as in the engine's solution.

    Without the solution's detours the agent may be there before a plant has grown or a substance has cooled.
    """
    timely: list[PlanStep] = []
    clock, room = 0, ""
    for step in steps:
        clock += step.room != room
        room = step.room
        if any(task.task.startswith(family) and step.action.startswith(verb) for family, verb in _TIMED):
            tens, rest = divmod(max(step.start - clock, 0), _WAIT_TICKS)
            waits = [_wait(step, "wait", _WAIT_TICKS)] * tens + [_wait(step, "wait1", _WAIT1_TICKS)] * -(-rest // 2)
            timely += waits
            clock += sum(wait.ticks for wait in waits)
        timely.append(step)
        clock += step.ticks
    return timely


def _waters_itself(task: ActionHistory) -> bool:
    return "selfWateringFlowerPots" in simplification_labels(task.simplification, task.task)


def _waiting_runs(steps: Sequence[PlanStep], task: ActionHistory) -> list[tuple[int, int]]:
    """Find the runs of steps that only let time pass: index of the first step, and index after the last."""
    kinds = {ActionKind.WAIT, ActionKind.LOOK, ActionKind.MEASURE} | (
        {ActionKind.WATER} if _is_gardening(task) else set()
    )
    runs = []
    for passes_time, group in groupby(enumerate(steps), lambda item: item[1].kind in kinds and _is_optional(item[1])):
        run = list(group)
        idle = all(step.kind is ActionKind.WAIT for _, step in run)
        if passes_time and (
            idle or (len(run) >= _MIN_WATCH_STEPS and any(s.kind is not ActionKind.LOOK for _, s in run))
        ):
            runs.append((run[0][0], run[-1][0] + 1))
    return runs


def _is_gardening(task: ActionHistory) -> bool:
    return _waters_itself(task) and task.task.startswith(("grow-", "mendelian-"))


def _is_optional(step: PlanStep) -> bool:
    return step.soft or step.kind is ActionKind.WATER


def _rewrite(steps: Sequence[PlanStep], shorten: Mapping[tuple[int, int], WaitShortener]) -> list[PlanStep]:
    rewritten, position = [], 0
    for (first, after), change in sorted(shorten.items(), key=lambda item: item[0]):
        run = steps[first:after]
        shorter = change(run)
        if (
            shorter
            and after < len(steps)
            and shorter[-1].kind is ActionKind.MEASURE
            and shorter[-1].action == steps[after].action
        ):
            shorter = shorter[:-1]
        rewritten += [*steps[position:first], *(shorter if len(shorter) < len(run) else run)]
        position = after
    return [*rewritten, *steps[position:]]


def _by_tens(run: Sequence[PlanStep]) -> list[PlanStep]:
    """Wait ten ticks at a time, at least as long as the engine's solution does, and look after each wait."""
    head, ticks = _head(run)
    steps = list(head)
    while ticks < sum(step.ticks for step in run):
        steps.append(_wait(run[0], "wait", _WAIT_TICKS))
        ticks += _WAIT_TICKS
        look = _look_at_tick(run, ticks)
        if look is not None:
            steps.append(look)
            ticks += look.ticks
    return steps


def _to_the_tick(run: Sequence[PlanStep]) -> list[PlanStep]:
    """Wait exactly as long as the engine's solution does, and look at the end."""
    total = sum(step.ticks for step in run)
    head, ticks = _head(run)
    look = _look_at_tick(run, total)
    left = total - ticks - (look.ticks if look is not None else 0)
    tens, rest = divmod(max(left, 0), _WAIT_TICKS)
    ones = -(-rest // _WAIT1_TICKS)
    waits = [_wait(run[0], "wait", _WAIT_TICKS)] * tens + [_wait(run[0], "wait1", _WAIT1_TICKS)] * ones
    return [*head, *waits, *([look] if look is not None else [])]


def _not_at_all(run: Sequence[PlanStep]) -> list[PlanStep]:
    """Leave out a short wait."""
    return [] if _is_idle(run) else list(run)


def _is_idle(run: Sequence[PlanStep]) -> bool:
    return len(run) < _MIN_WATCH_STEPS and all(step.kind is ActionKind.WAIT for step in run)


def _head(run: Sequence[PlanStep]) -> tuple[list[PlanStep], int]:
    """Return the first measurement with the looks before it, and the ticks that these take."""
    first = next((i for i, step in enumerate(run) if step.kind is ActionKind.MEASURE), None)
    head = (
        []
        if first is None
        else [step for step in run[: first + 1] if step.kind in (ActionKind.LOOK, ActionKind.MEASURE)]
    )
    return head, sum(step.ticks for step in head)


def _look_at_tick(run: Sequence[PlanStep], ticks: int) -> PlanStep | None:
    """Return the look or measurement that the engine's solution makes at about that tick."""
    measures = [step for step in run if step.kind is ActionKind.MEASURE]
    kind = ActionKind.MEASURE if measures else ActionKind.LOOK
    passed, found = 0, None
    for step in run:
        passed += step.ticks
        if step.kind is kind and (found is None or passed <= ticks):
            found = step
    return found


def _wait(model: PlanStep, action: str, ticks: int) -> PlanStep:
    return PlanStep(action, model.room, "", ticks, model.score, start=model.start, soft=True)
