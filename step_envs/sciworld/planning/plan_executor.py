"""Plays steps in the scout: walks to where each is done, answers what the engine asks, notices when it does not work."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from step_envs.sciworld.planning.action_history import Episode
from step_envs.sciworld.planning.replay_simulator import Scout
from step_envs.sciworld.planning.rooms import door_is_shut, room_of, route
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD, Step, normal

CANCEL = "cancel"
"""What to say to a question of the engine that should not have come up; any text but a number does."""

_TRIES_TO_MEND = 7
_LEAST_LIKENESS = 0.7
_LIKELIEST = 2
_POT = re.compile(r" in (self watering )?flower pot \d+$")
_TAKES_TIME = ("identify-", "grow-", "chemistry-", "boil", "melt", "freeze", "change-")


def can_teleport(state: Episode) -> bool:
    """Say whether the agent can be in any room at once."""
    return bool({"easy", "teleportAction"} & set(state.simplification.split(",")))


def play(scout: Scout, state: Episode, steps: Sequence[Step], *, mend: bool = True) -> list[str] | None:
    """Find out by trial what to type so that steps lead to success.

    Args:
        scout: Where to try.
        state: Where to start.
        steps: What to do.
        mend: Try other words, or pick the object up first, when a step is not understood.

    Returns:
        The actions up to success; None where the steps do not lead there.
    """
    player = _Player(scout, state, mend)
    for step in steps:
        if player.over:
            break
        if not player.carry_out(step):
            return None
    return list(player.state.actions[len(state.actions) :]) if scout.see(player.state).solved else None


class _Player:
    def __init__(self, scout: Scout, state: Episode, mend: bool) -> None:
        self._scout = scout
        self.state = state
        self._mend = mend

    @property
    def over(self) -> bool:
        moment = self._scout.see(self.state)
        return moment.solved or moment.reply.done

    def carry_out(self, step: Step) -> bool:
        """Do a step where it belongs; False where that cannot be done."""
        moment = self._scout.see(self.state)
        if moment.asks:
            self._type(CANCEL)
            moment = self._scout.see(self.state)
        start = self.state
        if moment.room != step.room and not self._travel(step.room):
            return False
        if self.over:
            return True
        before = self.state
        self._type(step.action)
        if self._understood():
            return self._settle(step)
        self.state = before
        if step.soft:
            self.state = start
            return True
        return self._mend and any(self._attempt(before, words, step) for words in self._other_words(step))

    def _attempt(self, before: Episode, words: Sequence[str], step: Step) -> bool:
        self.state = before
        for action in words:
            self._type(action)
            if not self._understood():
                return False
            if not self._settle(step):
                return False
        return True

    def _settle(self, step: Step) -> bool:
        """Answer the engine's question, if it has one."""
        if not self._scout.see(self.state).asks:
            return True
        options = options_of(self._scout.see(self.state).reply.observation)
        if not options:
            return False
        self._type(step.answer if step.answer in options else min(options, key=int))
        return True

    def _other_words(self, step: Step) -> list[tuple[str, ...]]:
        """Ways to put a step that was not understood as it stands, the likeliest first."""
        ways: list[tuple[str, ...]] = []
        plain = step.action.replace(" in inventory", "").replace(f" in {step.room}", "")
        if plain != step.action:
            ways.append((plain,))
        thing = object_of(plain)
        if thing:
            ways.append((f"pick up {thing}", step.action))
            if plain != step.action:
                ways.append((f"pick up {thing}", plain))
        if step.action.startswith("focus on ") and self.state.task.startswith(_TAKES_TIME):
            # Another of its kind may be at that stage now, or soon.
            any_pot = _POT.sub("", plain)
            ways += [(any_pot,), (*self._wait_for(any_pot.removeprefix("focus on ")), any_pot)]
        ways += [(valid,) for valid in self._likeliest_valid(step.action)]
        return ways[:_TRIES_TO_MEND]

    def _wait_for(self, thing: str) -> tuple[str, ...]:
        """Find out how long to wait until a look around shows a thing; not at all where it does not come."""
        for wait, patience in (("wait1", 12), ("wait", 5)):
            state = self.state
            for count in range(1, patience + 1):
                state = state.then(wait)
                if thing in self._scout.see(state).look:
                    return (wait,) * count
        return ()

    def _likeliest_valid(self, action: str) -> list[str]:
        """Find the valid actions with the same verb and nearly the same words in the same order."""
        words = normal(action).replace(" into ", " in ").split()
        likeliest: list[tuple[float, bool, str]] = []
        for valid in self._scout.valid_actions(self.state):
            others = valid.lower().replace(" into ", " in ").split()
            if others[:1] == words[:1]:
                likeness = SequenceMatcher(None, words, others, autojunk=False).ratio()
                if likeness > _LEAST_LIKENESS:
                    # What is meant has often been picked up.
                    likeliest.append((-likeness, "inventory" not in others, valid))
        return [valid for _, _, valid in sorted(likeliest)[:_LIKELIEST]]

    def _travel(self, room: str) -> bool:
        if can_teleport(self.state):
            self._type(f"teleport to {room}")
            return room_of(self._scout.see(self.state).look) == room
        for there in route(self._scout.see(self.state).look, room):
            if door_is_shut(self._scout.see(self.state).look, there):
                self._type(f"open door to {there}")
            self._type(f"go to {there}")
            if room_of(self._scout.see(self.state).look) != there:
                return False
        return room_of(self._scout.see(self.state).look) == room

    def _understood(self) -> bool:
        return not self._scout.see(self.state).reply.observation.startswith(NOT_UNDERSTOOD)

    def _type(self, action: str) -> None:
        self.state = self.state.then(action)
        self._scout.see(self.state)


def options_of(question: str) -> dict[str, str]:
    """Read the numbered options of the engine's question."""
    options = {}
    for line in question.splitlines()[1:]:
        number, colon, text = line.partition(":\t")
        if colon and number.isdigit():
            options[number] = text
    return options


def object_of(action: str) -> str | None:
    """Name the thing that an action does something to, by the words between its verb and its preposition."""
    for verb in ("move ", "pour ", "dunk ", "use ", "put down ", "drop ", "activate ", "deactivate "):
        if action.startswith(verb):
            thing = action.removeprefix(verb)
            for preposition in (" to ", " into ", " in ", " on "):
                thing = thing.split(preposition, 1)[0]
            return thing or None
    return None
