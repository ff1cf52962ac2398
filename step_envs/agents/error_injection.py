"""An agent that begins inside a mistake: the oracle plays first, then one step is wrong, then the agent goes on.

Whether an agent has learned to recover shows only where there is something to recover from, and a good agent makes few
mistakes of its own. So the mistake is made for it: the conversation that it continues holds the oracle's steps and the
wrong one as if they were its own (the test of Agent-R, arXiv 2501.11425, section 4.3).
"""

from collections.abc import Iterator
from dataclasses import replace

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, make_agent, react_reply, world_of
from step_envs.agents.mistakes import invalid_text
from step_envs.core import TextEnv
from step_envs.endpoint import UsesChatModel
from step_envs.specs import nested_spec
from step_envs.trajectory import Actor
from step_envs.wrappers.backtracking import world_at

_CANDIDATES = 12
"""Actions of a kind that are tried out."""


class ErrorInjectionAgent(Agent):
    """Follows the oracle for some steps, takes a wrong one, and hands over to another agent.

    The wrong step brings the goal no nearer and leaves a way to it. The episode's own random stream decides which step it
    is and after how many it comes. The oracle's turns are recorded as ``expert``, the wrong one as ``error``.

    Args:
        agent: The agent that goes on.
        after: Steps of the oracle before the wrong one; None draws a number from none to all but the last.
        error: Take the wrong step. Without it the agent goes on from the same place unharmed, for comparison.

    Raises:
        ValueError: ``after`` is negative.
    """

    name = "error_injection"

    def __init__(self, agent: Agent, *, after: int | None = None, error: bool = True) -> None:
        if after is not None and after < 0:
            raise ValueError(f"after must not be negative, got {after}.")
        self._agent, self._after, self._error = agent, after, error
        self._opening: Iterator[Reply] = iter(())
        self._steps = 0

    @override
    def describe(self) -> Actor:
        inner = self._agent.describe()
        params = {"after": self._steps, "error": self._error, "agent": inner.name, **inner.params}
        return Actor(name=self.name, model=inner.model, params=params)

    @override
    def ask_for_logprobs(self) -> None:
        self._agent.ask_for_logprobs()

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        # A stream of its own, so that the agent draws the same numbers with the error and without it.
        own = rng.spawn(1)[0]
        plan = world_of(env).oracle.plan() or []
        last = max(0, len(plan) - 1)
        self._steps = int(own.integers(max(1, last))) if self._after is None else min(self._after, last)
        self._opening = self._opening_replies(world_of(env), own)
        self._agent.begin(env, rng)

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply as the oracle, then wrongly, then as the agent."""
        opening = next(self._opening, None)
        if opening is not None:
            return opening
        reply = self._agent.act(env)
        # Whoever goes on is the agent under test, even an expert.
        return None if reply is None else replace(reply, kind="agent")

    def _opening_replies(self, world: TextEnv, rng: np.random.Generator) -> Iterator[Reply]:
        for _ in range(self._steps):
            action = world.oracle.next_action()
            if action is None:
                return
            yield react_reply(world.oracle.thought(action), action, kind="expert")
        if self._error:
            action = wrong_action(world, rng)
            yield react_reply(world.oracle.thought(action), action, kind="error")


class _ErrorInjectionChatAgent(ErrorInjectionAgent, UsesChatModel):
    """The same for an agent whose model a run has to connect to its gateway."""

    def __init__(self, agent: Agent, *, after: int | None = None, error: bool = True) -> None:
        super().__init__(agent, after=after, error=error)
        assert isinstance(agent, UsesChatModel)
        self.chat = agent.chat


def inject_error(agent: str, *, after: int | None = None, error: bool = True) -> ErrorInjectionAgent:
    """Make an agent that begins inside a mistake, from the specification of another agent.

    Args:
        agent: The agent that goes on, as ``name:option=value;option=value``, with a semicolon in place of every comma.
        after: Steps of the oracle before the wrong one; see ``ErrorInjectionAgent``.
        error: Take the wrong step.
    """
    inner = make_agent(nested_spec(agent))
    kind = _ErrorInjectionChatAgent if isinstance(inner, UsesChatModel) else ErrorInjectionAgent
    return kind(inner, after=after, error=error)


def wrong_action(world: TextEnv, rng: np.random.Generator) -> str:
    """Choose an action that is wrong in the current state and leaves a way to success; the world accepts it if any is.

    Args:
        world: The world; it is left in the state it is in.
        rng: Decides which action.
    """
    plan = world.oracle.plan() or []
    drawn = [str(action) for action in rng.permutation(world.admissible_actions())]
    vaguer = world.vaguer(plan[0]) if plan else ()
    # What only looks comes last: it is wrong here, where the way is known, but often the right thing to do.
    acts = [action for action in drawn if not world.oracle.is_informative(action)]
    looks = [action for action in drawn if world.oracle.is_informative(action)]
    for action in (*acts[:_CANDIDATES], *vaguer[:_CANDIDATES], *looks[:_CANDIDATES]):
        if action in plan[:1]:
            continue
        rest = world.oracle.plan(after=[action])
        if rest is not None and len(rest) >= len(plan) and not _ends_the_episode(world, action):
            return action
    return invalid_text(world.verb_of(plan[0]) if plan else "take", rng)


def _ends_the_episode(world: TextEnv, action: str) -> bool:
    with world_at(world, world.restore_point()):
        _, _, terminated, truncated, _ = world.step(action)
        return terminated or truncated
