"""A language model as a teacher, wherever the model comes from.

A model can fail to answer in more ways than it can answer. All of them end in the verdict ``unknown``, which is neither
right nor wrong, because a step that is masked or trained on by accident spoils the data without a trace. Only faults that
concern every request (key, address, model, budget) are raised.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel
from typing_extensions import override

from step_envs.endpoint import AskedModel, UsesChatModel
from step_envs.errors import EndpointDownError, RequestRefusedError
from step_envs.trajectory import Actor, Verdict
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.judging import one_line
from step_envs.wrappers.teachers.leak import find_leak, shown_to_agent
from step_envs.wrappers.teachers.prompting import PromptBook, question
from step_envs.wrappers.teachers.structured_output import StructuredAnswer, VerdictFields, ask_for, explanation

_EVERY_REQUEST = ("quota", "key", "model", "address")
"""Kinds of refusals that concern every request. All others may concern this one alone; where they do not, the run ends
after some requests were refused alike, which the gateway counts."""

_NOTHING = re.compile(r"\W*(?:\Z|(?:no|none|null|nothing|not applicable|n/a|nil|empty|ok)\b)", re.IGNORECASE)
"""What models write into a field that has nothing to say."""

Shape = TypeVar("Shape", bound=BaseModel)


class TeacherWithModel(Teacher, UsesChatModel):
    """What all teachers that ask a model have in common.

    Args:
        chat: The model.
        prompts: Folder with prompt texts of your own; see ``PromptBook``.
    """

    def __init__(self, chat: AskedModel, prompts: str | Path | None) -> None:
        self.chat = chat
        self.prompts = PromptBook(prompts)

    def _ask(
        self,
        context: TeacherContext,
        asked: str,
        shape: type[Shape],
        check: Callable[[Shape], str | None],
        *,
        role: str = "common",
    ) -> StructuredAnswer[Shape]:
        """Ask the model about one action.

        Args:
            context: The action.
            asked: The question that follows the episode.
            shape: What is wanted.
            check: Returns what is wrong with an answer of that shape; None if nothing is.
            role: Name of the system prompt.

        Returns:
            The answer; if the endpoint is down or refuses this one request, an answer without a value.

        Raises:
            EndpointError: The endpoint refuses the key, the address or the model.
            BudgetSpentError: The budget is spent.
        """
        try:
            return ask_for(self.chat, self.prompts.messages(context, asked, role), shape, check)
        except EndpointDownError as error:
            return StructuredAnswer(None, str(error), None)
        except RequestRefusedError as error:
            if error.kind in _EVERY_REQUEST:
                raise
            return StructuredAnswer(None, str(error), None)


class ModelTeacher(TeacherWithModel):
    """Has a model judge each step.

    Args:
        chat: The model.
        prompts: Folder with prompt texts of your own; see ``PromptBook``.
        most_actions: Most admissible actions that the model is told; the most relevant ones are chosen.
        privileged: Tell the model the oracle's plan, forbid it to reveal any of it, and check that it does not.

    Raises:
        ValueError: ``most_actions`` is less than 1.
        DataError: ``prompts`` is no folder of prompts.
    """

    name: ClassVar[str]

    def __init__(
        self,
        chat: AskedModel,
        *,
        prompts: str | Path | None = None,
        most_actions: int = 60,
        privileged: bool = False,
    ) -> None:
        if most_actions < 1:
            raise ValueError(f"most_actions must be at least 1, got {most_actions}.")
        super().__init__(chat, prompts)
        self.most_actions = most_actions
        self.privileged = privileged

    @override
    def describe(self) -> Actor:
        return self.chat.describe(
            self.name, prompts=self.prompts.digest, most_actions=self.most_actions, privileged=self.privileged
        )

    @override
    def judge(self, context: TeacherContext) -> Verdict:
        """Ask the model; the verdict is ``unknown`` if it gives none that can be used.

        Raises:
            EndpointError: The endpoint refuses the key, the address or the model.
            BudgetSpentError: The budget is spent.
        """
        plan = context.env.oracle.plan() if self.privileged else None

        def check(said: VerdictFields) -> str | None:
            fault = _what_is_missing(said) or _what_contradicts(said, context.action)
            if fault or not plan:
                return fault
            return find_leak(explanation(said), plan, said.corrected_action or "", shown_to_agent(context))

        asked = question(context, most_actions=self.most_actions, plan=plan)
        answer = self._ask(context, asked, VerdictFields, check)
        said = answer.value
        if said is None:
            return Verdict(status="unknown", reason=answer.problem, usage=answer.usage)
        if said.status != "error":
            # Whatever a model adds to "ok" was not asked for and is not recorded.
            reason = said.reason if said.status == "unknown" else None
            return Verdict(status=said.status, reason=reason, usage=answer.usage)
        return Verdict(**said.model_dump(), usage=answer.usage)


def _what_contradicts(said: VerdictFields, action: str | None) -> str | None:
    """Return what is wrong with an "ok" that names an error and another action: a wrong step would be trained as right."""
    if said.status != "ok" or not (_says_something(said.error) and _says_something(said.corrected_action)):
        return None
    if one_line(said.corrected_action or "") == one_line(action or ""):
        return None
    return 'status is "ok", but error and corrected_action say that the step was wrong.'


def _says_something(text: str | None) -> bool:
    return _NOTHING.match(text or "") is None


def _what_is_missing(said: VerdictFields) -> str | None:
    if said.status != "error":
        return None
    if not (said.corrected_action or "").strip():
        return 'With status "error", corrected_action must be an action.'
    if not any((text or "").strip() for text in (said.error, said.reason, said.reflection)):
        return 'With status "error", error, reason and reflection must say what was wrong.'
    return None
