"""The part of a chat completion that is used here, read from what servers send.

Servers add fields, leave counts empty and have their own words for how an answer ended. So only what is needed is
validated: words count even where the token counts are missing.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

Finish = Literal["stop", "length", "refusal", "other"]
"""How an answer ended: complete, cut off, refused (by the model or a filter), or in a way that is not known here."""

_COMPLETE = (None, "stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call")
"""Servers' names for the end of a complete answer."""
_CUT_OFF = ("length", "max_tokens", "model_length")
"""Servers' names for the end of an answer that ran out of room."""


class Message(BaseModel):
    """What the model wrote."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One answer of a completion."""

    message: Message
    finish_reason: str | None = None

    def read(self) -> tuple[str, Finish]:
        """Return the text (of a refusal, the words of the refusal) and how it ended."""
        if self.message.refusal:
            return self.message.refusal, "refusal"
        text = self.message.content or ""
        if self.finish_reason == "content_filter":
            return text, "refusal"
        if self.finish_reason in _CUT_OFF:
            return text, "length"
        # The text is used whatever a server calls its end; only a "stop" may go into the cache.
        return text, "stop" if text and self.finish_reason in _COMPLETE else "other"


class PromptTokenDetails(BaseModel):
    """How the prompt's tokens were counted."""

    cached_tokens: int | None = Field(None, ge=0)


class TokenCounts(BaseModel):
    """How many tokens the server counted."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)
    prompt_tokens_details: PromptTokenDetails | None = None

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the server had in its prefix cache."""
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        return min(cached or 0, self.prompt_tokens)


class ChatCompletion(BaseModel):
    """An answer of the ``/chat/completions`` route."""

    choices: list[Choice]
    usage: TokenCounts | None = None

    @field_validator("usage", mode="wrap")
    @classmethod
    def _drop_unusable_counts(cls, given: Any, read: ValidatorFunctionWrapHandler) -> TokenCounts | None:
        # Some servers send {} or nulls. That is no count, and the text beside it is as good as ever.
        try:
            counts: TokenCounts | None = read(given)
        except ValidationError:
            return None
        return counts
