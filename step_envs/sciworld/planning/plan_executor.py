"""Executes the steps of a plan in the replay simulator, and returns the actions that this took.

A step says what is done and in which room. The actions depend on the state: the agent may have to travel first, the engine
may ask which of several objects is meant, and a thing may have another name by now ("metal pot in inventory"). So the
executor tries each step, answers questions, and repairs steps that the engine does not understand.
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.replay_simulator import ReplaySimulator, StateView
from step_envs.sciworld.planning.rooms import door_is_shut, room_of, route
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD, PlanStep, normalize
from step_envs.sciworld.tasks import simplification_labels

CANCEL = "cancel"
"""What to type at a question of the engine that should not have come up; any text but a number cancels it."""

_MAX_REPAIRS = 7
_MIN_SIMILARITY = 0.7
_MOST_SIMILAR = 2
_POT = re.compile(r" in (self watering )?flower pot \d+$")
_TAKES_TIME = ("identify-", "grow-", "chemistry-", "boil", "melt", "freeze", "change-")


def can_teleport(state: ActionHistory) -> bool:
    """Return True if the agent can teleport to any room."""
    return "teleportAction" in simplification_labels(state.simplification, state.task)


def execute_plan(
    simulator: ReplaySimulator, state: ActionHistory, steps: Sequence[PlanStep], *, repair: bool = True
) -> list[str] | None:
    """Execute steps until the task is solved.

    Args:
        simulator: Where to execute them.
        state: Where to start.
        steps: What to do.
        repair: If a step is not understood, try other words, or pick the object up first.

    Returns:
        The actions up to success; None if the steps do not lead there.
    """
    executor = _PlanExecutor(simulator, state, repair)
    for step in steps:
        if executor.over:
            break
        if not executor.execute_step(step):
            return None
    return list(executor.state.actions[len(state.actions) :]) if simulator.observe(executor.state).solved else None


class _PlanExecutor:
    def __init__(self, simulator: ReplaySimulator, state: ActionHistory, repair: bool) -> None:
        self._simulator = simulator
        self.state = state
        self._repair = repair

    def _view(self) -> StateView:
        return self._simulator.observe(self.state)

    @property
    def over(self) -> bool:
        view = self._view()
        return view.solved or view.reply.done

    def execute_step(self, step: PlanStep) -> bool:
        """Do a step in its room. Returns False if that is not possible."""
        view = self._view()
        if view.asks_which_object:
            self._type(CANCEL)
            view = self._view()
        start = self.state
        if view.room != step.room and not self._travel(step.room):
            return False
        if self.over:
            return True
        before = self.state
        self._type(step.action)
        if self._understood():
            return self._answer_question(step)
        self.state = before
        if step.soft:
            self.state = start
            return True
        return self._repair and any(self._attempt(before, words, step) for words in self._other_words(step))

    def _attempt(self, before: ActionHistory, words: Sequence[str], step: PlanStep) -> bool:
        self.state = before
        for action in words:
            self._type(action)
            if not self._understood():
                return False
            if not self._answer_question(step):
                return False
        return True

    def _answer_question(self, step: PlanStep) -> bool:
        """Answer if the engine asks which object is meant. Returns False if the question has no options."""
        if not self._view().asks_which_object:
            return True
        options = options_of(self._view().reply.observation)
        if not options:
            return False
        self._type(step.answer if step.answer in options else min(options, key=int))
        return True

    def _other_words(self, step: PlanStep) -> list[tuple[str, ...]]:
        """Return other ways to type a step that was not understood, the most promising first."""
        attempts: list[tuple[str, ...]] = []
        plain = step.action.replace(" in inventory", "").replace(f" in {step.room}", "")
        if plain != step.action:
            attempts.append((plain,))
        thing = object_of(plain)
        if thing:
            attempts.append((f"pick up {thing}", step.action))
            if plain != step.action:
                attempts.append((f"pick up {thing}", plain))
        if step.action.startswith("focus on ") and self.state.task.startswith(_TAKES_TIME):
            # Another plant or animal of this kind may be at that stage now, or soon.
            any_pot = _POT.sub("", plain)
            attempts += [(any_pot,), (*self._wait_for(any_pot.removeprefix("focus on ")), any_pot)]
        attempts += [(valid,) for valid in self._similar_valid_actions(step.action)]
        return attempts[:_MAX_REPAIRS]

    def _wait_for(self, thing: str) -> tuple[str, ...]:
        """Return the waits after which a look around shows a thing; empty if it does not appear."""
        for wait, patience in (("wait1", 12), ("wait", 5)):
            state = self.state
            for count in range(1, patience + 1):
                state = state.then(wait)
                if thing in self._simulator.observe(state).look:
                    return (wait,) * count
        return ()

    def _similar_valid_actions(self, action: str) -> list[str]:
        """Return the valid actions with the same verb and nearly the same words in the same order."""
        words = normalize(action).replace(" into ", " in ").split()
        similar: list[tuple[float, bool, str]] = []
        for valid in self._simulator.valid_actions(self.state):
            others = valid.lower().replace(" into ", " in ").split()
            if others[:1] == words[:1]:
                similarity = SequenceMatcher(None, words, others, autojunk=False).ratio()
                if similarity > _MIN_SIMILARITY:
                    # Of equally similar actions, prefer the one on a thing that is carried.
                    similar.append((-similarity, "inventory" not in others, valid))
        return [valid for _, _, valid in sorted(similar)[:_MOST_SIMILAR]]

    def _travel(self, room: str) -> bool:
        if can_teleport(self.state):
            self._type(f"teleport to {room}")
            return room_of(self._view().look) == room
        for there in route(self._view().look, room):
            if door_is_shut(self._view().look, there):
                self._type(f"open door to {there}")
            self._type(f"go to {there}")
            if room_of(self._view().look) != there:
                return False
        return room_of(self._view().look) == room

    def _understood(self) -> bool:
        return not self._view().reply.observation.startswith(NOT_UNDERSTOOD)

    def _type(self, action: str) -> None:
        self.state = self.state.then(action)
        self._view()


def options_of(question: str) -> dict[str, str]:
    """Return the numbered options of the engine's question: number -> text."""
    options = {}
    for line in question.splitlines()[1:]:
        number, colon, text = line.partition(":\t")
        if colon and number.isdigit():
            options[number] = text
    return options


def object_of(action: str) -> str | None:
    """Return the name of the thing that an action is done to: the words between its verb and its preposition."""
    for verb in ("move ", "pour ", "dunk ", "use ", "put down ", "drop ", "activate ", "deactivate "):
        if action.startswith(verb):
            thing = action.removeprefix(verb)
            for preposition in (" to ", " into ", " in ", " on "):
                thing = thing.split(preposition, 1)[0]
            return thing or None
    return None
