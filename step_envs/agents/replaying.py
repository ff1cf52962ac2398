"""An agent that says again what was said in an earlier episode, and hands over to another agent where that ends.

To revise an episode, its good beginning has to be lived through again: the world, the teacher and the record then see the
same replies and answer them anew. Cutting and joining the texts of two records, the obvious way, gives a conversation that
no world ever answered.
"""

from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply
from step_envs.endpoint.chat_completion import Finish
from step_envs.replies import read_reply, reply_format
from step_envs.trajectory import Actor, Trajectory, Turn
from step_envs.wrappers.react import react_wrapper
from step_envs.wrappers.reply import ReplyKind


class ReplayAgent(Agent):
    """Gives replies of earlier episodes, then hands over to another agent.

    After a correction by a teacher the remaining replies answer another conversation than the one that goes on, so they are
    left out.

    Args:
        replies: The replies to give, in their order; ``recorded_replies`` takes them from a trajectory.
        then: The agent that goes on after them; None gives the episode up.
    """

    name = "replay"

    def __init__(self, replies: Sequence[Reply], then: Agent | None = None) -> None:
        self._replies, self._then = tuple(replies), then
        self._given = 0

    @override
    def describe(self) -> Actor:
        own = {"replayed": len(self._replies)}
        if self._then is None:
            return Actor(name=self.name, params=own)
        inner = self._then.describe()
        return Actor(name=self.name, model=inner.model, params={**own, "agent": inner.name, **inner.params})

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        self._given = 0
        if self._then is not None:
            self._then.begin(env, rng)

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Give the next reply, or that of the agent that goes on."""
        corrected = react_wrapper(env, "ReplayAgent").conversation.count("correction")
        if not corrected and self._given < len(self._replies):
            self._given += 1
            return self._replies[self._given - 1]
        return None if self._then is None else self._then.act(env)


def recorded_replies(trajectory: Trajectory) -> list[Reply]:
    """Return what the agent of an episode said, for a ``ReplayAgent``.

    Where a teacher corrected, this ends before the first correction: what follows answers the teacher's turn. It also ends
    before a reply that would now be read as another action than the one that was carried out, because the record of a
    reply that broke off can look whole.

    Args:
        trajectory: The episode.
    """
    replies: list[Reply] = []
    protocol = trajectory.protocol
    form, tolerant = protocol.get("reply_format", "react"), bool(protocol.get("tolerant"))
    for turn in trajectory.turns:
        if turn.kind == "correction":
            break
        if turn.role == "assistant" and turn.kind in ("agent", "error", "expert"):
            kind: ReplyKind = turn.kind
            finish: Finish = "length" if _broke_off(turn, taught=trajectory.teacher is not None) else "stop"
            if read_reply(turn.content, reply_format(form), finish=finish, tolerant=tolerant).action != turn.action:
                break
            replies.append(Reply(turn.content, kind=kind, finish=finish))
    return replies


def _broke_off(turn: Turn, *, taught: bool) -> bool:
    """Return True if a reply broke off: without a teacher nothing else takes the weight of an agent's own reply."""
    return turn.kind == "agent" and turn.verdict is None and not turn.loss and (not taught or turn.action is None)
