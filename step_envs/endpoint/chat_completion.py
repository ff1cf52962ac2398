"""Reads what servers answer: chat completions in every form that public servers send them in.

Servers add fields, leave counts empty, send text in parts or in a stream that nobody asked for, put thoughts beside or into
the text, and have their own words for how an answer ended. So nothing is validated that is not needed: words count even
where everything around them is strange. What holds no words and no error at all is no chat completion.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from step_envs.endpoint.token_counts import TokenCounts, read_counts
from step_envs.token_logprobs import joined_characters
from step_envs.trajectory import TokenLogprob

Finish = Literal["stop", "length", "refusal", "other"]
"""How an answer ended: complete, cut off, refused (by the model or a filter), or in a way that is not known here."""

FINISHES: dict[Finish, str] = {
    "stop": "stop eos eos_token end end_turn stop_sequence stop_string stop_word complete completed finished done success "
    "normal tool_calls tool_call tool_use function_call endoftext",
    "length": "length max_tokens max_token max_output_tokens max_length model_length max_new_tokens token_limit "
    "model_context_window_exceeded context_length limit truncated",
    "refusal": "content_filter content_filtered refusal safety recitation prohibited_content blocklist spii sensitive "
    "error_toxic image_safety guardrail_intervened language moderation blocked malformed_function_call malformed_tool_call "
    "unexpected_tool_call",
}
"""Servers' names for the ends of answers, in small letters: OpenAI, TGI, Anthropic, Cohere, Gemini, Mistral, Zhipu."""

_FINISH_OF = {name: finish for finish, names in FINISHES.items() for name in names.split()}
_SURROGATES = re.compile("[\ud800-\udfff]")
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "reasoning_text")
_THOUGHT_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking", "reasoning_text")


class NotAChatCompletionError(ValueError):
    """A body holds neither a chat completion nor an error."""


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """What a model answered.

    Attributes:
        text: What it said; of a refusal, the words of the refusal.
        thought: What it thought, where the server keeps that apart. It is no part of the answer.
        finish: How the answer ended.
        finish_reason: The server's own word for that; empty if it sent none.
        tool_calls: Calls of tools, as the server sent them.
        usage: The tokens that the server counted; None if it did not count.
        present: There is an answer; False where the server sent a completion without a choice.
        logprobs: The tokens of ``text`` and their logprobs; None where the server sent none that can be read.
    """

    text: str
    thought: str = ""
    finish: Finish = "other"
    finish_reason: str = ""
    tool_calls: tuple[dict[str, Any], ...] = field(default=())
    usage: TokenCounts | None = None
    present: bool = True
    logprobs: tuple[TokenLogprob, ...] | None = None


def read_body(content: bytes) -> Any:
    """Read a body as JSON; the parts of a stream are joined to the message that they would have been.

    Args:
        content: The body, with or without a byte order mark.

    Raises:
        NotAChatCompletionError: It is no JSON.
    """
    # Half surrogate pairs and bytes that are no text are replaced: one letter must not cost the whole answer.
    text = content.decode(json.detect_encoding(content) if content else "utf-8", "replace").lstrip("\ufeff")
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        chunks = list(_chunks(text))
        if not chunks:
            raise NotAChatCompletionError from None
        return _joined(chunks)


def error_of(body: Any) -> Any:
    """Return the error that a body holds instead of an answer; None if it holds none."""
    if not isinstance(body, dict):
        return None
    choice = _first(body.get("choices"))
    if isinstance(choice, dict):
        # OpenRouter reports a fault of the server behind it inside of the choice.
        return {"error": choice["error"]} if choice.get("error") else None
    if body.get("error") or body.get("errors") or body.get("object") == "error" or body.get("type") == "error":
        return body
    if (
        not body.get("choices")
        and "choices" not in body
        and any(body.get(name) for name in ("detail", "message", "msg"))
    ):
        return body
    return None


def read_completion(body: Any) -> ChatCompletion:
    """Read the first answer of a chat completion.

    Raises:
        NotAChatCompletionError: The body is none.
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        raise NotAChatCompletionError
    if not choices:
        return ChatCompletion("", usage=read_counts(body.get("usage")), present=False)
    choice = choices[0]
    if not isinstance(choice, dict):
        raise NotAChatCompletionError
    message = choice.get("message")
    if not isinstance(message, dict):
        if not isinstance(choice.get("text"), str):
            raise NotAChatCompletionError
        message = {"content": choice["text"]}
    parts = _Parts()
    parts.add(message.get("content"))
    if not parts.thoughts:
        parts.add_thoughts(message)
    refusal = _text_of(message.get("refusal")) or "".join(parts.refusals)
    reason = _reason(choice.get("finish_reason") or choice.get("stop_reason") or choice.get("native_finish_reason"))
    calls = tuple(call for call in message.get("tool_calls") or () if isinstance(call, dict))
    said = _clean("".join(parts.said))
    usage = body.get("usage") or choice.get("usage") or (body.get("x_groq") or {}).get("usage")
    finish = "refusal" if refusal else _finish(reason, bool(said or calls))
    return ChatCompletion(
        _clean(refusal) or said,
        _clean("\n".join(parts.thoughts)),
        finish,
        reason,
        calls,
        read_counts(usage),
        logprobs=None if refusal else _logprobs(choice.get("logprobs")),
    )


def _logprobs(given: Any) -> tuple[TokenLogprob, ...] | None:
    """Read the logprobs of a choice; None for whatever is not a token with its text and a logprob."""
    content = given.get("content") if isinstance(given, dict) else None
    pieces = []
    for token in content if isinstance(content, list) else ():
        text, logprob = (token.get("token"), token.get("logprob")) if isinstance(token, dict) else (None, None)
        if not isinstance(text, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
            return None
        data = token.get("bytes")
        try:
            # The text of a token that is part of a character says nothing; its bytes do.
            pieces.append((bytes(data) if isinstance(data, list) else _clean(text).encode(), min(float(logprob), 0.0)))
        except (ValueError, TypeError, OverflowError):
            return None
    return joined_characters(pieces) if pieces else None


def _finish(reason: str, something: bool) -> Finish:
    """Tell how an answer ended; one without a reason is taken for whole if there is something of it."""
    if not reason:
        return "stop" if something else "other"
    return _FINISH_OF.get(reason, "other")


def _reason(given: Any) -> str:
    """Write a server's word for the end of an answer in one spelling: ``FINISH_REASON_MAX_TOKENS`` as ``max_tokens``."""
    if isinstance(given, dict):
        given = given.get("type") or given.get("reason")
    if not isinstance(given, str):
        return "" if given is None else str(given)
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", given.strip())
    plain = re.sub(r"[\s.-]+", "_", plain).lower().removeprefix("finish_reason_").removeprefix("finishreason_")
    return "" if plain in ("null", "none", "unspecified") else plain


class _Parts:
    """What a content is made of."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.thoughts: list[str] = []
        self.refusals: list[str] = []

    def add(self, content: Any) -> None:
        """Add a content: a text, a part, or a list of either."""
        if isinstance(content, list):
            for part in content:
                self.add(part)
        elif isinstance(content, str):
            self.said.append(content)
        elif isinstance(content, dict):
            kind = str(content.get("type", "text")).lower()
            if kind in _THOUGHT_PARTS or content.get("thought") is True:
                self.thoughts.append(_text_of(content))
            elif kind == "refusal":
                self.refusals.append(_text_of(content.get("refusal") or content))
            elif kind in ("text", "output_text", "input_text"):
                self.said.append(_text_of(content))

    def add_thoughts(self, message: dict[str, Any]) -> None:
        """Add the thoughts that stand beside the content; servers repeat them under several names."""
        for name in (*_THOUGHT_FIELDS, "reasoning_details", "thinking_blocks"):
            text = _text_of(message.get(name))
            if text.strip():
                self.thoughts.append(text)
                return


def _text_of(value: Any) -> str:
    """Find the text of a part, however deep it lies."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text_of, value))
    if isinstance(value, dict):
        for name in ("text", "value", "thinking", "reasoning", "content", "summary", "refusal", *_THOUGHT_FIELDS):
            text = _text_of(value.get(name))
            if text:
                return text
    return ""


def _clean(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _chunks(text: str) -> Iterator[dict[str, Any]]:
    """Read the parts of a stream: lines ``data: {...}`` (server-sent events), or one object a line."""
    for line in text.splitlines():
        plain = line.strip()
        name, colon, rest = plain.partition(":")
        if colon and name in ("data", "event", "id", "retry", ""):
            if name != "data":
                continue
            plain = rest.strip()
        if not plain or plain == "[DONE]":
            continue
        try:
            chunk = json.loads(plain, strict=False)
        except (ValueError, RecursionError):
            # Half a part: the stream was cut off. What came before it has no end, and so it is not taken for whole.
            continue
        if isinstance(chunk, dict):
            yield chunk


def _joined(chunks: list[dict[str, Any]]) -> Any:
    """Join the parts of a stream."""
    parts, ended, usage = _Parts(), "incomplete", None
    calls: dict[Any, dict[str, Any]] = {}
    found = False
    refusal = ""
    tokens: list[Any] = []
    for chunk in chunks:
        if error_of(chunk) is not None and "choices" not in chunk:
            return chunk
        usage = chunk.get("usage") or usage
        choice = _first(chunk.get("choices"))
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return chunk
        found = True
        usage = choice.get("usage") or usage
        delta = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
        if isinstance(delta, dict):
            parts.add(delta.get("content"))
            parts.add_thoughts(delta)
            refusal += _text_of(delta.get("refusal"))
            _add_calls(calls, delta.get("tool_calls"))
        said = choice.get("logprobs")
        if isinstance(said, dict) and isinstance(said.get("content"), list):
            tokens += said["content"]
        ended = choice.get("finish_reason") or ended
    if not found:
        raise NotAChatCompletionError
    message = {
        "content": "".join(parts.said),
        "reasoning": "".join(parts.thoughts),
        "refusal": refusal or "".join(parts.refusals),
        "tool_calls": list(calls.values()),
    }
    return {
        "choices": [{"message": message, "finish_reason": ended, "logprobs": {"content": tokens}}],
        "usage": usage,
    }


def _add_calls(calls: dict[Any, dict[str, Any]], deltas: Any) -> None:
    for delta in deltas if isinstance(deltas, list) else ():
        if not isinstance(delta, dict):
            continue
        call = calls.setdefault(delta.get("index", len(calls)), {"type": "function", "function": {"arguments": ""}})
        call.update({name: value for name, value in delta.items() if name in ("id", "type") and value})
        function = delta.get("function")
        if isinstance(function, dict):
            if function.get("name"):
                call["function"]["name"] = function["name"]
            if isinstance(function.get("arguments"), str):
                call["function"]["arguments"] += function["arguments"]
