"""What a world answers: one state of an episode, as it is shown to the agent and put into snapshots."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorldState:
    """The state of a world when a task begins, and after every action.

    Attributes:
        observation: What the engine printed.
        score: The engine's own score over its maximum: 1.0 is full marks, a failure can be negative.
        success: The engine says that the task is fully done; never merely that the episode ended.
        done: The engine ended the episode, in success or in failure.
        valid_action: The engine understood the action. True at the beginning of a task.
        details: What only this world reports, under the original engine's own names; JSON values only.
    """

    observation: str
    score: float
    success: bool
    done: bool
    valid_action: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


_FIELD_TYPES: dict[str, type] = {
    "observation": str,
    "success": bool,
    "done": bool,
    "valid_action": bool,
    "details": dict,
}


def read_world_state(saved: Mapping[str, Any]) -> WorldState:
    """Read a state that was saved as JSON, and check the type of every field.

    A wrong type must be found here: otherwise it would surface many steps later, in the middle of an episode.

    Raises:
        KeyError: A field is missing.
        TypeError: A field is unknown.
        ValueError: A field has a value of the wrong type; the message names it.
    """
    for name in WorldState.__dataclass_fields__:
        saved[name]
    state = WorldState(**saved)
    for name, kind in _FIELD_TYPES.items():
        if type(getattr(state, name)) is not kind:
            raise ValueError(f"{name} is {getattr(state, name)!r}")
    if type(state.score) not in (float, int) or not math.isfinite(state.score):
        raise ValueError(f"score is {state.score!r}")
    return state
