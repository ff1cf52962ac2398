"""A second engine in which the oracle tries actions out, so that the environment's own engine is never disturbed.

The obvious way to look ahead, a copy of the running engine, does not exist: ScienceWorld cannot clone its state. So a state
is reached by replaying its actions from the start of the task. What can be seen in each state on the way is remembered,
and a state that continues the present one is reached without starting again.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from step_envs.sciworld.engine import DEFAULT_BACKEND, Backend, EngineReply, Simulator
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.rooms import room_of

FULL_SCORE = 100
_VIEWS_KEPT = 4_000


@dataclass(frozen=True, slots=True)
class StateView:
    """What can be seen in a state.

    Attributes:
        reply: What the engine answered to the last action.
        look: What a look around shows.
        inventory: What the agent carries.
    """

    reply: EngineReply
    look: str
    inventory: str

    @property
    def room(self) -> str:
        """The room that the agent is in."""
        return room_of(self.look)

    @property
    def solved(self) -> bool:
        """True if the task is fully done."""
        return self.reply.score == FULL_SCORE

    @property
    def asks_which_object(self) -> bool:
        """True if the engine waits to be told which of several objects is meant."""
        return self.reply.observation.startswith("Ambiguous request")


class ReplaySimulator:
    """Shows any state of any task, by memory or by replay.

    It starts no engine before it is first needed.

    Args:
        java: See ``Simulator``.
        timeout: See ``Simulator``.
        backend: See ``Simulator``.

    Attributes:
        steps: Steps that the engine has taken so far: a measure of effort that does not depend on the machine.
    """

    def __init__(self, java: str | os.PathLike[str] | None, timeout: float, backend: Backend = DEFAULT_BACKEND) -> None:
        self.steps = 0
        self._java = java
        self._timeout = timeout
        self._backend = backend
        self._simulator: Simulator | None = None
        self._at: ActionHistory | None = None
        self._views: dict[ActionHistory, StateView] = {}
        self._descriptions: dict[ActionHistory, str] = {}

    @property
    def started(self) -> bool:
        """True if an engine was started."""
        return self._simulator is not None

    def remember(self, state: ActionHistory, views: Sequence[StateView]) -> None:
        """Remember what another engine has shown: the same actions give the same views in all of them.

        Args:
            state: The state that the other engine is in.
            views: What could be seen at the start of the task and after every action up to that state.
        """
        if len(views) != len(state.actions) + 1:
            return  # an interrupt came between an action and its view
        if len(self._views) > _VIEWS_KEPT:
            self._views.clear()
            self._at = None
        for count in reversed(range(len(views))):
            seen = state.up_to(count)
            if seen in self._views:
                break
            self._views[seen] = views[count]

    def observe(self, state: ActionHistory) -> StateView:
        """Return what can be seen in a state."""
        if state not in self._views:
            self._go(state)
        return self._views[state]

    def observe_all(self, state: ActionHistory) -> list[StateView]:
        """Return what could be seen at the start of the task and after every action up to a state."""
        prefixes = [state.up_to(count) for count in range(len(state.actions) + 1)]
        missing = next((count for count, prefix in enumerate(prefixes) if prefix not in self._views), None)
        if missing is not None:
            if self._at is not None and missing <= len(self._at.actions):
                self._at = None  # what is missing comes before the present state
            self._go(state)
        return [self._views[prefix] for prefix in prefixes]

    def valid_actions(self, state: ActionHistory) -> tuple[str, ...]:
        """List the actions that the engine would carry out in a state."""
        return self._go(state).valid_actions()

    def task_description(self, state: ActionHistory) -> str:
        """Return the task of a state in the engine's words."""
        task = state.beginning()
        if task not in self._descriptions:
            self._descriptions[task] = self._go(state).task_description()
        return self._descriptions[task]

    def gold_path(self, task: ActionHistory) -> list[str]:
        """Have the engine compute its own solution of a task."""
        return self._go(task.beginning()).gold_path()

    def close(self) -> None:
        """End the engine, if one was started."""
        if self._simulator is not None:
            self._simulator.close()
        self._simulator = None
        self._at = None

    def _go(self, state: ActionHistory) -> Simulator:
        if self._simulator is None:
            self._simulator = Simulator(self._java, self._timeout, self._backend)
        simulator = self._simulator
        # If the engine fails on the way, its state is unknown: then the next call starts the task again.
        at, self._at = self._at, None
        if at is None or not at.leads_to(state):
            if len(self._views) > _VIEWS_KEPT:
                self._views.clear()
            at = state.beginning()
            self._remember(simulator, at, simulator.load(at.task, at.variation, at.simplification))
        for action in state.actions[len(at.actions) :]:
            at = at.then(action)
            self._remember(simulator, at, simulator.step(action))
        self._at = state
        return simulator

    def _remember(self, simulator: Simulator, state: ActionHistory, reply: EngineReply) -> None:
        self.steps += 1
        if state not in self._views:
            self._views[state] = StateView(reply, simulator.look(), simulator.inventory())
