"""Exact labels from the oracle, words from a model."""

from pathlib import Path
from typing import Any

from step_envs.endpoint import ChatModel, UsesChatModel
from step_envs.errors import EndpointDownError, RequestRefusedError
from step_envs.trajectory import Actor, Verdict
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.leak import find_leak
from step_envs.wrappers.teachers.oracle import OracleTeacher
from step_envs.wrappers.teachers.prompting import PromptBook, episode_so_far, question
from step_envs.wrappers.teachers.structured_output import WireWords, ask_for


class HybridTeacher(Teacher, UsesChatModel):
    """Has the oracle decide whether a step is wrong and what to do instead, and a model say so in words.

    Only wrong steps cost a request. Words that give away what the oracle knows and the agent cannot are asked for again;
    without words that can be used the verdict is ``unknown``.

    Args:
        model: See ``OpenAITeacher``, as for all that is not named here.
        strict: See ``OracleTeacher``.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        strict: bool = False,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        timeout: float = 120.0,
        max_retries: int = 5,
        prompts: str | Path | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.oracle = OracleTeacher(strict=strict)
        self.prompts = PromptBook(prompts)
        self.chat = ChatModel(
            model,
            base_url,
            api_key_env=api_key_env,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=timeout,
            max_retries=max_retries,
            extra=extra,
        )

    def describe(self) -> Actor:
        """Say who teaches, for the record."""
        return self.chat.describe("hybrid", prompts=self.prompts.digest, strict=self.oracle.strict)

    def judge(self, context: TeacherContext) -> Verdict:
        """Judge by the oracle; after an error, ask the model for the words.

        Raises:
            EndpointError: The endpoint refuses the key, the address or the model.
            BudgetSpentError: There is no money left.
        """
        label = self.oracle.judge(context)
        if label.status != "error":
            return label
        action = label.corrected_action or ""
        plan = context.env.oracle.plan() or [action]
        seen = [*(turn["content"] for turn in context.messages), context.reply, context.observation or ""]

        def check(said: WireWords) -> str | None:
            if not all(text.strip() for text in (said.error, said.reason, said.reflection)):
                return "error, reason and reflection must not be empty."
            words = f"{said.error} {said.reason} {said.reflection}"
            return find_leak(words, plan, action, [*seen, *context.env.admissible_actions()])

        asked = question(context, most_actions=1, plan=None, corrected_action=action)
        messages = [
            {"role": "system", "content": self.prompts.system(context.env.env_id, "hybrid")},
            {"role": "user", "content": f"{episode_so_far(context)}\n{asked}"},
        ]
        try:
            outcome = ask_for(self.chat, messages, WireWords, check)
        except EndpointDownError as error:
            return Verdict(status="unknown", reason=str(error))
        except RequestRefusedError as error:
            if error.status not in (400, 413, 422):
                raise
            return Verdict(status="unknown", reason=str(error))
        if outcome.value is None:
            return Verdict(status="unknown", reason=outcome.problem, usage=outcome.usage)
        return label.model_copy(update=outcome.value.model_dump() | {"usage": outcome.usage})
