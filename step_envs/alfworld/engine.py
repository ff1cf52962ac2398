"""The engine: carries out commands in a household, lists those that are possible, and tells whether the task is won.

The original engine interprets PDDL and takes a tenth of a second for a step. All official games have the same few rules,
so here they are written as code; ``games.releases`` makes sure that a game has these rules and no others. The rules have
quirks: a receptacle is never too full, appliances work while closed, a lamp can be turned on but not off, a thing can only
be examined in the hand, and the agent cannot go to where it already is. Text that is no command, and a command whose
precondition fails, is answered with ``Nothing happens.`` and changes nothing.
"""

from collections.abc import Callable, Mapping
from copy import copy
from functools import lru_cache
from typing import Any

from typing_extensions import override

from step_envs.alfworld.games.game import Game
from step_envs.alfworld.games.releases import Release
from step_envs.alfworld.simulation import text
from step_envs.alfworld.simulation.admissible import COOLERS, HEATERS, KNIVES, possible_commands
from step_envs.alfworld.simulation.goal_check import find_goal_things, goal_holds
from step_envs.alfworld.simulation.state import State, saved_commands
from step_envs.alfworld.simulation.state_memo import StateMemo


class Engine(State):
    """Plays one game.

    Args:
        game: The household and its task.
        put_alias: Accept both ``put X in/on Y`` and ``move X to Y``, not only the one that the game's release has. The
            answer keeps the game's wording, and ``admissible()`` lists the game's own command only.

    Attributes:
        goal_things: Things that the goal can be reached with.
        accepted: The last command was understood and its precondition held.
        revealed: The last command showed the contents of a receptacle for the first time.
        last_command: The last command, as it was given.
        memo: Answers about the present state; another object as soon as the state changes.
    """

    def __init__(self, game: Game, *, put_alias: bool = False) -> None:
        super().__init__(game)
        self._put_alias = put_alias
        self._sinks = game.release.cleaning_types
        self._commands = _commands_of(game.release, put_alias)
        self._standing_commands: dict[int, list[str]] = {}
        self.goal_things = find_goal_things(game)
        self.memo = StateMemo()
        self._shown: dict[int, str] = {}
        self._forget()

    # Life of a game.

    def reset(self) -> str:
        """Go to the start of the game and return the first observation, which names the receptacles and the task."""
        self.begin()
        self._forget()
        # In official games the agent begins at a location without furniture and is told about the whole room.
        around = self._look("") if self.here() else text.room_overview(self.game.receptacle_names)
        return text.first_observation(around or "", self.game.task)

    def step(self, command: str) -> str:
        """Carry out a command.

        Args:
            command: Any string. White space around it is ignored; otherwise it must match exactly.

        Returns:
            The observation.
        """
        known, before = len(self.seen), self.memo
        self.last_command = command
        verb, _, rest = command.strip().partition(" ")
        do = self._commands.get(verb)
        answer = None if do is None else do(self, rest)
        if answer is None:
            self.accepted = self.revealed = False
            return text.NOTHING_HAPPENS
        self.accepted = True
        self.revealed = len(self.seen) > known
        if self.memo is not before:
            self.memo = before.after(command, self.memo)
        return answer

    @override
    def load(self, saved: Any) -> None:
        if isinstance(saved, Mapping) and "commands" in saved:  # saved by the original engine
            commands = saved_commands(saved)
            self.reset()
            for command in commands:
                self.step(command)
            return
        super().load(saved)
        self._forget()

    @override
    def take_over(self, other: State) -> None:
        super().take_over(other)
        self._forget()
        if isinstance(other, Engine):
            self.memo, self._shown = other.memo, dict(other._shown)
            self._standing_commands = other._standing_commands

    def copy(self) -> "Engine":
        """Return a separate engine in the same state, to imagine steps with."""
        twin = copy(self)
        twin.take_over(self)
        return twin

    # Questions about the state.

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""
        if self.memo.won is None:
            self.memo.won = goal_holds(self, self.goal_things)
        return self.memo.won

    @property
    def score(self) -> float:
        """1.0 when the goal holds, else 0.0."""
        return 1.0 if self.won else 0.0

    def admissible(self) -> list[str]:
        """List the commands that would be accepted now, sorted as strings."""
        if self.memo.admissible is None:
            self.memo.admissible = tuple(possible_commands(self, self._standing_commands))
        return list(self.memo.admissible)

    # Commands. Each returns its answer, or None where its precondition fails.

    def _look(self, rest: str) -> str | None:
        if rest:
            return None
        here = self.here()
        if not here:
            return text.room_overview(())
        game = self.game
        floor = sorted((o, r) for o, r in self.taken_from if r in here and (o, self.location) in self.places)
        return text.view_from_here(
            [self.game.receptacle_names[r] for r in here], [game.things[o].name for o, _ in floor]
        )

    def _inventory(self, rest: str) -> str | None:
        if rest:
            return None
        return (
            text.NOT_CARRYING if self.held is None else f"You are carrying: {self.game.things_with_article[self.held]}."
        )

    def _help(self, rest: str) -> str | None:
        return None if rest else text.HELP

    def _go(self, rest: str) -> str | None:
        if not rest.startswith("to "):
            return None
        r = self.game.receptacle_by_name.get(rest[3:])
        if r is None:
            return None
        location = self.game.receptacles[r].location
        if location == self.location:
            return None
        self.location = location
        self._changed()
        name = self.game.location_names[location] if self.game.release.arrives_at_place else rest[3:]
        return f"You arrive at {name}. {self._show(r)}"

    def _examine(self, rest: str) -> str | None:
        r = self.game.receptacle_by_name.get(rest)
        if r is not None:
            return self._show(r) if self.game.receptacles[r].location == self.location else None
        o = self.game.thing_by_name.get(rest)
        if o is None or o != self.held:
            return None
        thing = self.game.things[o]
        if thing.holds_things:
            inner = text.join_names([self.game.things_with_article[i] for i in self.game.inside.get(o, ())])
            return f"This is a normal {thing.name}. In it, you see {inner}."
        return text.condition_of(
            thing.name,
            clean=o in self.clean,
            hot=o in self.hot,
            cool=o in self.cool,
            sliced=o in self.sliced,
            lamp=thing.toggleable,
            lit=o in self.toggled,
        )

    def _open(self, rest: str) -> str | None:
        r = self._receptacle_here(rest)
        if r is None or r in self.opened or not self.game.receptacles[r].openable:
            return None
        self.opened.add(r)
        self._changed(r)
        return f"You open the {rest}. {self._show(r)}"

    def _close(self, rest: str) -> str | None:
        r = self._receptacle_here(rest)
        if r is None or r not in self.opened or not self.game.receptacles[r].openable:
            return None
        self.opened.discard(r)
        self._changed(r)
        return f"You close the {rest}."

    def _take(self, rest: str) -> str | None:
        if self.held is not None:
            return None
        thing, _, receptacle = rest.partition(" from ")
        o, r = self.game.thing_by_name.get(thing), self._receptacle_here(receptacle)
        if o is None or r is None or o not in self.contents[r]:
            return None
        if not self.game.things[o].pickupable or not self.is_accessible(r):
            return None
        self.contents[r].discard(o)
        self.taken_from.add((o, r))
        self.places.discard((o, self.location))
        self.held = o
        self.moved.add(o)
        self._changed(r)
        return f"You pick up the {thing} from the {receptacle}."

    def _move_to(self, rest: str) -> str | None:
        return self._put(*rest.partition(" to "))

    def _put_in_on(self, rest: str) -> str | None:
        return self._put(*rest.partition(" in/on "))

    def _put(self, thing: str, _: str, receptacle: str) -> str | None:
        o, r = self._held_thing(thing), self._receptacle_here(receptacle)
        if o is None or r is None or not self.is_accessible(r) or not self.accepts(r, o):
            return None
        self.contents[r].add(o)
        self.taken_from.discard((o, r))
        self.places.add((o, self.location))
        self.held = None
        self._changed(r)
        if self.game.release.says_put:
            return f"You put the {thing} in/on the {receptacle}."
        return f"You move the {thing} to the {receptacle}."

    def _use(self, rest: str) -> str | None:
        o = self.game.thing_by_name.get(rest)
        if o is None or not self.game.things[o].toggleable or not any(o in self.contents[r] for r in self.here()):
            return None
        self.toggled.add(o)
        self._changed()
        return f"You turn on the {rest}."

    def _clean(self, rest: str) -> str | None:
        o, thing, receptacle = self._treat(rest, self._sinks)
        if o is None or not self.game.things[o].cleanable:
            return None
        self.clean.add(o)
        self._changed()
        return f"You clean the {thing} using the {receptacle}."

    def _heat(self, rest: str) -> str | None:
        o, thing, receptacle = self._treat(rest, HEATERS)
        if o is None or not self.game.things[o].heatable:
            return None
        self.hot.add(o)
        self.cool.discard(o)
        self._changed()
        return f"You heat the {thing} using the {receptacle}."

    def _cool(self, rest: str) -> str | None:
        o, thing, receptacle = self._treat(rest, COOLERS)
        if o is None or not self.game.things[o].coolable:
            return None
        self.cool.add(o)
        self.hot.discard(o)
        self._changed()
        return f"You cool the {thing} using the {receptacle}."

    def _slice(self, rest: str) -> str | None:
        thing, _, knife = rest.partition(" with ")
        o, k = self.game.thing_by_name.get(thing), self._held_thing(knife)
        if o is None or k is None or self.game.things[k].type not in KNIVES:
            return None
        if not self.game.things[o].sliceable or (o, self.location) not in self.places:
            return None
        self.sliced.add(o)
        self._changed()
        return f"You sliced the {thing} with the {knife}."

    # Helpers.

    def _receptacle_here(self, name: str) -> int | None:
        r = self.game.receptacle_by_name.get(name)
        return r if r is not None and self.game.receptacles[r].location == self.location else None

    def _held_thing(self, name: str) -> int | None:
        return self.held if self.held is not None and self.game.things[self.held].name == name else None

    def _treat(self, rest: str, appliances: frozenset[str]) -> tuple[int | None, str, str]:
        thing, _, receptacle = rest.partition(" with ")
        r = self._receptacle_here(receptacle)
        if r is None or self.game.receptacles[r].type not in appliances:
            return None, thing, receptacle
        return self._held_thing(thing), thing, receptacle

    def _show(self, r: int) -> str:
        shown = self._shown.get(r)
        if shown is None:
            receptacle = self.game.receptacles[r]
            if receptacle.openable and r not in self.opened:
                shown = f"The {receptacle.name} is closed."
            else:
                things = text.join_names([self.game.things_with_article[o] for o in sorted(self.contents[r])])
                before = f"The {receptacle.name} is open. In it" if receptacle.openable else f"On the {receptacle.name}"
                shown = f"{before}, you see {things}."
            self._shown[r] = shown
        if r not in self.seen and self.is_accessible(r):
            self.seen.add(r)
            self._changed()
        return shown

    def _forget(self) -> None:
        """Drop everything that was computed from the state, and the record of the last command."""
        self.accepted = True
        self.revealed = False
        self.last_command = ""
        self._shown = {}
        self.memo = StateMemo()

    def _changed(self, r: int | None = None) -> None:
        """Drop what was computed from the state before it changed; ``r`` is the receptacle whose contents changed."""
        self.memo = StateMemo()
        if r is not None:
            self._shown.pop(r, None)


_Command = Callable[[Engine, str], str | None]
"""Carries out a command with these words after its verb; returns the answer, or None where its precondition fails."""


@lru_cache(maxsize=32)
def _commands_of(release: Release, put_alias: bool) -> Mapping[str, _Command]:
    """Return verb -> command, for the games of a release."""
    commands: dict[str, _Command] = {
        "look": Engine._look,
        "inventory": Engine._inventory,
        "go": Engine._go,
        "examine": Engine._examine,
        "open": Engine._open,
        "close": Engine._close,
        "take": Engine._take,
        "use": Engine._use,
        "heat": Engine._heat,
        "clean": Engine._clean,
        "cool": Engine._cool,
        "slice": Engine._slice,
    }
    if release.has_help:
        commands["help"] = Engine._help
    if release.says_put or put_alias:
        commands["put"] = Engine._put_in_on
    if put_alias or not release.says_put:
        commands["move"] = Engine._move_to
    return commands
