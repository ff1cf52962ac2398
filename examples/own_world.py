"""Write an environment of your own, with an oracle, and play it with a teacher: python examples/own_world.py.

There are three rooms in a row. A coin lies in one of them, and a box stands in the first. The task is to put the coin into
the box. If the agent eats the coin, the episode ends in failure. This file contains everything that is special about this
world. ``TextEnv`` provides seeds, rewards, step limits, ``info`` and snapshots.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym

from step_envs import Oracle, ReActFormat, TaskSet, TextEnv, WorldState
from step_envs.errors import unknown_name
from step_envs.registration import make_vector
from step_envs.snapshots import Snapshot
from step_envs.spaces import require_text

ROOMS = ("hall", "study", "attic")


class CoinTasks(TaskSet):
    """Defines one task for each room of the coin and each room to start from: ``coin/<room>/<start>``."""

    splits = ("train", "test")
    types = ("near", "far")

    def ids(self, split: str) -> Sequence[str]:
        return [f"coin/{coin}/{start}" for coin in ROOMS for start in ROOMS if (start == "attic") == (split == "test")]

    def split_of(self, task_id: str) -> str:
        require_text(task_id, "A task id")
        for split in self.splits:
            if task_id in self.ids(split):
                return split
        raise unknown_name("task", task_id, [*self.ids("train"), *self.ids("test")])

    def type_of(self, task_id: str) -> str:
        self.split_of(task_id)  # raises for a task that does not exist
        return "near" if task_id.split("/")[1] == "hall" else "far"

    def max_steps(self, task_id: str) -> int:
        return 20


class CoinOracle(Oracle[dict[str, Any]]):
    """Plans: walk to the coin, take it, walk to the box, put it in."""

    def __init__(self, env: "CoinEnv") -> None:
        super().__init__(env)
        self.env = env

    def _state_now(self) -> dict[str, Any]:
        return dict(self.env.state)

    def _state_of(self, snapshot: Snapshot) -> dict[str, Any]:
        return read_state(snapshot.world)

    def _plan(self, state: dict[str, Any], after: Sequence[str]) -> list[str] | None:
        for action in after:
            carry_out(state, action)
        if state["coin"] == "eaten":
            return None
        if state["coin"] == "box":
            return []
        steps = [] if state["coin"] == "hand" else [*walk(state["room"], state["coin"]), "take coin"]
        return [*steps, *walk(state["room"] if state["coin"] == "hand" else state["coin"], 0), "put coin in box"]

    def _thought(self, action: str) -> str:
        return f"The coin belongs into the box in the hall, so I {action}."

    def _is_informative(self, action: str) -> bool:
        return action == "look"


def read_state(saved: Any) -> dict[str, Any]:
    """Read the world's own part of a snapshot, and refuse data that ``_save`` cannot have written."""
    if not isinstance(saved, dict) or set(saved) != {"room", "coin"}:
        raise ValueError("the fields are room and coin")
    if saved["room"] not in range(len(ROOMS)) or saved["coin"] not in (*range(len(ROOMS)), "hand", "box", "eaten"):
        raise ValueError(f"room is {saved['room']!r}, coin is {saved['coin']!r}")
    return dict(saved)


def walk(start: int, end: int) -> list[str]:
    return ["go right" if end > start else "go left"] * abs(end - start)


def carry_out(state: dict[str, Any], action: str) -> str | None:
    """Change the state, and return the observation, or None if the action does nothing."""
    room, coin = state["room"], state["coin"]
    if action == "look":
        here = " A coin lies here." if coin == room else ""
        return f"This is the {ROOMS[room]}.{here}{' There is a box.' if room == 0 else ''}"
    if action == "go left" and room > 0:
        state["room"] = room - 1
    elif action == "go right" and room < len(ROOMS) - 1:
        state["room"] = room + 1
    elif action == "take coin" and coin == room:
        state["coin"] = "hand"
    elif action == "put coin in box" and coin == "hand" and room == 0:
        state["coin"] = "box"
    elif action == "eat coin" and coin == "hand":
        state["coin"] = "eaten"
    else:
        return None
    return "Done."


class CoinEnv(TextEnv):
    """The environment with the coin and the box."""

    env_id = "Coin-v0"
    default_split = "train"
    react = ReActFormat(manual="You tidy a house. Answer with 'Thought: ...' and 'Action: ...'.")

    def __init__(self, *, split: str = "train", **kwargs: Any) -> None:
        super().__init__(self.task_set(), split=split, **kwargs)
        self.state: dict[str, Any] = {}

    @classmethod
    def task_set(cls, **kwargs: Any) -> CoinTasks:
        return CoinTasks()

    @property
    def oracle(self) -> CoinOracle:
        return CoinOracle(self)

    def provenance(self) -> dict[str, str]:
        return {"coin-world": "1"}

    @classmethod
    def is_move(cls, action: str) -> bool:
        return super().is_move(action) or action.startswith("go ")

    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        _, coin, start = task_id.split("/")
        self.state = {"room": ROOMS.index(start), "coin": ROOMS.index(coin)}
        return self._world_state(carry_out(self.state, "look"))

    def _act(self, action: str) -> WorldState:
        return self._world_state(carry_out(self.state, action))

    def _world_state(self, answer: str | None) -> WorldState:
        coin = self.state["coin"]
        score = {"hand": 0.5, "box": 1.0, "eaten": -1.0}.get(coin, 0.0)
        return WorldState(
            answer or "Nothing happens.", score, coin == "box", coin in ("box", "eaten"), answer is not None
        )

    def _instruction(self) -> str:
        return "Put the coin into the box."

    def _admissible(self) -> Sequence[str]:
        actions = ["eat coin", "go left", "go right", "look", "put coin in box", "take coin"]
        return [action for action in actions if carry_out(dict(self.state), action) is not None]

    def _save(self) -> Any:
        return dict(self.state)

    def _load(self, task_id: str, saved: Any) -> None:
        self.state = read_state(saved)


gym.register(
    "Coin-v0",
    entry_point=f"{__name__}:CoinEnv",
    vector_entry_point=partial(make_vector, "Coin-v0"),
    # Gymnasium's passive checker would refuse all steps of an environment whose first reset failed.
    disable_env_checker=True,
)


def main() -> None:
    from step_envs.agents import NoviceAgent
    from step_envs.collection import rollout
    from step_envs.testing import check_text_env
    from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
    from step_envs.wrappers.teachers import OracleTeacher

    check_text_env("Coin-v0")
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), OracleTeacher(), max_errors=3)
    trajectory = rollout(env, NoviceAgent(error_rate=0.5), seed=3)
    for turn in trajectory.turns:
        print(f"{turn.kind:>12} {turn.loss:.0f}  {turn.content!r}")


if __name__ == "__main__":
    main()
