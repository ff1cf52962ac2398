"""The part of a household that changes during an episode, and how it is saved and restored.

A saved state holds only what differs from the start of the game, so that a snapshot stays below one kilobyte. It comes
from outside and can be wrong anywhere, therefore ``State.load`` checks every field before it changes anything: a wrong
number would otherwise surface many steps later, in a command or in a plan. The rules of change are in ``engine``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from step_envs.alfworld.games.game import Game

_PROPERTIES = ("clean", "hot", "cool", "sliced", "toggled")
"""Properties of things that commands change; each is a set of things in the state."""


class State:
    """A household at one moment.

    Read the attributes, never write them. Receptacles, things and locations are the numbers that they have in ``game``.

    Attributes:
        game: The household at the start, which never changes.
        location: Location of the agent.
        held: The thing in the agent's hand, or None.
        contents: Receptacle -> things in it.
        opened: Receptacles that are open.
        clean, hot, cool, sliced, toggled: Things with that property.
        places: (thing, location) facts. The rules keep them apart from ``contents``, and the two can disagree.
        taken_from: (thing, receptacle) facts: the thing was taken from there. ``look`` lists things by these facts.
        moved: Things that were taken at least once.
        seen: Receptacles whose contents the agent has observed. No rule uses it; the explorer plans with it.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.begin()

    def begin(self) -> None:
        """Go back to the start of the game."""
        game = self.game
        self.location = game.start
        self.held: int | None = None
        self.contents = [set(things) for things in game.contents]
        self.opened = set(game.opened)
        self.clean = set(game.clean)
        self.hot = set(game.hot)
        self.cool = set(game.cool)
        self.sliced = set(game.sliced)
        self.toggled = set(game.toggled)
        self.places = set(game.places)
        self.taken_from: set[tuple[int, int]] = set()
        self.moved: set[int] = set()
        self.seen: set[int] = set()

    def take_over(self, other: "State") -> None:
        """Go to the state that another household of the same game is in."""
        self.location, self.held = other.location, other.held
        self.contents = list(map(set, other.contents))
        self.opened = set(other.opened)
        self.clean = set(other.clean)
        self.hot = set(other.hot)
        self.cool = set(other.cool)
        self.sliced = set(other.sliced)
        self.toggled = set(other.toggled)
        self.places = set(other.places)
        self.taken_from = set(other.taken_from)
        self.moved = set(other.moved)
        self.seen = set(other.seen)

    def here(self) -> tuple[int, ...]:
        """List the receptacles at the agent's location."""
        return self.game.receptacles_at[self.location]

    def is_accessible(self, r: int) -> bool:
        """Return True if the agent can reach into a receptacle: it has no door, or it is open."""
        return r in self.opened or not self.game.receptacles[r].openable

    def accepts(self, r: int, o: int) -> bool:
        """Return True if things of this type may be put into receptacles of this type."""
        game = self.game
        return game.things[o].type in game.accepts.get(game.receptacles[r].type, ())

    def save(self) -> dict[str, Any]:
        """Return what differs from the start of the game, as a JSON value."""
        moved = sorted(self.moved)
        return {
            "location": self.location,
            "held": self.held,
            "opened": sorted(self.opened),
            "moved": [
                [
                    o,
                    [r for r, things in enumerate(self.contents) if o in things],
                    sorted(place for thing, place in self.places if thing == o),
                ]
                for o in moved
            ],
            "taken_from": sorted(map(list, self.taken_from)),
            "seen": sorted(self.seen),
            "clean": sorted(self.clean),
            "hot": sorted(self.hot),
            "cool": sorted(self.cool),
            "sliced": sorted(self.sliced),
            "toggled": sorted(self.toggled),
        }

    def load(self, saved: Any) -> None:
        """Go to a state that ``save`` returned for the same game, in this process or another.

        Raises:
            ValueError: ``saved`` is not such a state; nothing was changed.
        """
        checked = _read_saved(saved, self.game)
        for o in self.moved | set(checked.moved):
            inside, at = checked.moved.get(o, (None, None))
            for r, there in enumerate(self.contents):
                there.discard(o)
                if o in self.game.contents[r] if inside is None else r in inside:
                    there.add(o)
            self.places -= {fact for fact in self.places if fact[0] == o}
            if at is None:
                self.places |= {fact for fact in self.game.places if fact[0] == o}
            else:
                self.places |= {(o, place) for place in at}
        self.location, self.held = checked.location, checked.held
        self.opened, self.seen, self.taken_from = checked.opened, checked.seen, checked.taken_from
        self.clean, self.hot, self.cool, self.sliced, self.toggled = checked.properties
        self.moved = set(checked.moved)


def saved_commands(saved: Any) -> list[str]:
    """Check a saved state of the original engine and return the commands that lead to it.

    Raises:
        ValueError: ``saved`` is not such a state.
    """
    commands = saved.get("commands") if isinstance(saved, Mapping) else None
    if not isinstance(commands, list) or not all(isinstance(command, str) for command in commands):
        raise ValueError("this is no saved state of the original engine, which is a list of commands")
    return commands


class _SavedState(NamedTuple):
    """A saved state whose every number has been checked against the household.

    Attributes:
        moved: Thing -> receptacles that it is in, and locations that it is at.
        properties: One set of things for each name in ``_PROPERTIES``.
    """

    location: int
    held: int | None
    opened: set[int]
    seen: set[int]
    moved: dict[int, tuple[set[int], set[int]]]
    taken_from: set[tuple[int, int]]
    properties: list[set[int]]


def _read_saved(saved: Any, game: Game) -> _SavedState:
    """Read a saved state and check every field.

    Raises:
        ValueError: A field is missing, has the wrong type, or holds a number that the household does not have.
    """
    if type(saved) is not dict:
        raise ValueError(f"this is no saved state of a household: it must be an object, got {type(saved).__name__}")
    things, receptacles, locations = len(game.things), len(game.receptacles), len(game.locations)

    def field(name: str) -> Any:
        if name not in saved:
            raise ValueError(f"this is no saved state of a household: it has no {name!r}")
        return saved[name]

    moved = {}
    for o, inside, at in _rows(field("moved"), "moved", length=3):
        moved[_number(o, things, "moved")] = (
            _numbers(inside, receptacles, "moved"),
            _numbers(at, locations, "moved"),
        )
    held = None if field("held") is None else _number(field("held"), things, "held")
    if held is not None and held not in moved:
        # Otherwise the thing would be in two places, and a later load would not know that it has to be put back.
        raise ValueError(f"the saved state holds thing {held}, which 'moved' does not list")
    return _SavedState(
        location=_number(field("location"), locations, "location"),
        held=held,
        opened=_numbers(field("opened"), receptacles, "opened"),
        seen=_numbers(field("seen"), receptacles, "seen"),
        moved=moved,
        taken_from={
            (_number(o, things, "taken_from"), _number(r, receptacles, "taken_from"))
            for o, r in _rows(field("taken_from"), "taken_from", length=2)
        },
        properties=[_numbers(field(name), things, name) for name in _PROPERTIES],
    )


def _rows(value: Any, name: str, *, length: int) -> list[list[Any]]:
    """Check that a field is a list of lists of one length."""
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == length for row in value):
        raise ValueError(f"this is no saved state of a household: {name!r} must be a list of lists of {length}")
    return value


def _numbers(value: Any, count: int, name: str) -> set[int]:
    """Check that a field is a list of numbers from 0 to ``count`` - 1."""
    if type(value) is not list:
        raise ValueError(f"this is no saved state of a household: {name!r} must be a list, got {type(value).__name__}")
    return {_number(number, count, name) for number in value}


def _number(value: Any, count: int, name: str) -> int:
    """Check that a value is a number from 0 to ``count`` - 1; JSON's true and false are none."""
    if type(value) is not int:
        raise ValueError(
            f"this is no saved state of a household: {name!r} must hold numbers, got {type(value).__name__}"
        )
    if not 0 <= value < count:
        raise ValueError(f"the saved state names number {value} in {name!r}, which is not in this household")
    return value
