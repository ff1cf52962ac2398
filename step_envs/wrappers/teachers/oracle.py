"""The environment's own oracle as a teacher: exact, free, and without a network."""

from typing_extensions import override

from step_envs.replies import short_quote
from step_envs.trajectory import Actor, ErrorCategory, Verdict
from step_envs.wrappers.teachers.base import Teacher, TeacherContext


class OracleTeacher(Teacher):
    """Judges an action by what it does to the oracle's plan.

    An action is right if it shortens the plan. An action that only looks or opens something is also right, because an agent
    has to find out what the oracle knows; taken twice in a row, it is an error. Everything else is an error: an action that
    the world does not understand, one that brings the goal no nearer, one after which the goal cannot be reached.

    Args:
        strict: Count looking and opening as errors too if they do not shorten the plan.
    """

    plain_python = True

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict

    @override
    def describe(self) -> Actor:
        return Actor(name="oracle", params={"strict": self.strict})

    @override
    def judge(self, context: TeacherContext) -> Verdict:
        """Compare the plans before and after the action; ``unknown`` if the oracle knew no plan even before it."""
        plan, rest = self._plans(context)
        if context.action is not None and rest is not None and (len(rest) < len(plan) or self._may_explore(context)):
            return Verdict(status="ok")
        return self._correction(context, plan, rest)

    def correct(self, context: TeacherContext) -> Verdict:
        """Say what is wrong with an action that is known to be wrong, and what to do instead.

        Returns:
            A verdict of status ``error``; ``unknown`` if the oracle knew no plan even before the action.
        """
        return self._correction(context, *self._plans(context))

    def _correction(self, context: TeacherContext, plan: list[str], rest: list[str] | None) -> Verdict:
        if not plan:
            return Verdict(
                status="unknown", reason="The oracle knows no way to success from the state before the action."
            )
        # The correction starts where the action led, unless the action was not carried out or no plan is left after it.
        remaining = rest if context.executed and rest else plan
        error, reason, category = self._describe_error(context, rest)
        return Verdict(
            status="error",
            error=error,
            reason=reason,
            reflection=context.env.oracle.thought(remaining[0]),
            corrected_action=remaining[0],
            category=category,
            undo=context.executed and rest is None,
        )

    @staticmethod
    def _plans(context: TeacherContext) -> tuple[list[str], list[str] | None]:
        """Compute the plans before and after the action; the first is empty where no way is known, the second None."""
        oracle = context.env.oracle
        plan = oracle.plan(context.point_before) or []
        if not plan or context.action is None:
            return plan, plan or None
        return plan, oracle.plan(context.point_before, after=[context.action])

    def _may_explore(self, context: TeacherContext) -> bool:
        action = context.action or ""
        return (
            not self.strict
            and context.env.oracle.is_informative(action)
            and action != context.previous_action
            and _understood(context)
        )

    def _describe_error(self, context: TeacherContext, rest: list[str] | None) -> tuple[str, str, ErrorCategory]:
        """Return what was wrong, why, and the category; the oracle sees what a step did, so it never says ``memory``."""
        if context.action is None:
            return (
                "My last reply held no action.",
                "I must end every reply with one action on a line of its own.",
                "action",
            )
        action = short_quote(context.action)
        if rest is None:
            return f'"{action}" was a mistake.', "After it the task cannot be completed any more.", "planning"
        if context.action == context.previous_action:
            return f'"{action}" was useless.', "It only repeats the step before.", "reflection"
        if not _understood(context):
            return f'"{action}" had no effect.', "It is not an action that is understood here.", "action"
        return f'"{action}" was the wrong step.', "It brings me no closer to the goal.", "planning"


def _understood(context: TeacherContext) -> bool:
    return bool(context.info["valid_action"]) if context.executed else context.env.accepts(context.action or "")
