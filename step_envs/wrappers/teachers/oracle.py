"""The environment's own oracle as a teacher: exact, free, and without a network."""

from step_envs.trajectory import Actor, Verdict
from step_envs.wrappers.reply import parse_action
from step_envs.wrappers.teachers.base import Teacher, TeacherContext

_LONGEST_QUOTE = 120


class OracleTeacher(Teacher):
    """Judges an action by what it does to the way that is left.

    An action is right when it shortens the oracle's plan. One that only looks or opens is also right the first time, for an
    agent must find out what the oracle knows; taken twice running, it is an error. Everything else is an error: an action
    that is not understood, one that brings the goal no nearer, one that closes every way to it.

    Args:
        strict: Count looking and opening as errors too when they do not shorten the plan.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict

    def describe(self) -> Actor:
        """Say who teaches, for the record."""
        return Actor(name="oracle", params={"strict": self.strict})

    def judge(self, context: TeacherContext) -> Verdict:
        """Judge by the plan before and after the action; ``unknown`` where the oracle knew no way even before it."""
        oracle = context.env.oracle
        plan = oracle.plan(context.before)
        if not plan:
            return Verdict(
                status="unknown", reason="The oracle knows no way to success from the state before the action."
            )
        rest = plan if context.action is None else oracle.plan(context.before, after=[context.action])
        if context.action is not None and rest is not None and (len(rest) < len(plan) or self._may_look(context)):
            return Verdict(status="ok")
        # The correction starts from where the action led, unless it was not carried out or led nowhere.
        way = rest if context.executed and rest else plan
        error, reason = self._fault(context, rest)
        return Verdict(
            status="error",
            error=error,
            reason=reason,
            reflection=oracle.thought(way[0]),
            corrected_action=way[0],
            undo=context.executed and rest is None,
        )

    def _may_look(self, context: TeacherContext) -> bool:
        action = context.action or ""
        return (
            not self.strict
            and context.env.oracle.is_informative(action)
            and action != _last_action(context)
            and _understood(context)
        )

    def _fault(self, context: TeacherContext, rest: list[str] | None) -> tuple[str, str]:
        if context.action is None:
            return "My last reply held no action.", "I must end every reply with one action on a line of its own."
        action = _quoted(context.action)
        if rest is None:
            return f'"{action}" was a mistake.', "After it the task cannot be completed any more."
        if context.action == _last_action(context):
            return f'"{action}" was useless.', "It only repeats the step before."
        if not _understood(context):
            return f'"{action}" had no effect.', "It is not an action that is understood here."
        return f'"{action}" was the wrong step.', "It brings me no closer to the goal."


def _quoted(action: str) -> str:
    # The quote is trained on: it may be neither endless nor carry what a terminal or a chat template would act on.
    words = "".join(letter if letter.isprintable() else " " for letter in action).replace("<|", "<").replace("|>", ">")
    return words if len(words) <= _LONGEST_QUOTE else f"{words[:_LONGEST_QUOTE]} ..."


def _understood(context: TeacherContext) -> bool:
    return bool(context.info["valid_action"]) if context.executed else context.env.accepts(context.action or "")


def _last_action(context: TeacherContext) -> str | None:
    replies = [message["content"] for message in context.messages if message["role"] == "assistant"]
    return parse_action(replies[-1]) if replies else None
