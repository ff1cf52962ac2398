"""Computes a shortest plan from any state of a household, with the knowledge of where everything is.

Searching over commands takes seconds: there are dozens of commands in every state. But a plan is a list of errands (take a
thing here, clean it there, put it down there); which way to go and what to open follows from them. The six kinds of tasks
have few sensible lists of errands, so all of them are listed, their commands are counted, and the shortest is written out.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.simulation.admissible import COOLERS, HEATERS
from step_envs.alfworld.thoughts import Reason

TAKE, PUT, USE, STAND = "take", "put", "use", "stand"
TREAT = {"clean": "clean", "hot": "heat", "cool": "cool"}
"""State of a thing -> verb of the command that changes it to that state."""

_REACHES_IN = frozenset({TAKE, PUT})


class Errand(NamedTuple):
    """One thing to do with a thing at a receptacle; ``stand`` means to be there and do nothing."""

    verb: str
    thing: int
    receptacle: int


def shortest_plan(engine: Engine) -> list[str] | None:
    """Compute a shortest list of commands that wins from the present state.

    Args:
        engine: A game in any state; it is not changed.

    Returns:
        The commands, an empty list if the game is won; None if it cannot be won any more.
    """
    errands = shortest_errands(engine)
    return None if errands is None else to_commands(engine, errands)


def shortest_errands(engine: Engine) -> Sequence[Errand] | None:
    """Compute the errands of a shortest plan; None if there is no plan."""
    return engine.memo.answer("shortest errands", lambda: _find_shortest(engine))


def _find_shortest(engine: Engine) -> Sequence[Errand] | None:
    if engine.won:
        return ()
    planner = _Planner(engine)
    return min(planner.candidates(), key=planner.cost, default=None)


def to_commands(engine: Engine, errands: Iterable[Errand]) -> list[str]:
    """Write errands as commands: go to where each is done, and open what is closed."""
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


def explain_action(engine: Engine, action: str) -> Reason | None:
    """Explain an action by the plan that begins with it.

    Args:
        engine: The state in which the action is taken.
        action: The action.

    Returns:
        Why the shortest plan begins with this action; None if it begins with another.
    """
    errands = shortest_errands(engine)
    if not errands or to_commands(engine, errands)[0] != action:
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
    """Write the command that puts a thing into a receptacle, in the wording of the game's release."""
    thing, receptacle = engine.game.things[o].name, engine.game.receptacles[r].name
    return f"put {thing} in/on {receptacle}" if engine.game.release.says_put else f"move {thing} to {receptacle}"


def appliances(engine: Engine, verb: str) -> tuple[int, ...]:
    """List the receptacles where things can be cleaned, heated or cooled (``verb``)."""
    types = {"clean": engine.game.release.cleaning_types, "heat": HEATERS, "cool": COOLERS}[verb]
    return tuple(r for kind in sorted(types) for r in engine.game.receptacles_of_type.get(kind, ()))


class _Planner:
    """Enumerates lists of errands that win from one state, and counts their commands."""

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
        """Count the commands that a list of errands takes."""
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

    def candidates(self) -> Iterator[Sequence[Errand]]:
        """Yield lists of errands that win; a shortest one is among them."""
        if self.goal.needs_light:
            return self._for_look_task()
        return self._for_one_thing() if self.goal.count == 1 else self._for_two_things()

    def _for_one_thing(self) -> Iterator[Sequence[Errand]]:
        verb = TREAT[self.goal.state] if self.goal.state else ""
        for o in self.targets:
            done = not self.goal.state or o in getattr(self.engine, self.goal.state)
            for fetch, source in self._fetch(o):
                # A thing that the game file puts into two receptacles stays in one when it is taken from the other.
                still_there = any(r != source and r in self.places for r in self.homes[o])
                for treat in [()] if done else [(Errand(verb, o, a),) for a in appliances(self.engine, verb)]:
                    stops = (*fetch, *treat)
                    if still_there:
                        yield from self._with_free_hand(o, stops)
                        continue
                    for d in self._destinations(o, stops):
                        yield from self._with_free_hand(o, (*stops, Errand(PUT, o, d)))

    def _for_two_things(self) -> Iterator[Sequence[Errand]]:
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
                    continue  # the thing in the hand has to be the first
                firsts: list[tuple[Errand, ...]] = [()]
                if first is not None:
                    firsts = [(*fetch, Errand(PUT, first, d)) for fetch, _ in self._fetch(first)]
                for before in firsts:
                    for fetch, _ in self._fetch(second):
                        errands = (*before, *fetch, Errand(PUT, second, d))
                        yield from self._with_free_hand(second if first is None else first, errands)

    def _for_look_task(self) -> Iterator[Sequence[Errand]]:
        lamps = [o for o in self.game.things_of_type.get(self.goal.place, ()) if self.game.things[o].toggleable]
        for o in self.targets:
            for fetch, _ in self._fetch(o):
                for lamp in lamps:
                    verb = STAND if lamp in self.engine.toggled else USE
                    for r in self.homes[lamp]:
                        yield from self._with_free_hand(o, (*fetch, Errand(verb, lamp, r)))

    def _fetch(self, o: int) -> Iterator[tuple[tuple[Errand, ...], int | None]]:
        """Yield the errands that get a thing into the hand, with the receptacle that it comes from."""
        if o == self.engine.held:
            yield (), None
        elif self.game.things[o].pickupable:
            for r in self.homes[o]:
                yield (Errand(TAKE, o, r),), r

    def _with_free_hand(self, first: int, errands: Sequence[Errand]) -> Iterator[Sequence[Errand]]:
        """Yield the errands; if the agent holds something else than their first thing, put that down first."""
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
        """Leave out receptacles that cannot make a plan shorter: of those off the way, one is as good as any other."""
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
