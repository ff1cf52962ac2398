"""Knows where everything is: the shortest plan from any state of a household.

A plan is a list of errands (take this here, clean it there, put it down there); walking and opening follow from
them. For the six kinds of tasks there are few sensible lists of errands: all are counted, and the shortest is
spelled out.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from step_envs.alfworld.engine import COOLERS, HEATERS, Engine
from step_envs.alfworld.thoughts import Reason

TAKE, PUT, USE, STAND = "take", "put", "use", "stand"
TREAT = {"clean": "clean", "hot": "heat", "cool": "cool"}
"""State of a thing -> the command that brings it about."""

_REACHES_IN = frozenset({TAKE, PUT})


class Errand(NamedTuple):
    """One thing to do with a thing at a receptacle; ``stand`` is to be there and do nothing."""

    verb: str
    thing: int
    receptacle: int


def shortest_plan(engine: Engine) -> list[str] | None:
    """Find a shortest list of commands that wins from the state as it now is.

    Args:
        engine: A game in any state; it is not changed.

    Returns:
        The commands, none where the game is won; None where it cannot be won any more.
    """
    errands = shortest_errands(engine)
    return None if errands is None else spell_out(engine, errands)


def shortest_errands(engine: Engine) -> Sequence[Errand] | None:
    """Find the errands of a shortest plan; None where there is no plan."""
    if engine.won:
        return ()
    planner = _Planner(engine)
    return min(planner.ways(), key=planner.cost, default=None)


def spell_out(engine: Engine, errands: Iterable[Errand]) -> list[str]:
    """Turn errands into commands: walk to where each is done, open what is closed."""
    game = engine.game
    commands: list[str] = []
    at, opened = engine.location, set(engine.opened)
    for verb, o, r in errands:
        receptacle, thing = game.receptacles[r], game.things[o].name
        if receptacle.location != at:
            at = receptacle.location
            commands.append(f"go to {receptacle.name}")
        if verb in _REACHES_IN and receptacle.openable and r not in opened:
            opened.add(r)
            commands.append(f"open {receptacle.name}")
        if verb == TAKE:
            commands.append(f"take {thing} from {receptacle.name}")
        elif verb == PUT:
            commands.append(put_command(engine, o, r))
        elif verb == USE:
            commands.append(f"use {thing}")
        elif verb != STAND:
            commands.append(f"{verb} {thing} with {receptacle.name}")
    return commands


def reason(engine: Engine, action: str) -> Reason | None:
    """Find out what a step is good for.

    Args:
        engine: The state the step is taken in.
        action: The step.

    Returns:
        Why a shortest plan takes it; None where no shortest plan that is found begins with it.
    """
    errands = shortest_errands(engine)
    if not errands or spell_out(engine, errands)[0] != action:
        return None
    errand = errands[0]
    game, goal = engine.game, engine.game.goal
    receptacle, item = game.receptacles[errand.receptacle].name, game.things[errand.thing].name
    names = {"receptacle": receptacle, "item": item, "thing": goal.target.removesuffix("type")}
    step = action.partition(" ")[0]
    if errand.verb == TAKE:
        return Reason({"go": "fetch", "open": "fetch open"}.get(step, "take"), **names)
    if errand.verb == PUT and errand.thing in engine.goal_things:
        return Reason({"go": "bring", "open": "bring open"}.get(step, "put"), **names)
    if errand.verb == PUT:
        return Reason({"go": "clear go", "open": "clear open"}.get(step, "clear"), **names)
    if errand.verb in (USE, STAND):
        held = game.things[engine.held].name if engine.held is not None else ""
        return Reason("lamp go" if step == "go" else "lamp use", receptacle=receptacle, item=held, lamp=item)
    return Reason("treat go" if step == "go" else "treat", **names, verb=errand.verb, state=goal.state or "")


def put_command(engine: Engine, o: int, r: int) -> str:
    """Word the command that puts a thing into a receptacle, as the game's release has it."""
    thing, receptacle = engine.game.things[o].name, engine.game.receptacles[r].name
    return f"put {thing} in/on {receptacle}" if engine.game.release.says_put else f"move {thing} to {receptacle}"


def appliances(engine: Engine, verb: str) -> tuple[int, ...]:
    """List the receptacles where things are cleaned, heated or cooled (``verb``)."""
    types = {"clean": engine.game.release.cleaning_types, "heat": HEATERS, "cool": COOLERS}[verb]
    return tuple(r for kind in sorted(types) for r in engine.game.receptacles_of_type.get(kind, ()))


class _Planner:
    """Lists the ways to win from one state that can be the shortest, and counts their steps."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.game = engine.game
        self.goal = engine.game.goal
        self.targets = engine.goal_things
        self.homes: dict[int, list[int]] = {}
        lamps = self.game.things_of_type.get(self.goal.place, ()) if self.goal.needs_light else ()
        for o in (*self.targets, *lamps):
            self.homes[o] = [r for r, things in enumerate(engine.contents) if o in things]
        self.places = self.game.receptacles_of_type.get(self.goal.place, ())

    def cost(self, errands: Sequence[Errand]) -> int:
        """Count the commands that errands take."""
        receptacles, is_open = self.game.receptacles, self.engine.opened
        at, opened, steps = self.engine.location, [], 0
        for verb, _, r in errands:
            receptacle = receptacles[r]
            if receptacle.location != at:
                at = receptacle.location
                steps += 1
            if verb != STAND:
                steps += 1
            if receptacle.openable and verb in _REACHES_IN and r not in is_open and r not in opened:
                opened.append(r)
                steps += 1
        return steps

    def ways(self) -> Iterator[Sequence[Errand]]:
        """List lists of errands, a shortest one among them."""
        if self.goal.needs_light:
            return self._look_ways()
        return self._one_ways() if self.goal.count == 1 else self._two_ways()

    def _one_ways(self) -> Iterator[Sequence[Errand]]:
        verb = TREAT[self.goal.state] if self.goal.state else ""
        for o in self.targets:
            done = not self.goal.state or o in getattr(self.engine, self.goal.state)
            for fetch, source in self._fetch(o):
                # A thing in two receptacles stays in the other one when it is taken from the first.
                still_there = any(r != source and r in self.places for r in self.homes[o])
                for treat in [()] if done else [(Errand(verb, o, a),) for a in appliances(self.engine, verb)]:
                    stops = (*fetch, *treat)
                    if still_there:
                        yield from self._with_free_hand(o, stops)
                        continue
                    for d in self._destinations(o, stops):
                        yield from self._with_free_hand(o, (*stops, Errand(PUT, o, d)))

    def _two_ways(self) -> Iterator[Sequence[Errand]]:
        sources = {o: [r for _, r in self._fetch(o)] for o in self.targets}
        stops = [Errand(STAND, o, r) for o, rs in sources.items() for r in rs if r is not None]
        held = self.engine.held
        places = {d for o in self.targets for d in self._destinations(o, stops)}
        places |= {d for d in self.places if not self.engine.contents[d].isdisjoint(self.targets)}
        for d in sorted(places):
            there = [o for o in self.targets if o in self.engine.contents[d]]
            away = [o for o in self.targets if o not in there and self.engine.accepts(d, o)]
            for first, second in [(None, o) for o in away] if there else permutations(away, 2):
                if held is not None and held in (first, second) and held != (second if first is None else first):
                    continue  # what is in the hand goes first
                firsts: list[tuple[Errand, ...]] = [()]
                if first is not None:
                    firsts = [(*fetch, Errand(PUT, first, d)) for fetch, _ in self._fetch(first)]
                for before in firsts:
                    for fetch, _ in self._fetch(second):
                        errands = (*before, *fetch, Errand(PUT, second, d))
                        yield from self._with_free_hand(second if first is None else first, errands)

    def _look_ways(self) -> Iterator[Sequence[Errand]]:
        lamps = [o for o in self.game.things_of_type.get(self.goal.place, ()) if self.game.things[o].toggleable]
        for o in self.targets:
            for fetch, _ in self._fetch(o):
                for lamp in lamps:
                    verb = STAND if lamp in self.engine.toggled else USE
                    for r in self.homes[lamp]:
                        yield from self._with_free_hand(o, (*fetch, Errand(verb, lamp, r)))

    def _fetch(self, o: int) -> Iterator[tuple[tuple[Errand, ...], int | None]]:
        """List the ways to get a thing into the hand, with the receptacle it comes from."""
        if o == self.engine.held:
            yield (), None
        elif self.game.things[o].pickupable:
            for r in self.homes[o]:
                yield (Errand(TAKE, o, r),), r

    def _with_free_hand(self, first: int, errands: Sequence[Errand]) -> Iterator[Sequence[Errand]]:
        """Put down what is in the hand first, where that is not what the errands begin with."""
        held = self.engine.held
        if held is None or held == first:
            yield errands
            return
        near = {self.engine.location, self.game.receptacles[errands[0].receptacle].location}
        on_the_way = {errand.receptacle for errand in errands}
        for r in self._worth_a_visit(self._accepting(held), near, on_the_way):
            yield (Errand(PUT, held, r), *errands)

    def _destinations(self, o: int, stops: Sequence[Errand]) -> list[int]:
        accepting = [r for r in self.places if self.engine.accepts(r, o)]
        near = {self.game.receptacles[stop.receptacle].location for stop in stops} | {self.engine.location}
        return self._worth_a_visit(accepting, near, set())

    def _worth_a_visit(self, receptacles: Iterable[int], near: set[int], wanted: set[int]) -> list[int]:
        """Leave out receptacles that cannot be better than another: all but one of those that lie off the way."""
        chosen: list[int] = []
        off_the_way: dict[bool, int] = {}
        for r in receptacles:
            if r in wanted or self.game.receptacles[r].location in near:
                chosen.append(r)
            else:
                off_the_way.setdefault(self.engine.is_accessible(r), r)
        if off_the_way:
            chosen.append(off_the_way.get(True, off_the_way.get(False, -1)))
        return chosen

    def _accepting(self, o: int) -> list[int]:
        return [r for r in range(len(self.game.receptacles)) if self.engine.accepts(r, o)]
