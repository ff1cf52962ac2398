"""An agent that follows the oracle and makes mistakes of known kinds at a set rate.

It takes the place of a half-trained model if none is at hand. Its mistakes are plausible, and it knows which of its steps
were mistakes, so it can measure how well a teacher finds them.
"""

from typing import Literal, NamedTuple

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, react_reply, world_of
from step_envs.core import TextEnv
from step_envs.trajectory import Actor

MistakeKind = Literal["wrong object", "wrong place", "repeated step", "invalid text"]
KINDS: tuple[MistakeKind, ...] = ("wrong object", "wrong place", "repeated step", "invalid text")

_NOT_THINGS = ("gizmo", "widget", "that thing", "stuff")


class Mistake(NamedTuple):
    """A mistake that the novice knows it made.

    Attributes:
        reply: Number of the reply, from 0.
        kind: Kind of mistake.
        action: The action it took.
        planned: The oracle's action, which it should have taken.
    """

    reply: int
    kind: MistakeKind
    action: str
    planned: str


class NoviceAgent(Agent):
    """Follows the oracle, with a set rate of plausible mistakes.

    Args:
        error_rate: Probability of a mistake at each step, from 0 to 1.

    Raises:
        ValueError: The rate is less than 0 or more than 1.

    Attributes:
        mistakes: The mistakes of the running episode.
    """

    name = "novice"
    plain_python = True

    def __init__(self, error_rate: float = 0.25) -> None:
        if not 0 <= error_rate <= 1:
            raise ValueError(f"error_rate must be from 0 to 1, got {error_rate}.")
        self.error_rate = error_rate
        self.mistakes: list[Mistake] = []

    @override
    def describe(self) -> Actor:
        return Actor(name=self.name, params={"error_rate": self.error_rate})

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        self._rng = rng
        self._replies = 0
        self._previous: str | None = None
        self.mistakes = []

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply with the next action of the plan, or with a mistake; None if there is no plan."""
        world = world_of(env)
        planned = world.oracle.next_action()
        if planned is None:
            return None
        action = planned
        if self._rng.random() < self.error_rate:
            kinds = list(KINDS)
            self._rng.shuffle(kinds)
            for kind in kinds:
                wrong = self._mistake(kind, planned, world)
                if wrong is not None and wrong != planned:
                    self.mistakes.append(Mistake(self._replies, kind, wrong, planned))
                    action = wrong
                    break
        self._replies += 1
        self._previous = action
        return react_reply(world.oracle.thought(action), action)

    def _mistake(self, kind: MistakeKind, planned: str, world: TextEnv) -> str | None:
        if kind == "repeated step":
            return self._previous
        verb = world.verb_of(planned)
        if kind == "invalid text":
            return f"{verb} the {self._pick(_NOT_THINGS)}"
        others = [action for action in world.admissible_actions() if action != planned]
        if kind == "wrong place":
            return self._pick([action for action in others if world.is_move(action)])
        alike = [action for action in others if world.verb_of(action) == verb]
        return self._pick([action for action in alike if not world.is_move(action)])

    def _pick(self, actions: list[str] | tuple[str, ...]) -> str | None:
        return actions[int(self._rng.integers(len(actions)))] if actions else None
