"""The explorer: an expert without privileged knowledge, which opens and looks before it knows where things are.

A plan of the oracle goes straight to a thing in a closed drawer. A model that imitates such plans learns to guess. So this
expert acts on observations only: it knows the furniture (the first observation names it), the contents of every receptacle
that was shown, and where it put things itself. If it knows nothing that helps, it searches, beginning where such things
usually are in official games.

Its step is a function of the engine's state, which remembers what was shown (``Engine.seen``). So it can continue an
episode that another agent began.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.goal import SIMPLE
from step_envs.alfworld.generation.household_statistics import load_statistics
from step_envs.alfworld.generation.vocabulary import OPENABLE, RECEPTACLES, THINGS, fact_type
from step_envs.alfworld.planning.errands import TREAT, appliances, put_command
from step_envs.alfworld.thoughts import Reason

_RECEPTACLE_NAMES = {fact_type(name): name for name in RECEPTACLES}
_THING_NAMES = {fact_type(name): name for name in THINGS}
_OPENABLE = frozenset(map(fact_type, OPENABLE))
_SURPRISE = 0.02
"""Probability that a thing is where none of its type was in official games, shared by all receptacles."""

_ROOM_SIGNS = (("toilettype", "bathroom"), ("bedtype", "bedroom"), ("fridgetype", "kitchen"))
"""Furniture -> the room that it tells; a room without any of it is a living room."""


class ExplorerStep(NamedTuple):
    """A step of the explorer: the action, and why it is taken."""

    action: str
    reason: Reason


def next_step(engine: Engine) -> ExplorerStep | None:
    """Decide the next step from what has been observed.

    Args:
        engine: A game in any state; it is not changed.

    Returns:
        The step; None if the game is won, or if everything was seen and nothing helps.
    """
    return engine.memo.answer("explorer's step", lambda: None if engine.won else _Explorer(engine).decide())


def explore(engine: Engine, limit: int = 200) -> list[str] | None:
    """Play the explorer to the end, in a copy of the game.

    Args:
        engine: A game in any state; it is not changed.
        limit: Steps after which to give up.

    Returns:
        Its actions up to success; None if it does not get there.
    """
    imagined = engine.copy()
    actions: list[str] = []
    while not imagined.won:
        step = next_step(imagined)
        if step is None or len(actions) >= limit:
            return None
        actions.append(step.action)
        imagined.step(step.action)
    return actions


class _Explorer:
    """Decides one step in one state; made anew for every step."""

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

    def decide(self) -> ExplorerStep | None:
        held = self.engine.held
        if held is None:
            return self._get_target()
        if held not in self.engine.goal_things or held in self._delivered():
            return self._clear_hand(held)
        state = self.goal.state
        if state is not None and held not in getattr(self.engine, state):
            return self._treat(held, state)
        return self._light(held) if self.goal.needs_light else self._deliver(held)

    # The next step.

    def _get_target(self) -> ExplorerStep | None:
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

    def _treat(self, o: int, state: str) -> ExplorerStep | None:
        verb, item = TREAT[state], self.game.things[o].name
        places = appliances(self.engine, verb)
        if not places:
            return None
        r = min(places, key=lambda place: (self._away(place), -place))
        command = f"{verb} {item} with {self.game.receptacles[r].name}"
        return self._do_at(r, command, "treat", "treat", item=item, thing=self.thing, verb=verb, state=state)

    def _light(self, o: int) -> ExplorerStep | None:
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

    def _deliver(self, o: int) -> ExplorerStep | None:
        places = [r for r in self._destinations() if self.engine.accepts(r, o)]
        if not places:
            return None
        r = min(places, key=lambda place: (self._away(place), not self._reachable(place), -place))
        return self._put(o, r, "bring", "put")

    def _clear_hand(self, o: int) -> ExplorerStep | None:
        places = [r for r in range(len(self.game.receptacles)) if self.engine.accepts(r, o)]
        if not places:
            return None
        r = min(places, key=lambda place: (self._away(place), not self._reachable(place), -place))
        return self._put(o, r, "clear", "clear")

    def _put(self, o: int, r: int, on_the_way: str, there: str) -> ExplorerStep:
        item = self.game.things[o].name
        return self._do_at(
            r, put_command(self.engine, o, r), on_the_way, there, inside=True, item=item, thing=self.thing
        )

    def _do_at(
        self, r: int, command: str, on_the_way: str, there: str, *, inside: bool = False, **names: str
    ) -> ExplorerStep:
        """Return the first step that is needed to do something at a receptacle: go there, open it, or do it.

        Args:
            r: The receptacle.
            command: What to do there.
            on_the_way: Kind of reason for the steps before, see ``thoughts``.
            there: Kind of reason for the command itself.
            inside: The command reaches into the receptacle, so it must be open.
            **names: What the reason speaks of.
        """
        receptacle = self.game.receptacles[r]
        names["receptacle"] = receptacle.name
        if receptacle.location != self.at:
            going = on_the_way if on_the_way in ("fetch", "bring") else f"{on_the_way} go"
            return ExplorerStep(f"go to {receptacle.name}", Reason(going, **names))
        if inside and not self.engine.is_accessible(r):
            return ExplorerStep(f"open {receptacle.name}", Reason(f"{on_the_way} open", **names))
        return ExplorerStep(command, Reason(there, **names))

    # Search.

    def _search(self, thing: str, kind: str, *, avoid: bool = False) -> ExplorerStep | None:
        """Look into the unseen receptacle with the highest probability of success for each step that it costs.

        Args:
            thing: What to search for, in words.
            kind: Its type.
            avoid: Do not search where the thing has to be brought: if it were there, the task would be done.
        """
        unseen = [r for r in range(len(self.game.receptacles)) if r not in self.engine.seen]
        promising = [r for r in unseen if not avoid or self.game.receptacles[r].type != self.goal.place] or unseen
        if not promising:
            return None
        probability = self._probabilities(kind)
        r = max(promising, key=lambda place: (probability(place) / self._effort(place), place))
        receptacle = self.game.receptacles[r]
        if receptacle.location != self.at:
            kind = "search" if self.engine.seen else "search first"
            return ExplorerStep(f"go to {receptacle.name}", Reason(kind, receptacle=receptacle.name, thing=thing))
        if not self.engine.is_accessible(r):
            return ExplorerStep(
                f"open {receptacle.name}", Reason("search open", receptacle=receptacle.name, thing=thing)
            )
        return ExplorerStep(
            f"examine {receptacle.name}", Reason("search here", receptacle=receptacle.name, thing=thing)
        )

    def _effort(self, r: int) -> int:
        """Estimate the steps that it takes to look into a receptacle, without having been there."""
        if not self._away(r):
            return 1
        return 2 if self.game.receptacles[r].type in _OPENABLE else 1

    def _probabilities(self, kind: str) -> Callable[[int], float]:
        """Return a function from a receptacle to the probability that a thing of this type is in it, by official games."""
        tables = load_statistics()
        homes = tables.rooms[self._room()].homes.get(_THING_NAMES.get(kind, ""), {})
        if not homes:
            homes = _merged(room.homes.get(_THING_NAMES.get(kind, ""), {}) for room in tables.rooms.values())
        numbers = {name: len(rs) for name, rs in self.game.receptacles_of_type.items()}
        total = sum(weight for name, weight in homes.items() if fact_type(name) in numbers) or 1

        def probability(r: int) -> float:
            name = self.game.receptacles[r].type
            weight = homes.get(_RECEPTACLE_NAMES.get(name, ""), 0)
            return weight / total / numbers[name] + _SURPRISE / len(self.game.receptacles)

        return probability

    def _room(self) -> str:
        types = self.game.receptacles_of_type
        return next((room for sign, room in _ROOM_SIGNS if sign in types), "living room")

    # Knowledge.

    def _away(self, r: int) -> bool:
        return self.game.receptacles[r].location != self.at

    def _reachable(self, r: int) -> bool:
        """Return True if the agent can reach in without opening; a receptacle never visited is judged by its type."""
        if r in self.engine.seen or not self._away(r):
            return self.engine.is_accessible(r)
        return self.game.receptacles[r].type not in _OPENABLE

    def _delivered(self) -> frozenset[int]:
        """List the goal things that are already in place; none unless the task asks for two."""
        if self.goal.count == 1:
            return frozenset()
        places = self._destinations()
        return frozenset(o for r in places if len(places) == 1 for o in self.known[r] if o in self.engine.goal_things)

    def _destinations(self) -> list[int]:
        """List the receptacles that a thing may be brought to: the one that holds the first of two, else all of a type."""
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
