"""A teacher that finds wrong steps by what they were worth (STeCa, arXiv 2502.14276).

STeCa plays whole episodes first, values every step by continuations, and calls a step deviated where the value falls. Here
the same test is made while the episode is played, so that the correction runs in the world and is not spliced in.
"""

from typing import Any

from typing_extensions import override

from step_envs.credit.advantages import TOLERANCE
from step_envs.credit.oracle_value import OracleValue
from step_envs.credit.rollout_value import RolloutValue
from step_envs.credit.value_functions import Moment, StateValueFunction
from step_envs.endpoint import UsesChatModel
from step_envs.replies import is_think_action
from step_envs.trajectory import Actor, Turn, Verdict
from step_envs.wrappers.backtracking import world_at
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.oracle import OracleTeacher


class StepRewardTeacher(Teacher):
    """Calls a step wrong if its advantage, ``discount * value after - value before``, is below ``-threshold``.

    The correction is the oracle's, in the oracle's words.

    Args:
        agent: Value states by continuations of this agent, as ``name:option=value;option=value``; None values them by the
            oracle.
        n: Continuations from each state.
        discount: Factor for every step that is still needed; see ``StateValueFunction``.
        max_steps: The most steps of a continuation; None is the step limit of the episode.
        seed: Decides the random streams of the continuations.
        threshold: The fall in value that is still taken for chance, from 0 to 1. A mean over 5 continuations varies.

    Raises:
        ValueError: An argument is out of range, or the agent is a model behind an endpoint, whose requests would be in no
            budget.
        UnknownNameError: There is no such agent.
    """

    def __init__(
        self,
        *,
        agent: str | None = None,
        n: int = 5,
        discount: float = 0.95,
        max_steps: int | None = None,
        seed: int = 0,
        threshold: float = 0.0,
    ) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1, got {threshold}.")
        self.threshold = threshold
        self.value_function: StateValueFunction = OracleValue(discount=discount)
        if agent is not None:
            tried = RolloutValue(agent, n=n, discount=discount, max_steps=max_steps, seed=seed)
            if isinstance(tried.agent, UsesChatModel):
                raise ValueError(
                    "Continuations by a model behind an endpoint would be in no budget: name an agent that is a local "
                    "checkpoint, or annotate the run afterwards."
                )
            self.value_function = tried
        self._oracle = OracleTeacher(strict=True)
        # What the class says of itself is here known only once there is a value function.
        vars(self)["plain_python"] = self.value_function.plain_python

    @override
    def describe(self) -> Actor:
        values = self.value_function.describe()
        params: dict[str, Any] = {**values.params, "threshold": self.threshold, "value": values.name}
        return Actor(name="step_reward", model=values.model, params=params)

    @override
    def judge(self, context: TeacherContext) -> Verdict:
        """Compare the values before and after the action; ``unknown`` if one of them, or a correction, is not known."""
        before, after = self._values(context)
        if before is None or after is None or (before == 0 and after == 0):
            return Verdict(status="unknown", reason="No way to success is known from the state before the action.")
        if self.value_function.discount * after - before >= -self.threshold - TOLERANCE:
            return Verdict(status="ok")
        return self._oracle.correct(context)

    def _values(self, context: TeacherContext) -> tuple[float | None, float | None]:
        """Value the state before the action, and the state after it, which is tried out."""
        world, turns = context.env, [_turn(message) for message in context.messages]
        with world_at(world, context.point_before):
            before = self.value_function.value(Moment(world, turns, context.protocol))
            thinks = context.protocol.get("think_actions") and is_think_action(context.action)
            if context.action is None or thinks:
                answer, *_ = world.pass_step(world.react.format_error)
            else:
                answer = world.react.observation_prefix + world.step(context.action)[0]
            if context.observation is not None:
                answer = context.observation
            said = {"role": "assistant", "content": context.reply}, {"role": "user", "content": answer}
            after = self.value_function.value(Moment(world, [*turns, *map(_turn, said)], context.protocol))
        return before, after


def _turn(message: dict[str, str]) -> Turn:
    kinds = {"system": "instruction", "user": "observation", "assistant": "agent"}
    return Turn.model_validate(message | {"kind": kinds[message["role"]]})
