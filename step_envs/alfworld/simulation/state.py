"""What can change in a household, and how it is saved and restored. The rules of change are in ``engine``."""

from typing import Any

from step_envs.alfworld.games.game import Game


class State:
    """A household as it is at one moment.

    Attributes are to be read, never written. Receptacles, things and locations are the numbers they have in ``game``.

    Attributes:
        game: What never changes.
        location: Where the agent is.
        held: The thing in its hand.
        contents: Receptacle -> things in it.
        opened: Receptacles that are open.
        clean, hot, cool, sliced, toggled: Things in that state.
        places: (thing, location) facts. The rules keep them apart from ``contents``, and the two can disagree.
        taken_from: (thing, receptacle) facts that say outright that the thing is not there: it was taken. ``look`` lists by
            them.
        moved: Things that were ever taken.
        seen: Receptacles whose contents the player has been shown. No rule asks for it: it is what an explorer knows.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.begin()

    def begin(self) -> None:
        """Put everything to where it is at the start of the game."""
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

    def here(self) -> tuple[int, ...]:
        """List the receptacles at the agent's location."""
        return self.game.receptacles_at[self.location]

    def is_accessible(self, r: int) -> bool:
        """Say whether one can reach into a receptacle: it cannot be closed, or it is open."""
        return r in self.opened or not self.game.receptacles[r].openable

    def accepts(self, r: int, o: int) -> bool:
        """Say whether a thing of this type may be put into a receptacle of this type."""
        game = self.game
        return game.things[o].type in game.accepts.get(game.receptacles[r].type, ())

    def save(self) -> dict[str, Any]:
        """Give the state as a small JSON value: what differs from the start of the game."""
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

    def load(self, saved: dict[str, Any]) -> None:
        """Go back to a state that ``save`` gave for the same game, in this process or another.

        Raises:
            ValueError: This is no such state.
        """
        things, receptacles, locations = (
            range(len(self.game.things)),
            range(len(self.game.receptacles)),
            range(len(self.game.locations)),
        )
        try:
            location, held = saved["location"], saved["held"]
            moved = {o: (set(inside), set(at)) for o, inside, at in saved["moved"]}
            opened, seen = set(saved["opened"]), set(saved["seen"])
            taken_from = {(o, r) for o, r in saved["taken_from"]}
            states = [set(saved[name]) for name in ("clean", "hot", "cool", "sliced", "toggled")]
            fits = (
                location in locations
                and (held is None or held in things)
                and all(o in things for o in moved)
                and all(r in receptacles for inside, _ in moved.values() for r in inside)
                and all(place in locations for _, at in moved.values() for place in at)
                and all(r in receptacles for r in opened | seen)
                and all(o in things and r in receptacles for o, r in taken_from)
                and all(o in things for state in states for o in state)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"This is no saved state of a household: {error!r}.") from error
        if not fits:
            raise ValueError("This saved state speaks of things that are not in this household.")
        for o in self.moved | set(moved):
            inside, at = moved.get(o, (None, None))
            for r, there in enumerate(self.contents):
                there.discard(o)
                if o in self.game.contents[r] if inside is None else r in inside:
                    there.add(o)
            self.places -= {fact for fact in self.places if fact[0] == o}
            if at is None:
                self.places |= {fact for fact in self.game.places if fact[0] == o}
            else:
                self.places |= {(o, place) for place in at}
        self.location, self.held, self.opened, self.seen, self.taken_from = location, held, opened, seen, taken_from
        self.clean, self.hot, self.cool, self.sliced, self.toggled = states
        self.moved = set(moved)
