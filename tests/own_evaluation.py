"""What our own evaluation says of some episodes, to hold an adapter against it.

Each world is played by ``step-envs eval``'s code with an agent that knows a way, errs, and sometimes replies without an
action. What it replied becomes a ``Script``: a scripted model that answers each conversation as the agent did. It knows no
other conversation, so an adapter that shows a model anything else than ``ReActWrapper`` does fails here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import numpy as np

from step_envs.agents.base import Agent, Reply, react_reply, world_of
from step_envs.store import read_trajectories
from step_envs.training.evaluation import EvalConfig, Evaluation, evaluate, reward_of
from step_envs.trajectory import Trajectory

WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0")
EPISODES = 20


class CarelessAgent(Agent):
    """Follows the plan that it made at the start, whatever comes of it, and makes mistakes on the way.

    To plan again after each mistake would take most of the time of these tests.
    """

    name = "careless"

    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        self._plan = list(world_of(env).oracle.plan() or ())
        self._rng = rng
        self._asked = 0

    def act(self, env: gym.Env[str, str]) -> Reply:
        self._asked += 1
        drawn = self._rng.random()
        if drawn < 0.1 or not self._plan:
            return Reply(f"I have to think about this, {self._asked}.")
        if drawn < 0.2:
            return react_reply("I wonder.", "ponder the gizmo")
        action = self._plan.pop(0)
        if drawn < 0.25:
            actions = world_of(env).admissible_actions()
            action = actions[int(self._rng.integers(len(actions)))]
        return react_reply(f"This is reply {self._asked}.", action)


class Script:
    """A model that replies as in episodes that were played."""

    def __init__(self, episodes: Iterable[Trajectory]) -> None:
        self._replies: dict[str, str] = {}
        for episode in episodes:
            messages = episode.messages()
            for index, message in enumerate(messages):
                if message["role"] == "assistant" and episode.turns[index].kind != "instruction":
                    reply = self._replies.setdefault(_key(messages[:index]), str(message["content"]))
                    assert reply == message["content"], "two episodes go on differently from the same conversation"

    def reply(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Reply to a conversation."""
        reply = self._replies.get(_key(messages))
        assert reply is not None, f"our own evaluation never showed this conversation: {list(messages)[-2:]}"
        return reply


@dataclass(frozen=True)
class Played:
    """What our own evaluation found."""

    config: EvalConfig
    evaluation: Evaluation
    episodes: dict[str, Trajectory]
    script: Script

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """What ``ChatEpisode.metrics`` must say, by task."""
        return {
            task_id: {
                "success": float(one.success),
                "score": one.score,
                "reward": reward_of(one, self.config.protocol),
                "steps": float(one.steps),
            }
            for task_id, one in self.episodes.items()
        }


@cache
def played(env: str, protocol: Any = "eto", episodes: int = EPISODES) -> Played:
    """Play some tasks of a world."""
    agent = f"{__name__}.CarelessAgent"
    config = EvalConfig(env=env, episodes=episodes, protocol=protocol, agent=agent, concurrency=2)
    with TemporaryDirectory() as folder:
        evaluation = evaluate(config, Path(folder) / "run")
        found = {one.task_id: one for one in read_trajectories(Path(folder) / "run")}
    assert len(found) == episodes and evaluation.failed == 0
    assert len({one.stop_reason for one in found.values()}) > 1, "the agent always ends alike: nothing is compared"
    return Played(config, evaluation, found, Script(found.values()))


def _key(messages: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([[one["role"], one["content"]] for one in messages])
