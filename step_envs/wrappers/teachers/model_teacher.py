"""A language model as a teacher, wherever the model comes from."""

from pathlib import Path
from typing import ClassVar

from step_envs.endpoint import ChatModel, UsesChatModel
from step_envs.errors import EndpointDownError, RequestRefusedError
from step_envs.trajectory import Actor, Verdict
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.leak import find_leak
from step_envs.wrappers.teachers.prompting import PromptBook, episode_so_far, question
from step_envs.wrappers.teachers.structured_output import WireVerdict, ask_for

_THIS_REQUEST_ONLY = (400, 413, 422)
"""Refusals that are about one request (too long, most often) and not about key, address or model."""


class ModelTeacher(Teacher, UsesChatModel):
    """Has a model judge each step.

    Args:
        chat: The model.
        prompts: Folder with prompt texts of one's own; see ``PromptBook``.
        most_actions: How many admissible actions the model is told at most, the most relevant ones.
        privileged: Tell the model the oracle's plan, forbid it to give anything of it away, and check that.
    """

    name: ClassVar[str]

    def __init__(
        self,
        chat: ChatModel,
        *,
        prompts: str | Path | None = None,
        most_actions: int = 60,
        privileged: bool = False,
    ) -> None:
        if most_actions < 1:
            raise ValueError(f"most_actions must be at least 1, got {most_actions}.")
        self.chat = chat
        self.prompts = PromptBook(prompts)
        self.most_actions = most_actions
        self.privileged = privileged

    def describe(self) -> Actor:
        """Say who teaches, for the record."""
        return self.chat.describe(
            self.name, prompts=self.prompts.digest, most_actions=self.most_actions, privileged=self.privileged
        )

    def judge(self, context: TeacherContext) -> Verdict:
        """Ask the model; ``unknown`` where it gives no usable verdict.

        Raises:
            EndpointError: The endpoint refuses the key, the address or the model.
            BudgetSpentError: There is no money left.
        """
        plan = context.env.oracle.plan() if self.privileged else None

        def check(said: WireVerdict) -> str | None:
            return _incomplete(said) or (None if not plan else leak(said, plan, context))

        try:
            outcome = ask_for(self.chat, self._messages(context, plan), WireVerdict, check)
        except EndpointDownError as error:
            return Verdict(status="unknown", reason=str(error))
        except RequestRefusedError as error:
            if error.status not in _THIS_REQUEST_ONLY:
                raise
            return Verdict(status="unknown", reason=str(error))
        said = outcome.value
        if said is None:
            return Verdict(status="unknown", reason=outcome.problem, usage=outcome.usage)
        if said.status != "error":
            # What a model adds to "ok" is not asked for and goes nowhere.
            reason = said.reason if said.status == "unknown" else None
            return Verdict(status=said.status, reason=reason, usage=outcome.usage)
        return Verdict(**said.model_dump(), usage=outcome.usage)

    def _messages(self, context: TeacherContext, plan: list[str] | None) -> list[dict[str, str]]:
        asked = question(context, most_actions=self.most_actions, plan=plan)
        return [
            {"role": "system", "content": self.prompts.system(context.env.env_id)},
            {"role": "user", "content": f"{episode_so_far(context)}\n{asked}"},
        ]


def _incomplete(said: WireVerdict) -> str | None:
    if said.status != "error":
        return None
    if not (said.corrected_action or "").strip():
        return 'With status "error", corrected_action must be an action.'
    if not any((text or "").strip() for text in (said.error, said.reason, said.reflection)):
        return 'With status "error", error, reason and reflection must say what was wrong.'
    return None


def leak(said: WireVerdict, plan: list[str], context: TeacherContext) -> str | None:
    """Say what a verdict gives away of the plan; None where nothing."""
    words = " ".join(text for text in (said.error, said.reason, said.reflection) if text)
    shown = [turn["content"] for turn in context.messages]
    seen = [*shown, context.reply, context.observation or "", *context.env.admissible_actions()]
    return find_leak(words, plan, said.corrected_action or "", seen)
