"""Find better and worse steps by tree search from snapshots: python examples/search_pairs.py [AGENT] [FOLDER].

In every state of an episode the agent tries several replies, each in the world itself. Monte Carlo tree search values them
by how the same agent goes on from there, and the best and the worst become a preference pair (MCTS-DPO, arXiv 2405.00451).
With a single round this is the search of SPORT (arXiv 2504.21561): try some steps, judge each, go on with the best.

AGENT is a specification, e.g. ``local:model=checkpoints/base,temperature=1``. The default is scripted and takes seconds.
"""

import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import step_envs
from step_envs import Turn
from step_envs.agents import make_agent
from step_envs.credit import Moment
from step_envs.credit.rollout_value import RolloutValue
from step_envs.training import PreferencePair, reply_pair, write_pairs
from step_envs.wrappers import ReActWrapper

ENV = "STeP-ALFWorld-v0"
OPTIONS: dict[str, Any] = {"source": "generated", "household": "small", "max_steps": 20}


@dataclass
class Node:
    """A state that was reached, and the conversation up to it, which ends with the reply that led here and its answer."""

    snapshot: bytes
    turns: list[Turn]
    over: bool = False
    success: bool = False
    values: list[float] = field(default_factory=list)
    children: list["Node"] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Mean of the values that were found here and below."""
        return float(np.mean(self.values))


class TreeSearch:
    """Plays episodes, and searches from every state of them.

    Args:
        agent: Specification of the agent that replies, and that goes on to value a reply.
        rounds: How often the tree below a state grows before the best reply to it is taken.
        width: Replies that are tried in a state; of those with the same action only the first.
        continuations: How often the agent goes on from a new state.
        curiosity: How much replies that were followed seldom are preferred during the search.
    """

    def __init__(
        self, agent: str, rounds: int, *, width: int = 3, continuations: int = 2, curiosity: float = 0.3
    ) -> None:
        self.agent, self.rounds, self.width, self.curiosity = make_agent(agent), rounds, width, curiosity
        self.env = ReActWrapper(gym.make(ENV, split="train", **OPTIONS))
        self.world: step_envs.TextEnv = self.env.unwrapped  # type: ignore[assignment]
        self.values = RolloutValue(agent.replace(",", ";"), n=continuations)

    def play(self, task_id: str, min_gap: float = 0.1) -> tuple[list[PreferencePair], bool]:
        """Play a task with the best replies, and return the pairs, and whether the task was completed."""
        self.env.reset(options={"task_id": task_id})
        self.rng = np.random.default_rng(0)
        node, pairs = Node(self.world.snapshot(), list(self.env.conversation.turns)), []
        while not node.over:
            for _ in range(self.rounds):
                self.search(node)
            if not node.children:
                break
            ranked = sorted(node.children, key=lambda child: child.mean)
            if ranked[-1].mean - ranked[0].mean >= min_gap:
                best, worst = ranked[-1].turns[-2], ranked[0].turns[-2]
                pairs.append(reply_pair(self.world, node.snapshot, node.turns, best, worst))
            node = ranked[-1]
        return pairs, node.success

    def search(self, root: Node) -> None:
        """Follow promising replies down to a state in which nothing was tried yet, and try replies to it."""
        path = [root]
        while path[-1].children:
            path.append(max(path[-1].children, key=lambda child: self.promise(path[-1], child)))
        leaf = path[-1]
        if not leaf.over:
            leaf.children = list(self.try_replies(leaf))
        found = [value for child in leaf.children for value in child.values] or leaf.values[:1]
        for node in path:
            node.values += found

    def promise(self, parent: Node, child: Node) -> float:
        """Return the mean value of a reply, and more than that if it was followed seldom (UCT)."""
        return child.mean + self.curiosity * math.sqrt(math.log(1 + len(parent.values)) / len(child.values))

    def try_replies(self, node: Node) -> Iterator[Node]:
        """Try replies of the agent, each from the snapshot, and value the states that they lead to."""
        tried = set()
        for _ in range(self.width):
            self.env.resume(node.snapshot, node.turns)
            self.agent.begin(self.env, self.rng)
            reply = self.agent.act(self.env)
            if reply is None or self.env.read(reply).action in tried:
                continue
            tried.add(self.env.read(reply).action)
            *_, terminated, truncated, info = self.env.step(reply)
            child = Node(self.world.snapshot(), list(self.env.conversation.turns), terminated or truncated)
            child.success = info["success"]
            moment = Moment(self.world, child.turns, {"env": OPTIONS, **self.env.protocol})
            child.values = [info["score"] if child.over else self.values.value(moment) or 0.0]
            yield child


def run(agent: str, folder: Path, tasks: int = 12) -> dict[str, list[PreferencePair]]:
    """Search with one round and with several, print what came of it, and write the pairs into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = step_envs.list_tasks(ENV, split="train", source="generated", household="small")[:tasks]
    print("method    tasks done    pairs    confirmed by the oracle")
    found = {}
    for method, rounds in (("sport", 1), ("mcts", 6)):
        search = TreeSearch(agent, rounds)
        played = [search.play(task) for task in chosen]
        found[method] = [pair for pairs, _ in played for pair in pairs]
        done, confirmed = sum(success for _, success in played), sum(pair.confirmed for pair in found[method])
        print(f"{method:8}{done:5} of {tasks:2}{len(found[method]):9}{confirmed / max(1, len(found[method])):27.0%}")
        write_pairs(found[method], folder / f"{method}.jsonl")
    return found


def main() -> None:
    """Search with the agent and into the folder from the command line."""
    agent = sys.argv[1] if len(sys.argv) > 1 else "novice:error_rate=0.7"
    with tempfile.TemporaryDirectory() as temporary:
        # What a named agent took long to find is kept.
        named = "runs/pairs" if len(sys.argv) > 1 else temporary
        run(agent, Path(sys.argv[2] if len(sys.argv) > 2 else named))


if __name__ == "__main__":
    main()
