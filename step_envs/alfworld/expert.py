"""An agent that knows only what it has seen: it opens and looks before it knows where things are.

What it knows at a moment is the furniture (the first observation names it), what stands at the place where it is,
the contents of every receptacle it was shown, and where it put things itself. Where nothing that it needs is known,
it searches: first where such things usually are. Its step is a function of the engine's state, which remembers what
has been shown (``Engine.seen``), so that it can take over anywhere, in an episode that another began.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.goal import SIMPLE
from step_envs.alfworld.generation.household_statistics import HouseholdStatistics, load_statistics
from step_envs.alfworld.generation.vocabulary import OPENABLE, RECEPTACLES, THINGS, fact_type
from step_envs.alfworld.planning.errands import TREAT, appliances, put_command
from step_envs.alfworld.thoughts import Reason

_RECEPTACLE_NAMES = {fact_type(name): name for name in RECEPTACLES}
_THING_NAMES = {fact_type(name): name for name in THINGS}
_OPENABLE = frozenset(map(fact_type, OPENABLE))
_SURPRISE = 0.02
"""Chance that a thing is where none of its kind was in official games, over all receptacles of a household."""

_ROOM_SIGNS = (("toilettype", "bathroom"), ("bedtype", "bedroom"), ("fridgetype", "kitchen"))
"""What furniture tells a room; a room without any of it is a living room."""


class Step(NamedTuple):
    """A command and why it is given."""

    command: str
    reason: Reason


def next_step(engine: Engine) -> Step | None:
    """Decide the next step by what has been seen.

    Args:
        engine: A game in any state; it is not changed.

    Returns:
        The step; None where the game is won, or where everything was seen and nothing helps.
    """
    return None if engine.won else _Explorer(engine).decide()


def explore(engine: Engine, limit: int = 200) -> list[str] | None:
    """Imagine the explorer's whole way from the state as it now is.

    Args:
        engine: A game in any state; it is not changed.
        limit: Steps after which it is given up.

    Returns:
        Its commands up to success; None where it finds no way.
    """
    imagined = Engine(engine.game)
    imagined.load(engine.save())
    commands: list[str] = []
    while not imagined.won:
        step = next_step(imagined)
        if step is None or len(commands) >= limit:
            return None
        commands.append(step.command)
        imagined.step(step.command)
    return commands


class _Explorer:
    """Decides one step in one state."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.game = engine.game
        self.goal = engine.game.goal
        self.thing = self.goal.target.removesuffix("type")
        self.at = engine.location
        # Receptacle -> known things in it.
        self.known = {
            r: [o for o in things if r in engine.seen or o in engine.moved] for r, things in enumerate(engine.contents)
        }

    def decide(self) -> Step | None:
        held = self.engine.held
        if held is None:
            return self._get_target()
        if held not in self.engine.goal_things or held in self._delivered():
            return self._clear_hand(held)
        state = self.goal.state
        if state is not None and held not in getattr(self.engine, state):
            return self._treat(held, state)
        return self._light(held) if self.goal.needs_light else self._deliver(held)

    # What to do next.

    def _get_target(self) -> Step | None:
        delivered = self._delivered()
        known = [
            (o, r)
            for r, things in self.known.items()
            for o in sorted(things)
            if o in self.engine.goal_things and o not in delivered and self.game.things[o].pickupable
        ]
        if not known:
            wanted = f"second {self.thing}" if delivered else self.thing
            return self._search(wanted, self.goal.target, avoid=self.goal.task_type == SIMPLE)
        o, r = min(known, key=lambda pair: (self._away(pair[1]), not self._reachable(pair[1]), -pair[1]))
        item = self.game.things[o].name
        command = f"take {item} from {self.game.receptacles[r].name}"
        return self._do_at(r, command, "fetch", "take", inside=True, item=item, thing=self.thing)

    def _treat(self, o: int, state: str) -> Step | None:
        verb, item = TREAT[state], self.game.things[o].name
        places = appliances(self.engine, verb)
        if not places:
            return None
        r = min(places, key=lambda place: (self._away(place), -place))
        command = f"{verb} {item} with {self.game.receptacles[r].name}"
        return self._do_at(r, command, "treat", "treat", item=item, thing=self.thing, verb=verb, state=state)

    def _light(self, o: int) -> Step | None:
        lamps = [
            (lamp, r)
            for r, things in self.known.items()
            for lamp in things
            if self.game.things[lamp].type == self.goal.place and self.game.things[lamp].toggleable
        ]
        if not lamps:
            return self._search(self.goal.place.removesuffix("type"), self.goal.place)
        lamp, r = min(lamps, key=lambda pair: (self._away(pair[1]), pair))
        item, lit = self.game.things[o].name, self.game.things[lamp].name
        return self._do_at(r, f"use {lit}", "lamp", "lamp use", item=item, lamp=lit)

    def _deliver(self, o: int) -> Step | None:
        places = [r for r in self._destinations() if self.engine.accepts(r, o)]
        if not places:
            return None
        r = min(places, key=lambda place: (self._away(place), not self._reachable(place), -place))
        return self._put(o, r, "bring", "put")

    def _clear_hand(self, o: int) -> Step | None:
        places = [r for r in range(len(self.game.receptacles)) if self.engine.accepts(r, o)]
        if not places:
            return None
        r = min(places, key=lambda place: (self._away(place), not self._reachable(place), -place))
        return self._put(o, r, "clear", "clear")

    def _put(self, o: int, r: int, on_the_way: str, there: str) -> Step:
        item = self.game.things[o].name
        return self._do_at(
            r, put_command(self.engine, o, r), on_the_way, there, inside=True, item=item, thing=self.thing
        )

    def _do_at(self, r: int, command: str, on_the_way: str, there: str, *, inside: bool = False, **names: str) -> Step:
        """Walk to a receptacle, open it where one has to reach in, and do something there: the first of these steps."""
        receptacle = self.game.receptacles[r]
        names["receptacle"] = receptacle.name
        if receptacle.location != self.at:
            going = on_the_way if on_the_way in ("fetch", "bring") else f"{on_the_way} go"
            return Step(f"go to {receptacle.name}", Reason(going, **names))
        if inside and not self.engine.is_accessible(r):
            return Step(f"open {receptacle.name}", Reason(f"{on_the_way} open", **names))
        return Step(command, Reason(there, **names))

    # Searching.

    def _search(self, thing: str, kind: str, *, avoid: bool = False) -> Step | None:
        """Look into the receptacle that promises most for its cost among those that were not seen yet.

        Args:
            thing: What is searched for, in words.
            kind: Its type.
            avoid: It cannot be where it is to be brought to: the task would be done.
        """
        unseen = [r for r in range(len(self.game.receptacles)) if r not in self.engine.seen]
        promising = [r for r in unseen if not avoid or self.game.receptacles[r].type != self.goal.place] or unseen
        if not promising:
            return None
        chance = self._chances(kind)
        r = max(promising, key=lambda place: (chance(place) / self._effort(place), place))
        receptacle = self.game.receptacles[r]
        if receptacle.location != self.at:
            kind = "search" if self.engine.seen else "search first"
            return Step(f"go to {receptacle.name}", Reason(kind, receptacle=receptacle.name, thing=thing))
        if not self.engine.is_accessible(r):
            return Step(f"open {receptacle.name}", Reason("search open", receptacle=receptacle.name, thing=thing))
        return Step(f"examine {receptacle.name}", Reason("search here", receptacle=receptacle.name, thing=thing))

    def _effort(self, r: int) -> int:
        """Count the steps that looking into a receptacle takes, as far as one can know before being there."""
        if not self._away(r):
            return 1
        return 2 if self.game.receptacles[r].type in _OPENABLE else 1

    def _chances(self, kind: str) -> Callable[[int], float]:
        """Tell how likely a thing of a type is in each receptacle, by where such things are in official games."""
        tables: HouseholdStatistics = load_statistics()
        homes = tables.rooms[self._room()].homes.get(_THING_NAMES.get(kind, ""), {})
        if not homes:
            homes = _merged(room.homes.get(_THING_NAMES.get(kind, ""), {}) for room in tables.rooms.values())
        numbers = {name: len(rs) for name, rs in self.game.receptacles_of_type.items()}
        total = sum(weight for name, weight in homes.items() if fact_type(name) in numbers) or 1

        def chance(r: int) -> float:
            name = self.game.receptacles[r].type
            weight = homes.get(_RECEPTACLE_NAMES.get(name, ""), 0)
            return weight / total / numbers[name] + _SURPRISE / len(self.game.receptacles)

        return chance

    def _room(self) -> str:
        types = self.game.receptacles_of_type
        return next((room for sign, room in _ROOM_SIGNS if sign in types), "living room")

    # What is known.

    def _away(self, r: int) -> bool:
        return self.game.receptacles[r].location != self.at

    def _reachable(self, r: int) -> bool:
        """Say whether one can reach in without opening; of what was never visited, by its kind."""
        if r in self.engine.seen or not self._away(r):
            return self.engine.is_accessible(r)
        return self.game.receptacles[r].type not in _OPENABLE

    def _delivered(self) -> frozenset[int]:
        """List the targets that are where they should be; only where several are asked for."""
        if self.goal.count == 1:
            return frozenset()
        places = self._destinations()
        return frozenset(o for r in places if len(places) == 1 for o in self.known[r] if o in self.engine.goal_things)

    def _destinations(self) -> list[int]:
        """List where targets may be brought; one only, once the first of several is there."""
        places = list(self.game.receptacles_of_type.get(self.goal.place, ()))
        if self.goal.count > 1:
            begun = [r for r in places if any(o in self.engine.goal_things for o in self.known[r])]
            return begun[:1] or places
        return places


def _merged(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    merged: dict[str, int] = {}
    for table in tables:
        for name, weight in table.items():
            merged[name] = merged.get(name, 0) + weight
    return merged
