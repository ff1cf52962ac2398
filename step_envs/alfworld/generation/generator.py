"""Generates households: a new one for every seed, furnished like the official ones, in their vocabulary, and solvable.

The official games need a download; generated ones are there at once and never run out. A household is a layout (which
furniture stands where), things in it, and a task, all decided by the seed. The seed also decides the split:
``valid_seen`` takes layouts of ``train`` and puts other things into them, ``valid_unseen`` has layouts of its own.
Furnishing at random would give rooms that no official game has, so every choice is drawn from counts over the official
games (``household_statistics``). A small household has a few receptacles of a full one, for models and studies that
cannot afford full size.

The order of the draws is part of the result: a task id must give the same household in every release.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

from step_envs.alfworld.games.goal import CLEAN, COOL, HEAT, LOOK, SIMPLE, TWO
from step_envs.alfworld.generation.household import Furniture, Household, HouseholdSize, Item, Layout
from step_envs.alfworld.generation.household_statistics import LOOSE, load_statistics, weighted_choice
from step_envs.alfworld.generation.task_ids import split_of_seed
from step_envs.alfworld.generation.vocabulary import ACCEPTS, FIXED, OPENABLE, VESSELS

LAYOUTS = 10_000
"""Number of layouts of each kind of room that train and valid_seen share; valid_unseen has as many others."""

SMALL_FURNITURE = range(4, 8)
"""Numbers of receptacles that a small household can have, no two of a kind."""

SMALL_THINGS = range(4, 9)
"""Numbers of things that a small household can have, no two of a kind; the task can add two of one kind."""

_APPLIANCES = {CLEAN: "SinkBasin", HEAT: "Microwave", COOL: "Fridge"}
_SENTENCES = {
    SIMPLE: ("put a {target} in {place}.", "put some {target} on {place}."),
    LOOK: ("look at {target} under the {place}.", "examine the {target} with the {place}."),
    CLEAN: ("put a clean {target} in {place}.", "clean some {target} and put it in {place}."),
    HEAT: ("put a hot {target} in {place}.", "heat some {target} and put it in {place}."),
    COOL: ("put a cool {target} in {place}.", "cool some {target} and put it in {place}."),
    TWO: ("put two {target} in {place}.", "find two {target} and put them in {place}."),
}
_NEARBY, _TURNS = range(-2, 3), range(4)
"""Quarters of a metre between a thing and where one stands to reach it; directions to look in."""
_TILTS = (-30, 0, 15, 30, 45, 60)
"""How far official agents look up or down at a location, in degrees."""
# Things that are put inside a pot, a bowl or a mug. Two households in three have such a pair in one receptacle; with this
# chance, one household in five has a thing inside another, about as many as among official games.
_INNER = frozenset({"Pot", "Pan", "Spatula", "Knife", "ButterKnife", "Fork", "Spoon", "Pen", "Pencil", "Newspaper"})
_INNER_CHANCE = 0.34


def generate_household(task_type: str, seed: int, size: HouseholdSize = "full") -> Household:
    """Make the household of a task type, a seed and a size; the same arguments always give the same household.

    Args:
        task_type: One of ``goal.TASK_TYPES``.
        seed: A number in one of the ranges ``task_ids.SEEDS``.
        size: ``"full"`` or ``"small"``.
    """
    first = LAYOUTS if split_of_seed(seed) == "valid_unseen" else 0
    layout, goals = _choose_layout(task_type, first, seed % LAYOUTS, size)
    rng = random.Random(f"{'household' if size == 'full' else 'small household'}/{task_type}/{seed}")
    target, place = rng.choices([pair for pair, _ in goals], [weight for _, weight in goals])[0]
    builder = _Furnisher(layout, rng)
    if size == "full":
        builder.furnish()
    else:
        builder.furnish_sparsely(avoid=target)
    builder.prepare(task_type, target, place)
    sentence = rng.choice(_SENTENCES[task_type]).format(target=target.lower(), place=place.lower())
    return Household(task_type, seed, layout, tuple(builder.finish()), target, place, sentence, size)


@lru_cache(maxsize=256)
def _choose_layout(
    task_type: str, first: int, number: int, size: HouseholdSize
) -> tuple[Layout, tuple[tuple[tuple[str, str], int], ...]]:
    """Choose the layout for a task type and a number, and find the official goals that are possible there.

    The seed has no influence beyond that number, so that ``train`` and ``valid_seen`` share their rooms.

    Args:
        task_type: One of ``goal.TASK_TYPES``.
        first: Number of the first layout of the split.
        number: Which of the split's layouts to try first; the next ones are tried where it does not suit.
        size: ``"full"`` or ``"small"``.

    Returns:
        The layout, and ((target type, place type), weight) of every goal.
    """
    for attempt in range(LAYOUTS):
        tried = first + (number + attempt) % LAYOUTS
        room = load_statistics().room_for(task_type, random.Random(f"room/{task_type}/{tried}"))
        needed = _APPLIANCES.get(task_type, "GarbageCan")
        layout = make_layout(room, tried)
        if needed not in {piece.type for piece in layout.furniture}:
            continue
        if size == "small":
            layout = _take_few(layout, _APPLIANCES.get(task_type))
        types = {piece.type for piece in layout.furniture}
        homes = load_statistics().rooms[room].homes
        goals = []
        for (target, place), weight in load_statistics().goals[task_type][room].items():
            if task_type == LOOK:
                possible = any(home in types for home in homes[place])
            else:
                possible = place in types and target in ACCEPTS[place]
            elsewhere = any(home in types and home != place for home in homes.get(target, ()))
            if possible and elsewhere and target not in FIXED:
                goals.append(((target, place), weight))
        if goals:
            return layout, tuple(goals)
    raise AssertionError(f"no layout suits {task_type}")  # pragma: no cover (about every second layout suits)


def _take_few(layout: Layout, needed: str | None) -> Layout:
    """Keep a few receptacles of a layout, no two of a kind, with one of the kind that the task needs among them."""
    rng = random.Random(f"corner/{layout.room}/{layout.number}/{needed}")
    kinds = sorted({piece.type for piece in layout.furniture} - {needed})
    chosen = rng.sample(kinds, min(rng.choice(SMALL_FURNITURE) - (needed is not None), len(kinds)))
    kept = [kind for kind in (needed, *chosen) if kind is not None]
    return replace(layout, furniture=tuple(layout.of_type(kind)[0] for kind in sorted(kept)))


def make_layout(room: str, number: int) -> Layout:
    """Put furniture into an empty room; the same kind and number always give the same layout."""
    rng = random.Random(f"layout/{room}/{number}")
    table = load_statistics().rooms[room]
    spots = _FreeSpots(rng)
    furniture: list[Furniture] = []
    for name in sorted(table.receptacles):
        for _ in range(table.receptacles[name].draw(rng)):
            neighbour = furniture[-1] if furniture and furniture[-1].type == name else None
            x, y, z = spots.position(height=rng.uniform(0.0, 1.8))
            # Official drawers and cabinets often stand side by side and are opened from one location.
            shares = neighbour is not None and rng.random() < 1.4 * table.shared_place
            place = neighbour.place if neighbour is not None and shares else spots.place(x, z)
            openable = name in OPENABLE and rng.random() < load_statistics().openable[name]
            furniture.append(Furniture(_receptacle_id(name, x, y, z), name, place, openable, (x, y, z)))
    return Layout(room, number, tuple(furniture), spots.place(rng.uniform(-2, 2), rng.uniform(-2, 2)))


class _Furnisher:
    """Puts things into a layout."""

    def __init__(self, layout: Layout, rng: random.Random) -> None:
        self.layout = layout
        self.rng = rng
        self.room = load_statistics().rooms[layout.room]
        self.pieces = {piece.type: layout.of_type(piece.type) for piece in layout.furniture}
        self.items: list[Item] = []
        self.spots = _FreeSpots(rng, taken={piece.place for piece in layout.furniture} | {layout.start})
        self._homes: dict[tuple[str, str | None, bool], tuple[list[str], list[int]]] = {}

    def furnish(self) -> None:
        """Place as many things of each type as official rooms of this kind have."""
        for name in sorted(self.room.things):
            for _ in range(self.room.things[name].draw(self.rng)):
                self.add(name)

    def furnish_sparsely(self, *, avoid: str) -> None:
        """Place a few things in receptacles, no two of a type and none of the type ``avoid``."""
        here = {name: sum(table.weights[1:]) for name, table in sorted(self.room.things.items()) if name != avoid}
        wanted = self.rng.choice(SMALL_THINGS)
        while here and len(self.items) < wanted:
            name = weighted_choice(here, self.rng)
            del here[name]
            self.add(name, loose=False)

    def add(self, name: str, *, avoid: str | None = None, loose: bool = True) -> None:
        """Place one thing where official games have things of its type, or nothing if the layout has no such place.

        Args:
            name: Its type.
            avoid: A type of receptacle that it must not be placed in.
            loose: It may stand by itself, in no receptacle.
        """
        homes, cumulative = self._homes_of(name, avoid, loose)
        if not homes:
            return
        home = self.rng.choices(homes, cum_weights=cumulative)[0]
        piece = self.rng.choice(self.pieces[home]) if home != LOOSE else None
        if piece is None:
            x, y, z = self.spots.position(height=self.rng.uniform(0.0, 2.0))
            place = self.spots.place(x, z)
        else:
            x, y, z = self.spots.position(near=piece.position)
            place = piece.place
        cold = self.rng.random() < load_statistics().cold.get(name, 0.0)
        self.items.append(Item(_id(name, x, y, z), name, piece, place, cold))

    def _homes_of(self, name: str, avoid: str | None, loose: bool) -> tuple[list[str], list[int]]:
        """Return where things of a type can be placed here, and the sum of the weights up to each place."""
        found = self._homes.get((name, avoid, loose))
        if found is None:
            homes = {
                home: weight
                for home, weight in self.room.homes[name].items()
                if home != avoid and (home in self.pieces or (home == LOOSE and loose))
            }
            found = self._homes[name, avoid, loose] = (list(homes), list(accumulate(homes.values())))
        return found

    def prepare(self, task_type: str, target: str, place: str) -> None:
        """Move, add or change things so that the task can be done and is not done yet."""
        needed = 2 if task_type == TWO else 1
        if task_type != LOOK:
            done = [i for i in self.items if i.type == target and i.home is not None and i.home.type == place]
            self.items = [i for i in self.items if i not in done]
            for _ in done:
                self.add(target, avoid=place, loose=False)
        if task_type == COOL:
            self.items = [replace(i, cold=False) if i.type == target else i for i in self.items]
        while sum(i.type == target and i.home is not None for i in self.items) < needed:
            self.add(target, avoid=place, loose=False)
        if task_type == LOOK and not any(i.type == place and i.home is not None for i in self.items):
            self.add(place, loose=False)

    def finish(self) -> Iterator[Item]:
        """Yield all things; in some households, one of them is now inside another."""
        vessels = [i for i in self.items if i.type in VESSELS and i.home is not None]
        pairs = [(v, i) for v in vessels for i in self.items if i.home is v.home and i is not v and i.type in _INNER]
        chosen = self.rng.choice(pairs) if pairs and self.rng.random() < _INNER_CHANCE else None
        for item in self.items:
            yield replace(item, inside=chosen[0].id) if chosen is not None and item is chosen[1] else item


class _FreeSpots:
    """Finds positions and locations that nothing else in the household has."""

    def __init__(self, rng: random.Random, taken: set[str] | None = None) -> None:
        self._rng = rng
        self._positions: set[tuple[float, float, float]] = set()
        self._places = set(taken or ())

    def position(
        self, *, near: tuple[float, float, float] | None = None, height: float = 0.0
    ) -> tuple[float, float, float]:
        """Find a free position (x, height, z in metres), close to another one where ``near`` is given."""
        uniform = self._rng.uniform
        while True:
            if near is None:
                spot = (round(uniform(-4, 4), 2), round(height, 2), round(uniform(-4, 4), 2))
            else:
                x, y, z = near
                # Drawn one after the other, in this order.
                x, y, z = x + uniform(-0.4, 0.4), y + uniform(-0.4, 0.4), z + uniform(-0.4, 0.4)
                spot = (round(x, 2), round(abs(y), 2), round(z, 2))
            if spot not in self._positions:
                self._positions.add(spot)
                return spot

    def place(self, x: float, z: float) -> str:
        """Find the id of a free location to stand at, close to a position."""
        choice = self._rng.choice
        while True:
            # choice() draws as randint() does, in half the time.
            across, along = round(4 * x) + choice(_NEARBY), round(4 * z) + choice(_NEARBY)
            turn, tilt = choice(_TURNS), choice(_TILTS)
            name = f"loc_bar_{_whole(across)}_bar_{_whole(along)}_bar_{turn}_bar_{_whole(tilt)}"
            if name not in self._places:
                self._places.add(name)
                return name


def _whole(number: int) -> str:
    """Write a whole number as ids of locations have it."""
    return f"_minus_{-number}" if number < 0 else str(number)


def _id(name: str, x: float, y: float, z: float) -> str:
    numbers = f"_bar_{_signed(x)}_bar_{_signed(y)}_bar_{_signed(z)}"
    return name + numbers.replace(".", "_dot_")


def _signed(number: float) -> str:
    return f"_minus_{-number:05.2f}" if number < 0 else f"_plus_{abs(number):05.2f}"


def _receptacle_id(name: str, x: float, y: float, z: float) -> str:
    if name in ("SinkBasin", "BathtubBasin"):
        return f"{_id(name.removesuffix('Basin'), x, y, z)}_bar_{name}"
    return _id(name, x, y, z)
