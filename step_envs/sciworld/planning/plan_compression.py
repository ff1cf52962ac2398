"""The engine's own solution made fit to learn from: no detours, no empty steps, no waiting tick by tick.

The engine's solutions walk through rooms they have no business in, type things that are not understood, read a thermometer
a hundred times and go on after the task is done. What is left here is what has an effect, in the same order, with a look
around on entering a room. Every change is tried out; one that keeps the task from being solved is not made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from step_envs.sciworld.planning.action_history import Episode
from step_envs.sciworld.planning.plan_executor import play
from step_envs.sciworld.planning.replay_simulator import Scout
from step_envs.sciworld.planning.steps import Kind, Step, kind_of, without_effect

VERSION = 4
"""To be raised with every change of what is made here, so that what was kept on disk is made anew."""

_WAIT_TICKS = 11
_WAIT1_TICKS = 2
_SHORTEST_PATIENCE = 4
# What must not be done too early: an organism has to reach a stage; a substance cools until it is picked up.
_TIMED = (("identify-", "focus on "), ("use-thermometer", "pick up "))
_EFFORT = 3_000  # steps of the engine that the shortening of one solution may take

Shorten = Callable[[Sequence[Step]], list[Step]]


def read_steps(scout: Scout, task: Episode, actions: Sequence[str]) -> list[Step]:
    """Replay a solution and note what each of its steps does and where, without the travel in between."""
    moments = scout.history(task.beginning().then(*actions))
    steps: list[Step] = []
    for index, action in enumerate(actions):
        before, after = moments[index], moments[index + 1]
        if before.solved:
            break
        observation, ticks = after.reply.observation, after.reply.moves - before.reply.moves
        if before.asks:
            asked = steps.pop()
            if kind_of(action) is Kind.ANSWER and not without_effect(observation):
                ticks, score = asked.ticks + ticks, after.reply.score
                steps.append(replace(asked, answer=action, observation=observation, ticks=ticks, score=score))
            continue
        if kind_of(action) in (Kind.TRAVEL, Kind.ANSWER) and not (
            action.startswith("close") and "closed" in observation
        ):
            continue
        if without_effect(observation) or (action.startswith("pick up ") and after.inventory == before.inventory):
            continue
        steps.append(Step(action, before.room, observation, ticks, after.reply.score, start=before.reply.moves))
    return _mark_soft(steps)


def make_way(scout: Scout, task: Episode, gold: Sequence[str]) -> list[str]:
    """Turn the engine's solution into a plan.

    Returns:
        Actions that were tried out and lead to success; the engine's own where nothing better does. An empty list where
        not even those do, as in ``freeze/11`` with ``openContainers``.
    """
    end = scout.steps + _EFFORT
    task = task.beginning()
    steps = _tidy(read_steps(scout, task, gold))
    for attempt in (_without_to_and_fro(steps), steps, _on_time(steps, task)):
        plan = _shortest(scout, task, attempt, end)
        if plan is not None:
            return plan
    return _until_solved(scout, task, gold)


def _shortest(scout: Scout, task: Episode, steps: Sequence[Step], end: int) -> list[str] | None:
    """Try the steps with less waiting: everywhere at once, then as they are, then in one place after the other."""
    runs = _patience(steps, task)
    for shorten in (_by_tens, _to_the_tick):
        everywhere = {run: _not_at_all if _is_idle(steps[slice(*run)]) else shorten for run in runs}
        plan = play(scout, task, _rewrite(steps, everywhere), mend=False) if runs else None
        if plan is not None:
            return plan
    best = play(scout, task, steps, mend=False)
    if best is None:
        return None
    chosen: dict[tuple[int, int], Shorten] = {}
    for run in runs:
        for shorten in (_not_at_all, _by_tens, _to_the_tick):
            if scout.steps > end:
                return best
            plan = play(scout, task, _rewrite(steps, {**chosen, run: shorten}), mend=False)
            if plan is not None and len(plan) < len(best):
                best, chosen[run] = plan, shorten
                break
    return best


def _until_solved(scout: Scout, task: Episode, gold: Sequence[str]) -> list[str]:
    moments = scout.history(task.then(*gold))
    return list(gold[: next((i for i, moment in enumerate(moments) if moment.solved), 0)])


def _mark_soft(steps: list[Step]) -> list[Step]:
    """Looking and waiting is soft, and so is every measurement but the last of a thing that is measured again."""
    last = max((i for i, step in enumerate(steps) if step.kind is Kind.MEASURE), default=-1)
    return [
        replace(step, soft=step.kind in (Kind.LOOK, Kind.WAIT) or (step.kind is Kind.MEASURE and i != last))
        for i, step in enumerate(steps)
    ]


def _tidy(steps: Sequence[Step]) -> list[Step]:
    """Look around once on entering a room, and not again until time has passed; do nothing twice running."""
    tidy: list[Step] = []
    room, waited, seen = "", False, set[str]()
    for index, step in enumerate(steps):
        around = step.action == "look around"
        entered = step.room != room
        if entered and step.room not in seen and not around:
            tidy.append(Step("look around", step.room, "", 0, step.score, start=step.start, soft=True))
        repeated = (
            index > 0
            and step == replace(steps[index - 1], score=step.score, start=step.start)
            and step.kind is Kind.ACT
        )
        if not repeated and (not around or entered or waited):
            tidy.append(step)
        waited = (waited or step.kind in (Kind.WAIT, Kind.WATER)) and not around
        room = step.room
        seen.add(room)
    return tidy


def _without_to_and_fro(steps: Sequence[Step]) -> list[Step]:
    """Do not put a thing where it is picked up again at once, as before a sink or a stove that turns out to be broken."""
    kept: list[Step] = []
    for step in steps:
        thing = step.action.removeprefix("pick up ")
        if kept and thing != step.action and kept[-1].action.startswith(f"move {thing} to "):
            kept.pop()
            # What had not been carried before still has to be picked up.
            if f"pick up {thing}" in (earlier.action for earlier in kept):
                continue
        kept.append(step)
    return kept


def _on_time(steps: Sequence[Step], task: Episode) -> list[Step]:
    """Wait before what can be done too early until the clock says what it does in the engine's solution.

    Without its detours the agent may be there before a plant has grown or a substance has cooled.
    """
    timely: list[Step] = []
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


def _waters_itself(task: Episode) -> bool:
    return bool({"easy", "selfWateringFlowerPots"} & set(task.simplification.split(",")))


def _patience(steps: Sequence[Step], task: Episode) -> list[tuple[int, int]]:
    """Find the runs of steps that only let time pass: first index and the one after the last."""
    kinds = {Kind.WAIT, Kind.LOOK, Kind.MEASURE} | ({Kind.WATER} if _is_gardening(task) else set())
    runs = []
    for passes_time, group in groupby(enumerate(steps), lambda item: item[1].kind in kinds and _may_go(item[1])):
        run = list(group)
        idle = all(step.kind is Kind.WAIT for _, step in run)
        if passes_time and (idle or (len(run) >= _SHORTEST_PATIENCE and any(s.kind is not Kind.LOOK for _, s in run))):
            runs.append((run[0][0], run[-1][0] + 1))
    return runs


def _is_gardening(task: Episode) -> bool:
    return _waters_itself(task) and task.task.startswith(("grow-", "mendelian-"))


def _may_go(step: Step) -> bool:
    return step.soft or step.kind is Kind.WATER


def _rewrite(steps: Sequence[Step], shorten: Mapping[tuple[int, int], Shorten]) -> list[Step]:
    rewritten, position = [], 0
    for (first, after), change in sorted(shorten.items(), key=lambda item: item[0]):
        run = steps[first:after]
        shorter = change(run)
        if (
            shorter
            and after < len(steps)
            and shorter[-1].kind is Kind.MEASURE
            and shorter[-1].action == steps[after].action
        ):
            shorter = shorter[:-1]
        rewritten += [*steps[position:first], *(shorter if len(shorter) < len(run) else run)]
        position = after
    return [*rewritten, *steps[position:]]


def _by_tens(run: Sequence[Step]) -> list[Step]:
    """Wait ten ticks at a time, rather too long than too short, and look after each."""
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


def _to_the_tick(run: Sequence[Step]) -> list[Step]:
    """Wait as long as the engine's solution does, and look at the end."""
    total = sum(step.ticks for step in run)
    head, ticks = _head(run)
    look = _look_at_tick(run, total)
    left = total - ticks - (look.ticks if look is not None else 0)
    tens, rest = divmod(max(left, 0), _WAIT_TICKS)
    ones = -(-rest // _WAIT1_TICKS)
    waits = [_wait(run[0], "wait", _WAIT_TICKS)] * tens + [_wait(run[0], "wait1", _WAIT1_TICKS)] * ones
    return [*head, *waits, *([look] if look is not None else [])]


def _not_at_all(run: Sequence[Step]) -> list[Step]:
    """Leave out a short wait that nothing comes of."""
    return [] if _is_idle(run) else list(run)


def _is_idle(run: Sequence[Step]) -> bool:
    return len(run) < _SHORTEST_PATIENCE and all(step.kind is Kind.WAIT for step in run)


def _head(run: Sequence[Step]) -> tuple[list[Step], int]:
    """The first measurement, with the look before it."""
    first = next((i for i, step in enumerate(run) if step.kind is Kind.MEASURE), None)
    head = [] if first is None else [step for step in run[: first + 1] if step.kind in (Kind.LOOK, Kind.MEASURE)]
    return head, sum(step.ticks for step in head)


def _look_at_tick(run: Sequence[Step], ticks: int) -> Step | None:
    """The look or measurement that the engine's solution takes about then."""
    measures = [step for step in run if step.kind is Kind.MEASURE]
    kind = Kind.MEASURE if measures else Kind.LOOK
    passed, found = 0, None
    for step in run:
        passed += step.ticks
        if step.kind is kind and (found is None or passed <= ticks):
            found = step
    return found


def _wait(model: Step, action: str, ticks: int) -> Step:
    return Step(action, model.room, "", ticks, model.score, start=model.start, soft=True)
