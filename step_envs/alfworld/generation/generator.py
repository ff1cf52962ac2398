"""Makes up households: new ones for every seed, in the official vocabulary, furnished as official ones are, and solvable.

A household is a layout (which furniture, where), things in it, and a task. The seed decides all three, and its
range the split: ``valid_seen`` uses the layouts of ``train`` with other things in them, ``valid_unseen`` layouts of
its own. A full household is as large as official ones; a small one is a corner of a full one, for models and studies
that cannot afford those.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

from step_envs.alfworld.games.goal import CLEAN, COOL, HEAT, LOOK, SIMPLE, TASK_TYPES, TWO, Goal, make_goal
from step_envs.alfworld.generation.households import LOOSE, Room, draw, statistics
from step_envs.alfworld.generation.vocabulary import ACCEPTS, FIXED, OPENABLE, VESSELS, fact_type
from step_envs.errors import unknown_name

SEEDS = {
    "train": range(1_000_000),
    "valid_seen": range(1_000_000, 2_000_000),
    "valid_unseen": range(2_000_000, 3_000_000),
}
"""The seeds of each split."""

LAYOUTS = 10_000
"""How many layouts of each kind train and valid_seen share; valid_unseen has as many others."""

Size = Literal["full", "small"]

SIZES: tuple[Size, ...] = ("full", "small")
"""How large a household is: as official ones are, or a corner of such a one."""

SMALL_FURNITURE = range(4, 8)
"""How many receptacles a small household has, no two of a kind."""

SMALL_THINGS = range(4, 9)
"""How many things lie about in a small household, no two of a kind; the task can add two of one kind."""

_ORIGINS: dict[str, Size] = {"generated": "full", "generated-small": "small"}
_APPLIANCES = {CLEAN: "SinkBasin", HEAT: "Microwave", COOL: "Fridge"}
_SENTENCES = {
    SIMPLE: ("put a {target} in {place}.", "put some {target} on {place}."),
    LOOK: ("look at {target} under the {place}.", "examine the {target} with the {place}."),
    CLEAN: ("put a clean {target} in {place}.", "clean some {target} and put it in {place}."),
    HEAT: ("put a hot {target} in {place}.", "heat some {target} and put it in {place}."),
    COOL: ("put a cool {target} in {place}.", "cool some {target} and put it in {place}."),
    TWO: ("put two {target} in {place}.", "find two {target} and put them in {place}."),
}
# What lies inside a pot, a bowl, a mug: mostly these. Two households in three have a pair that could; with this
# chance one in five has one that does, about as many as among official ones.
_INNER = frozenset({"Pot", "Pan", "Spatula", "Knife", "ButterKnife", "Fork", "Spoon", "Pen", "Pencil", "Newspaper"})
_INNER_CHANCE = 0.34


@dataclass(frozen=True, slots=True)
class Furniture:
    """A receptacle of a layout: its id, its type, the id of the place it is reached from, whether it is closed."""

    id: str
    type: str
    place: str
    openable: bool
    position: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Item:
    """A thing of a household. ``home`` is the receptacle it is in or on, None for what stands by itself."""

    id: str
    type: str
    home: Furniture | None
    place: str
    cold: bool = False
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A room: its kind, its number, its furniture, and the place where the agent begins."""

    room: str
    number: int
    furniture: tuple[Furniture, ...]
    start: str

    def of_type(self, name: str) -> list[Furniture]:
        """List the furniture of a type."""
        return [piece for piece in self.furniture if piece.type == name]


@dataclass(frozen=True)
class Household:
    """A room full of things, and a task in it. Types are spelled as in ``vocabulary``."""

    task_type: str
    seed: int
    layout: Layout
    items: tuple[Item, ...]
    target: str
    place: str
    sentence: str
    size: Size = "full"
    goal: Goal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "goal", make_goal(self.task_type, fact_type(self.target), fact_type(self.place)))

    def game_file(self) -> str:
        """Write it as the text of a ``game.tw-pddl``, with a shortest walkthrough."""
        from step_envs.alfworld.generation.writer import write_game

        return write_game(self)


class TaskName(NamedTuple):
    """What the id of a generated task says."""

    task_type: str
    seed: int
    size: Size


def task_id(task_type: str, seed: int, size: Size = "full") -> str:
    """Name a generated task: ``generated/<type>/<seed>``, or ``generated-small/<type>/<seed>``."""
    origin = next(name for name, made in _ORIGINS.items() if made == size)
    return f"{origin}/{task_type}/{seed}"


def parse_task_id(name: str) -> TaskName:
    """Take the id of a generated task apart.

    Raises:
        UnknownNameError: It is no such id.
    """
    parts = name.split("/")
    if len(parts) == 3 and parts[0] in _ORIGINS and parts[1] in TASK_TYPES and parts[2].isdecimal():
        seed = int(parts[2])
        if str(seed) == parts[2] and any(seed in seeds for seeds in SEEDS.values()):
            return TaskName(parts[1], seed, _ORIGINS[parts[0]])
    raise unknown_name("task", name, [task_id(task_type, 0, size) for size in SIZES for task_type in TASK_TYPES])


def split_of(seed: int) -> str:
    """Name the split that a seed belongs to.

    Raises:
        ValueError: It belongs to none.
    """
    for split, seeds in SEEDS.items():
        if seed in seeds:
            return split
    raise ValueError(f"Seeds go from 0 to {SEEDS['valid_unseen'].stop - 1}, got {seed}.")


def generate(task_type: str, seed: int, size: Size = "full") -> Household:
    """Make the household of a task type, a seed and a size: always the same one.

    Args:
        task_type: One of ``goal.TASK_TYPES``.
        seed: A number in one of the ranges ``SEEDS``.
        size: One of ``SIZES``.
    """
    first = LAYOUTS if split_of(seed) == "valid_unseen" else 0
    layout, goals = _site(task_type, first, seed % LAYOUTS, size)
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
def _site(
    task_type: str, first: int, number: int, size: Size
) -> tuple[Layout, tuple[tuple[tuple[str, str], int], ...]]:
    """Find the layout for a task type and a number, and the official goals that can be set there.

    It does not depend on the seed beyond that number: so ``train`` and ``valid_seen`` meet in the same rooms.
    """
    for attempt in range(LAYOUTS):
        tried = first + (number + attempt) % LAYOUTS
        room = statistics().room_for(task_type, random.Random(f"room/{task_type}/{tried}"))
        needed = _APPLIANCES.get(task_type, "GarbageCan")
        layout = make_layout(room, tried)
        if needed not in {piece.type for piece in layout.furniture}:
            continue
        if size == "small":
            layout = _corner(layout, _APPLIANCES.get(task_type))
        types = {piece.type for piece in layout.furniture}
        homes = statistics().rooms[room].homes
        goals = []
        for (target, place), weight in statistics().goals[task_type][room].items():
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


def _corner(layout: Layout, needed: str | None) -> Layout:
    """Take a few pieces out of a layout, no two of a kind, one of the kind that is needed among them."""
    rng = random.Random(f"corner/{layout.room}/{layout.number}/{needed}")
    kinds = sorted({piece.type for piece in layout.furniture} - {needed})
    chosen = rng.sample(kinds, min(rng.choice(SMALL_FURNITURE) - (needed is not None), len(kinds)))
    kept = [kind for kind in (needed, *chosen) if kind is not None]
    return replace(layout, furniture=tuple(layout.of_type(kind)[0] for kind in sorted(kept)))


def make_layout(room: str, number: int) -> Layout:
    """Furnish an empty room: always the same for the same kind and number."""
    rng = random.Random(f"layout/{room}/{number}")
    table = statistics().rooms[room]
    spots = _Spots(rng)
    furniture: list[Furniture] = []
    for name in sorted(table.receptacles):
        for _ in range(rng.choices(*table.receptacles[name])[0]):
            neighbour = furniture[-1] if furniture and furniture[-1].type == name else None
            x, y, z = spots.position(height=rng.uniform(0.0, 1.8))
            # Official drawers and cabinets are often side by side and opened from one place.
            shares = neighbour is not None and rng.random() < 1.4 * table.shared_place
            place = neighbour.place if neighbour is not None and shares else spots.place(x, z)
            openable = name in OPENABLE and rng.random() < statistics().openable[name]
            furniture.append(Furniture(_receptacle_id(name, x, y, z), name, place, openable, (x, y, z)))
    return Layout(room, number, tuple(furniture), spots.place(rng.uniform(-2, 2), rng.uniform(-2, 2)))


class _Furnisher:
    """Puts things into a layout."""

    def __init__(self, layout: Layout, rng: random.Random) -> None:
        self.layout = layout
        self.rng = rng
        self.room: Room = statistics().rooms[layout.room]
        self.types = {piece.type for piece in layout.furniture}
        self.items: list[Item] = []
        self.spots = _Spots(rng, taken={piece.place for piece in layout.furniture} | {layout.start})

    def furnish(self) -> None:
        """Place things as they are in official households of this kind."""
        for name in sorted(self.room.things):
            for _ in range(self.rng.choices(*self.room.things[name])[0]):
                self.add(name)

    def furnish_sparsely(self, *, avoid: str) -> None:
        """Place a few things in receptacles, no two of a kind and none of the kind ``avoid``."""
        here = {name: sum(weights[1:]) for name, (_, weights) in sorted(self.room.things.items()) if name != avoid}
        wanted = self.rng.choice(SMALL_THINGS)
        while here and len(self.items) < wanted:
            name = draw(here, self.rng)
            del here[name]
            self.add(name, loose=False)

    def add(self, name: str, *, avoid: str | None = None, loose: bool = True) -> None:
        """Place one thing where its kind usually is, not in the receptacle type ``avoid``."""
        homes = {
            home: weight
            for home, weight in self.room.homes[name].items()
            if home != avoid and (home in self.types or (home == LOOSE and loose))
        }
        if not homes:
            return
        home = draw(homes, self.rng)
        piece = self.rng.choice(self.layout.of_type(home)) if home != LOOSE else None
        if piece is None:
            x, y, z = self.spots.position(height=self.rng.uniform(0.0, 2.0))
            place = self.spots.place(x, z)
        else:
            x, y, z = self.spots.position(near=piece.position)
            place = piece.place
        cold = self.rng.random() < statistics().cold.get(name, 0.0)
        self.items.append(Item(_id(name, x, y, z), name, piece, place, cold))

    def prepare(self, task_type: str, target: str, place: str) -> None:
        """Make the task possible and not yet done."""
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
        """Lay one thing inside another here and there, and hand all of them out."""
        vessels = [i for i in self.items if i.type in VESSELS and i.home is not None]
        pairs = [(v, i) for v in vessels for i in self.items if i.home is v.home and i is not v and i.type in _INNER]
        chosen = self.rng.choice(pairs) if pairs and self.rng.random() < _INNER_CHANCE else None
        for item in self.items:
            yield replace(item, inside=chosen[0].id) if chosen is not None and item is chosen[1] else item


class _Spots:
    """Hands out positions and places that nothing else has."""

    def __init__(self, rng: random.Random, taken: set[str] | None = None) -> None:
        self._rng = rng
        self._positions: set[tuple[float, float, float]] = set()
        self._places = set(taken or ())

    def position(
        self, *, near: tuple[float, float, float] | None = None, height: float = 0.0
    ) -> tuple[float, float, float]:
        """Find a free position in metres, close to another one where that is given."""
        while True:
            if near is None:
                spot = (round(self._rng.uniform(-4, 4), 2), round(height, 2), round(self._rng.uniform(-4, 4), 2))
            else:
                x, y, z = (value + self._rng.uniform(-0.4, 0.4) for value in near)
                spot = (round(x, 2), round(abs(y), 2), round(z, 2))
            if spot not in self._positions:
                self._positions.add(spot)
                return spot

    def place(self, x: float, z: float) -> str:
        """Find a free place to stand at, close to a position."""
        while True:
            numbers = (
                round(4 * x) + self._rng.randint(-2, 2),
                round(4 * z) + self._rng.randint(-2, 2),
                self._rng.randint(0, 3),
                self._rng.choice((-30, 0, 15, 30, 45, 60)),
            )
            name = "_bar_".join(("loc", *(f"_minus_{-n}" if n < 0 else str(n) for n in numbers)))
            if name not in self._places:
                self._places.add(name)
                return name


def _id(name: str, x: float, y: float, z: float) -> str:
    numbers = (f"{'_minus_' if n < 0 else '_plus_'}{abs(n):05.2f}".replace(".", "_dot_") for n in (x, y, z))
    return "_bar_".join((name, *numbers))


def _receptacle_id(name: str, x: float, y: float, z: float) -> str:
    if name in ("SinkBasin", "BathtubBasin"):
        return f"{_id(name.removesuffix('Basin'), x, y, z)}_bar_{name}"
    return _id(name, x, y, z)
