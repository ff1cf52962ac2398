"""Values by trying it out: continue from the state with an agent, several times (STeCa's Monte Carlo, arXiv 2502.14276).

STeCa replays an episode's actions for every continuation. Here a continuation begins from a snapshot, in an environment of
its own, with the conversation as it was, so that an agent cannot tell it from the episode itself.
"""

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, make_agent, world_of
from step_envs.credit.episode_replay import WorldPool
from step_envs.credit.value_functions import Moment, StateValueFunction
from step_envs.endpoint import Gateway, UsesChatModel
from step_envs.specs import nested_spec
from step_envs.trajectory import Actor
from step_envs.wrappers.react import ReActWrapper, step_chat

_MOST_STEPS = 100
"""The most steps of a continuation where neither episode nor task has a limit."""
_CHAT = ("style", "reply_format", "tolerant", "observation_style", "think_actions")


class RolloutValue(StateValueFunction):
    """What a state is worth to an agent: the mean over ``n`` continuations of ``discount ** steps * final score``.

    Steps are counted up to the one that raised the score for the last time.

    Args:
        agent: Who continues, as a specification in which a semicolon stands for every comma:
            ``local:model=FOLDER;temperature=1``. An agent without randomness continues ``n`` times alike: take ``n=1``.
        n: Continuations from each state.
        discount: See ``StateValueFunction``.
        max_steps: The most steps of a continuation; None is the step limit of the episode, else of the task.
        seed: Decides, with the episode and the turn, the random stream of each continuation.

    Raises:
        ValueError: An argument is out of range, or the agent cannot be made.
        UnknownNameError: There is no such agent.
    """

    name: ClassVar[str] = "rollouts"

    def __init__(
        self, agent: str, *, n: int = 5, discount: float = 0.95, max_steps: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(discount=discount)
        for name, value, least in (("n", n, 1), ("max_steps", max_steps, 1), ("seed", seed, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
        if not isinstance(agent, str):
            raise TypeError(f"agent is the specification of an agent, got {agent!r}")
        self._spec = agent
        self.agent: Agent = make_agent(nested_spec(agent))
        self.n, self.max_steps, self.seed = n, max_steps, seed
        self._continued = WorldPool()
        # What the class says of itself is here known only once there is an agent.
        vars(self)["plain_python"] = self.agent.plain_python

    def connect(self, gateway: Gateway) -> None:
        """Have an agent that is a model ask through a gateway."""
        if isinstance(self.agent, UsesChatModel):
            self.agent.chat.connect(gateway)

    @override
    def describe(self) -> Actor:
        # The agent as it was asked for: what it says of itself changes with every episode that it plays.
        own = {"agent": self._spec, "n": self.n, "max_steps": self.max_steps, "seed": self.seed}
        return Actor(name=self.name, model=self.agent.describe().model, params=super().describe().params | own)

    @override
    def use_env_options(self, env_options: Mapping[str, Any]) -> None:
        super().use_env_options(env_options)
        self._continued = WorldPool(env_options)

    @override
    def close(self) -> None:
        super().close()
        self._continued.close()

    @override
    def running_value(self, moment: Moment) -> float | None:
        """Return the mean over the continuations."""
        # As bytes, because a restore point belongs to the environment that made it.
        snapshot, task_id = moment.world.snapshot(), moment.task_id
        other = self._continued.world_for(moment.world.env_id, moment.protocol)
        env = ReActWrapper(other, **{name: moment.protocol[name] for name in _CHAT if name in moment.protocol})
        stream = (self.seed, zlib.crc32(task_id.encode()), moment.episode or 0, len(moment.turns))
        outcomes = []
        for number in range(self.n):
            _, info = env.resume(snapshot, moment.turns)
            rng = np.random.default_rng((*stream, number))
            outcomes.append(self._play_on(env, info, rng, self._limit(moment, task_id)))
        return sum(outcomes) / self.n

    def _limit(self, moment: Moment, task_id: str) -> int:
        if self.max_steps is not None:
            return self.max_steps
        limit = moment.protocol.get("env", {}).get("max_steps", "eto")
        # Without any limit, an agent that never succeeds would never come to an end.
        own = limit if isinstance(limit, int) else moment.world.tasks.max_steps(task_id)
        return _MOST_STEPS if own is None else own

    def _play_on(self, env: ReActWrapper, info: dict[str, Any], rng: np.random.Generator, limit: int) -> float:
        """Play to the end, and return the discounted outcome."""
        self.agent.begin(env, rng)
        first, needed, score = info["steps"], 0, info["score"]
        # A limit of the world's own may have ended the episode: that of ScienceWorld's clock.
        over = world_of(env).truncated
        while not over and info["steps"] - first < limit:
            reply = self.agent.act(env)
            if reply is None:
                break
            _, _, terminated, truncated, info = step_chat(env, reply)
            if info["score"] > score:
                needed = info["steps"] - first
            score, over = info["score"], terminated or truncated
        return float(self.discount**needed * max(0.0, score))
