"""An agent that follows the oracle and makes mistakes of known kinds at a set rate.

It takes the place of a half-trained model if none is at hand. Its mistakes are plausible, and it knows which of its steps
were mistakes, so it can measure how well a teacher finds them.
"""

from typing import NamedTuple

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, react_reply, world_of
from step_envs.agents.mistakes import MistakeKind, draw_mistake
from step_envs.trajectory import Actor
from step_envs.wrappers.react import react_wrapper


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
            turns = react_wrapper(env, "NoviceAgent").conversation.turns
            earlier = [turn.action for turn in turns if turn.action is not None]
            kind, action = draw_mistake(world, planned, earlier, self._previous, self._rng)
            self.mistakes.append(Mistake(self._replies, kind, action, planned))
        self._replies += 1
        self._previous = action
        return react_reply(world.oracle.thought(action), action)
