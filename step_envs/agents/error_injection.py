"""An agent that begins inside a mistake: the oracle plays first, then one step is wrong, then the agent goes on.

What an agent learned from reflections shows where there is something to reflect on. The conversation it gets holds the
oracle's steps and the wrong one as if they were its own (Agent-R's test, arXiv 2501.11425, section 4.3).
"""

from collections.abc import Iterator
from dataclasses import replace

import gymnasium as gym
import numpy as np

from step_envs.agents.base import Agent, Reply, make_agent, react_reply, world_of
from step_envs.core import TextEnv
from step_envs.endpoint import UsesChatModel
from step_envs.trajectory import Actor

_TRIED = 12
"""Actions that are tried before one that the world does not understand is taken, which is wrong in any state."""
_NOT_A_THING = "gizmo"


class MisledAgent(Agent):
    """Follows the oracle for some steps, takes a wrong one, and hands over to another agent.

    A wrong step brings the goal no nearer and leaves a way to it; which one, and after how many steps, is decided by the
    episode's own random stream. The oracle's turns are recorded as ``expert``, the wrong one as ``error``.

    Args:
        agent: Who goes on.
        after: Steps of the oracle before the wrong one; None draws it, from none to all but the last.
        error: Take the wrong step; without it the agent goes on from the same place unharmed, for comparison.
    """

    name = "misled"

    def __init__(self, agent: Agent, *, after: int | None = None, error: bool = True) -> None:
        if after is not None and after < 0:
            raise ValueError(f"after must not be negative, got {after}.")
        self._agent, self._after, self._error = agent, after, error
        self._opening: Iterator[Reply] = iter(())
        self._steps = 0
        self._wrong: str | None = None

    def describe(self) -> Actor:
        """Say who acts, for the record."""
        inner = self._agent.describe()
        params = {"after": self._steps, "error": self._error, "agent": inner.name, **inner.params}
        return Actor(name=self.name, model=inner.model, params=params)

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        """Decide after how many steps the wrong one comes."""
        # A stream of its own, so that the agent draws the same with the mistake and without.
        own = rng.spawn(1)[0]
        plan = world_of(env).oracle.plan() or []
        last = max(0, len(plan) - 1)
        self._steps = int(own.integers(max(1, last))) if self._after is None else min(self._after, last)
        self._opening = self._begin(world_of(env), own)
        self._agent.begin(env, rng)

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply as the oracle, wrongly, or as the agent."""
        opening = next(self._opening, None)
        if opening is not None:
            return opening
        reply = self._agent.act(env)
        # Whoever goes on, even an expert, is the agent under test.
        return None if reply is None else replace(reply, kind="agent")

    def _begin(self, world: TextEnv, rng: np.random.Generator) -> Iterator[Reply]:
        for _ in range(self._steps):
            action = world.oracle.next_action()
            if action is None:
                return
            yield react_reply(world.oracle.thought(action), action, kind="expert")
        if self._error:
            action = wrong_action(world, rng)
            yield react_reply(world.oracle.thought(action), action, kind="error")


class _MisledChatAgent(MisledAgent, UsesChatModel):
    """The same of an agent that a run has to connect to its gateway."""

    def __init__(self, agent: Agent, **options: int | None) -> None:
        super().__init__(agent, **options)  # type: ignore[arg-type]
        assert isinstance(agent, UsesChatModel)
        self.chat = agent.chat


def misled(agent: str, *, after: int | None = None, error: bool = True) -> MisledAgent:
    """Make an agent that begins inside a mistake from a specification.

    Args:
        agent: Who goes on, as ``name:option=value;option=value``: a semicolon stands where a comma would.
        after: See ``MisledAgent``.
        error: See ``MisledAgent``.
    """
    inner = make_agent(agent.replace(";", ","))
    kind = _MisledChatAgent if isinstance(inner, UsesChatModel) else MisledAgent
    return kind(inner, after=after, error=error)


def wrong_action(world: TextEnv, rng: np.random.Generator) -> str:
    """Choose an action that is wrong in the state as it now is, by the oracle, and leaves a way to success.

    Args:
        world: The world; it is left as it is.
        rng: Decides.
    """
    plan = world.oracle.plan() or []
    actions = world.admissible_actions()
    for index in rng.permutation(len(actions))[:_TRIED]:
        action = str(actions[index])
        if action in plan[:1] or world.oracle.is_informative(action):
            continue
        rest = world.oracle.plan(after=[action])
        if rest is not None and len(rest) >= len(plan) and not _ends(world, action):
            return action
    verb = plan[0].replace("[", " ").split()[0] if plan else "take"
    return f"{verb} the {_NOT_A_THING}"


def _ends(world: TextEnv, action: str) -> bool:
    now = world.snapshot()
    try:
        _, _, terminated, truncated, _ = world.step(action)
        return terminated or truncated
    finally:
        world.restore(now)
