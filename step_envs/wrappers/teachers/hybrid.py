"""Exact labels from a teacher that computes them (the oracle, or what steps were worth), words from a model.

An oracle knows which step was wrong, but its sentences are the same in every episode. A model writes well, but is not sure
which step was wrong. Together they give exact labels with varied reflections, for one request per wrong step.
"""

from pathlib import Path
from typing import Unpack

from typing_extensions import override

from step_envs.endpoint.model import ChatOptions
from step_envs.specs import nested_spec
from step_envs.trajectory import Actor, Verdict
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.judging import what_is_not_said
from step_envs.wrappers.teachers.leak import find_leak, shown_to_agent
from step_envs.wrappers.teachers.making import make_teacher
from step_envs.wrappers.teachers.model_teacher import TeacherWithModel
from step_envs.wrappers.teachers.oracle import OracleTeacher
from step_envs.wrappers.teachers.prompting import question
from step_envs.wrappers.teachers.structured_output import ExplanationFields, explanation


class HybridTeacher(TeacherWithModel):
    """Has the oracle decide whether a step is wrong and what to do instead, and a model say so in words.

    ``labels`` names another teacher that decides, such as ``step_reward``. Only wrong steps cost a request. If the words
    reveal something that the oracle knows and the agent cannot know, the model is asked again. It is also asked again if
    they name neither the step nor a thing in it. Without words that can be used the verdict is ``unknown``.

    Args:
        model: Name of the model.
        base_url: Root of the API, e.g. ``http://localhost:8000/v1``; None means OpenAI's.
        strict: Count looking and opening as errors too if they do not shorten the plan; see ``OracleTeacher``.
        labels: Specification of the teacher that decides, with a semicolon in place of every comma (and ``|`` for
            those inside its own ``agent=``):
            ``"step_reward:agent=random;threshold=0.1"``. It has to compute: one that asks a model would be in no budget.
        prompts: Folder with prompt texts of your own: ``hybrid.txt``, ``sciworld.txt``, ...
        **options: Options of ``ChatModel``; ``temperature`` is 0 and ``max_tokens`` is 1024 by default.

    Raises:
        ValueError: An argument has an impossible value, ``labels`` asks a model, or ``strict`` is given for labels that
            are not the oracle's.
        UnknownNameError: There is no such teacher for the labels.
        DataError: ``prompts`` is no folder of prompts.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        strict: bool = False,
        labels: str = "oracle",
        prompts: str | Path | None = None,
        **options: Unpack[ChatOptions],
    ) -> None:
        chat = self._make_chat(model, base_url, ChatOptions(temperature=0.0, max_tokens=1024) | options)
        super().__init__(chat, prompts)
        self.labels = _label_maker(labels, strict=strict)

    @override
    def describe(self) -> Actor:
        decides = self.labels.describe()
        params = decides.params if decides.name == "oracle" else {"labels": decides.model_dump(exclude_none=True)}
        return self.chat.describe("hybrid", prompts=self.prompts.digest, **params)

    @override
    def judge(self, context: TeacherContext) -> Verdict:
        """Judge by the labels; after an error, ask the model for the words.

        Raises:
            EndpointError: The endpoint refuses the key, the address or the model.
            BudgetSpentError: The budget is spent.
        """
        label = self.labels.judge(context)
        if label.status != "error":
            return label
        action = label.corrected_action or ""
        plan = context.env.oracle.plan() or [action]

        def check(said: ExplanationFields) -> str | None:
            if not all(text.strip() for text in (said.error, said.reason, said.reflection)):
                return "error, reason and reflection must not be empty."
            words = explanation(said)
            return what_is_not_said(words, context.action, action) or find_leak(
                words, plan, action, shown_to_agent(context)
            )

        asked = question(context, most_actions=1, plan=None, corrected_action=action)
        answer = self._ask(context, asked, ExplanationFields, check, role="hybrid")
        if answer.value is None:
            return Verdict(status="unknown", reason=answer.problem, usage=answer.usage)
        return label.model_copy(update=answer.value.model_dump() | {"usage": answer.usage})


def _label_maker(spec: str, *, strict: bool) -> Teacher:
    """Make the teacher that decides which steps are wrong."""
    if spec == "oracle":
        return OracleTeacher(strict=strict)
    if strict:
        raise ValueError(f"strict is an option of the oracle's labels, not of labels={spec!r}.")
    made = make_teacher(nested_spec(spec))
    if isinstance(made, TeacherWithModel):
        raise ValueError(  # noqa: TRY004  (it is the user's words that are wrong)
            f"The labels of a hybrid teacher come from one that computes them, not from {spec!r}, a model."
        )
    return made
