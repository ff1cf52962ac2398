"""A second simulator that the oracle tries things out in, so that the environment's own is never disturbed."""

import os
from dataclasses import dataclass, replace

from step_envs.sciworld.engine import Reply, Simulator
from step_envs.sciworld.planning.action_history import Episode
from step_envs.sciworld.planning.rooms import room_of

FULL_SCORE = 100
_MOMENTS_KEPT = 4_000


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to see in a state.

    Attributes:
        reply: What the engine answered to the last action.
        look: A look around.
        inventory: What the agent carries.
    """

    reply: Reply
    look: str
    inventory: str

    @property
    def room(self) -> str:
        """Where the agent is."""
        return room_of(self.look)

    @property
    def solved(self) -> bool:
        """The task is fully done."""
        return self.reply.score == FULL_SCORE

    @property
    def asks(self) -> bool:
        """The engine waits to be told which of several objects is meant."""
        return self.reply.observation.startswith("Ambiguous request")


class Scout:
    """Goes to any state by replay, and goes on from where it is when that is on the way.

    What was seen in a state is remembered, so that asking twice costs nothing. Starts no engine before it is first asked.

    Args:
        java: See ``Simulator``.
        timeout: See ``Simulator``.

    Attributes:
        steps: Steps that the engine has taken so far, a measure of effort that does not depend on the machine.
    """

    def __init__(self, java: str | os.PathLike[str] | None, timeout: float) -> None:
        self.steps = 0
        self._java = java
        self._timeout = timeout
        self._simulator: Simulator | None = None
        self._at: Episode | None = None
        self._moments: dict[Episode, Moment] = {}

    def see(self, state: Episode) -> Moment:
        """Say what there is to see in a state, by memory or by going there."""
        if state not in self._moments:
            self._go(state)
        return self._moments[state]

    def history(self, state: Episode) -> list[Moment]:
        """Give what was to be seen at the task's start and after every action up to a state."""
        before = [replace(state, actions=state.actions[:count]) for count in range(len(state.actions) + 1)]
        if any(earlier not in self._moments for earlier in before):
            self._at = None
            self._go(state)
        return [self._moments[earlier] for earlier in before]

    def valid_actions(self, state: Episode) -> tuple[str, ...]:
        """List what the engine would carry out in a state."""
        return self._go(state).valid_actions()

    def gold_path(self, task: Episode) -> list[str]:
        """Have the engine work out its own solution of a task."""
        return self._go(task.beginning()).gold_path()

    def close(self) -> None:
        """End the simulator, if one was started."""
        if self._simulator is not None:
            self._simulator.close()
        self._simulator = None
        self._at = None

    def _go(self, state: Episode) -> Simulator:
        if self._simulator is None:
            self._simulator = Simulator(self._java, self._timeout)
        simulator = self._simulator
        at, self._at = self._at, None  # not to be trusted if the engine fails on the way
        if at is None or not at.leads_to(state):
            if len(self._moments) > _MOMENTS_KEPT:
                self._moments.clear()
            at = state.beginning()
            self._note(simulator, at, simulator.load(at.task, at.variation, at.simplification))
        for action in state.actions[len(at.actions) :]:
            at = at.then(action)
            self._note(simulator, at, simulator.step(action))
        self._at = state
        return simulator

    def _note(self, simulator: Simulator, state: Episode, reply: Reply) -> None:
        self.steps += 1
        if state not in self._moments:
            self._moments[state] = Moment(reply, simulator.look(), simulator.inventory())
