"""The interface of a value function, and how one is made from a line of text.

A value says what a state is worth to whoever acts in it, from 0 (nothing can be reached any more) to 1 (the task is done).
All value functions mean the same quantity, the expected final score, discounted for every step that is still needed for it,
so that their values can be compared with each other. They differ in who is supposed to act from there, and in how exactly
they know it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from typing_extensions import override

from step_envs.core import TextEnv
from step_envs.credit.episode_replay import WorldPool, replay
from step_envs.options import NamesOptions
from step_envs.specs import make_from_spec
from step_envs.trajectory import Actor, Trajectory, Turn
from step_envs.world_state import WorldState

VALUE_FUNCTIONS = {
    "oracle": "step_envs.credit.oracle_value:OracleValue",
    "rollouts": "step_envs.credit.rollout_value:RolloutValue",
    "estimator": "step_envs.credit.progress_estimator:ProgressEstimator",
}
"""Name of each built-in value function -> its module and class."""


class ValueFunction(NamesOptions, ABC):
    """Says what the states of an episode are worth. It values one episode at a time."""

    name: ClassVar[str] = ""
    """Name in the record; the name of the class if empty."""

    plain_python: ClassVar[bool] = False
    """True if it only computes, in Python: then ``annotate`` may use several processes."""

    def describe(self) -> Actor:
        """Return name, model and parameters, for the record."""
        return Actor(name=self.name or type(self).__name__)

    @abstractmethod
    def values(self, trajectory: Trajectory) -> list[float | None]:
        """Value an episode.

        Args:
            trajectory: The episode.

        Returns:
            For every turn what the state after it is worth, from 0 to 1: for the turn of the task the state at the start,
            for replies the state that they led to. None for all other turns, and where nothing is known.
        """

    def use_env_options(self, env_options: Mapping[str, Any]) -> None:
        """Take options of the environment that differ from the recorded ones; see ``episode_replay.make_world``."""

    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True)
class Moment:
    """A moment of an episode.

    Attributes:
        world: The world, in the state of that moment. Whoever changes it puts it back.
        turns: The conversation so far.
        protocol: How the episode is played; see ``Trajectory.protocol``.
        episode: Number of the episode in its run; None outside a run.
    """

    world: TextEnv
    turns: Sequence[Turn]
    protocol: Mapping[str, Any]
    episode: int | None = None

    @property
    def state(self) -> WorldState:
        """Score and end of the episode at that moment."""
        return self.world.restore_point().snapshot.state

    @property
    def task_id(self) -> str:
        """The task."""
        return self.world.restore_point().snapshot.task_id


class StateValueFunction(ValueFunction):
    """A value function that looks at single moments, so that it can also be asked while an episode is played.

    Args:
        discount: Factor, from above 0 to 1, for every step that is still needed. With 1, a state is worth the same however
            far the goal is.

    Raises:
        ValueError: The discount is out of range.
    """

    def __init__(self, *, discount: float = 0.95) -> None:
        if not 0 < discount <= 1:
            raise ValueError(f"discount must be above 0 and at most 1, got {discount}.")
        self.discount = discount
        self._pool = WorldPool()

    @override
    def describe(self) -> Actor:
        """Return the name, and the discount, which advantages are computed with."""
        return Actor(name=super().describe().name, params={"discount": self.discount})

    @abstractmethod
    def running_value(self, moment: Moment) -> float | None:
        """Say what a moment of an episode that has not ended is worth.

        Args:
            moment: The moment; its world must be left as it is.

        Returns:
            The value; it is cut to 0 to 1. None if nothing is known.
        """

    @final
    def value(self, moment: Moment) -> float | None:
        """Say what a moment is worth.

        Returns:
            The value, from 0 to 1; the score where the engine has ended the episode, and None if nothing is known.

        Raises:
            ValueError: The value is no number.
        """
        state = moment.state
        value = state.score if state.done else self.running_value(moment)
        if value is not None and math.isnan(value):
            raise ValueError(f"{type(self).__name__} gave {value} as the value of a state.")
        return None if value is None else min(1.0, max(0.0, value))

    @override
    def values(self, trajectory: Trajectory) -> list[float | None]:
        """Value an episode by replaying it.

        Raises:
            DataError: The world answers differently than in the record.
        """
        found: list[float | None] = [None] * len(trajectory.turns)
        world = self._pool.world_for(trajectory.env_id, trajectory.protocol)
        for turn in replay(trajectory, world):
            said = _up_to_the_answer(trajectory, turn.number)
            found[turn.number] = self.value(Moment(world, said, trajectory.protocol, trajectory.episode))
        return found

    @override
    def use_env_options(self, env_options: Mapping[str, Any]) -> None:
        self._pool = WorldPool(env_options)

    @override
    def close(self) -> None:
        self._pool.close()


def _up_to_the_answer(trajectory: Trajectory, number: int) -> Sequence[Turn]:
    """Return the conversation up to a turn and the answer to it."""
    following = trajectory.turns[number + 1 : number + 2]
    answered = bool(following) and following[0].kind == "observation"
    return trajectory.turns[: number + 1 + answered]


def make_value_function(spec: str) -> ValueFunction:
    """Make a value function from ``name`` or ``name:option=value,...``.

    Args:
        spec: E.g. ``"rollouts:agent=novice:error_rate=0.3,n=5"``: inside the specification of an agent, a semicolon stands
            for every comma. A value function of your own is named by its module and class.

    Raises:
        UnknownNameError: There is no such value function.
        ValueError: An option is malformed, unknown or has a wrong value, or the named object is no value function.
    """
    made = make_from_spec(spec, VALUE_FUNCTIONS, "value function")
    if not isinstance(made, ValueFunction):
        raise ValueError(  # noqa: TRY004  (it is the user's words that are wrong)
            f"The value function {spec!r} is a {type(made).__name__}, not a step_envs.credit.ValueFunction."
        )
    return made
