"""Reads the messages of a conversation, in whichever form the field writes them, as what a chat template takes.

Data comes as ``role``/``content`` (OpenAI) or as ``from``/``value`` (ShareGPT), with thoughts in a field of their own or in
tags, and with tool calls whose arguments are JSON text or an object. A template that meets a form it does not expect prints
it as text or leaves it out, without an error. So every message is brought into one form first, or refused with its place.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from step_envs.errors import TemplateError
from step_envs.replies import visible_thought

Message = dict[str, Any]

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}
"""Speaker in a ShareGPT row -> role."""

THOUGHT = "reasoning_content"
"""Key of a reply's thought, for templates that have a section for it."""
_THOUGHT_KEYS = (THOUGHT, "reasoning", "thinking", "thought", "reasoning_text")
_OPEN, _CLOSE = "<think>", "</think>"
_LABEL = re.compile(r"\A\s*Thought:|</?think>")


def read_messages(rows: Any) -> list[Mapping[str, Any]]:
    """Return the messages of a conversation.

    Args:
        rows: Messages, or a row that holds them under ``messages`` or ``conversations``.

    Raises:
        TemplateError: It is something else.
    """
    if isinstance(rows, Mapping):
        for key in ("messages", "conversations"):
            if isinstance(rows.get(key), Sequence):
                return read_messages(rows[key])
        raise TemplateError(
            f"A row needs its conversation under 'messages' or 'conversations', and this one has {_keys(rows)}."
        )
    messages = list(rows)
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TemplateError(f"Message {index} is {message!r:.60} and not a mapping with a role and a content.")
    return messages


def role_of(message: Mapping[str, Any]) -> Any:
    """Return the role of a message, in either form; what it says is not checked."""
    return message.get("role", _ROLES.get(str(message.get("from")), message.get("from")))


def plain_message(message: Mapping[str, Any], index: int) -> Message:
    """Bring a message into one form.

    Args:
        message: The message.
        index: Its place in the conversation, for errors.

    Returns:
        ``role`` and ``content`` as text; where there are any, ``reasoning_content`` as text and ``tool_calls`` whose
        arguments are objects; and every other key that a template may read. No loss.

    Raises:
        TemplateError: A part of it is not what it must be.
    """
    if "role" not in message and "from" in message:
        message = _from_sharegpt(message, index)
    role, content = message.get("role"), message.get("content")
    calls = message.get("tool_calls") or []
    if content is None and calls:
        content = ""
    if not isinstance(role, str) or not isinstance(content, str):
        raise TemplateError(
            f"Message {index} must have a role and a content that are text, got {role!r} and {content!r:.60}: write what "
            "was said as text."
        )
    plain: Message = {"role": role, "content": content}
    thoughts = [message[key] for key in _THOUGHT_KEYS if message.get(key)]
    for thought in thoughts[:1]:
        if not isinstance(thought, str):
            raise TemplateError(f"The thought of message {index} must be text, got {thought!r:.60}.")
        if thought.strip():
            plain[THOUGHT] = thought.strip()
    if calls:
        plain["tool_calls"] = [_tool_call(call, index) for call in calls]
    known = {*_THOUGHT_KEYS, "role", "content", "tool_calls", "loss", "from", "value"}
    return plain | {key: value for key, value in message.items() if key not in known and value is not None}


def split_tags(content: str) -> tuple[str, str] | None:
    """Split a reply that begins with a thought in tags.

    Returns:
        The thought and the rest, without white space around them; None if the reply does not begin with a whole thought.

    Examples:
        >>> split_tags("<think>A box!</think>Action: open box")
        ('A box!', 'Action: open box')
    """
    text = content.lstrip()
    if not text.startswith(_OPEN) or _CLOSE not in text:
        return None
    thought, _, rest = text.removeprefix(_OPEN).partition(_CLOSE)
    return thought.strip(), rest.strip()


def with_thought_apart(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Put the thought of the last reply into ``reasoning_content``, and leave out the thoughts of earlier replies.

    So a conversation looks to a reasoning model in play: its own thoughts are taken out of its replies.

    Args:
        messages: A conversation that ends with a reply; ``Thought: ...`` and ``<think>...</think>`` are thoughts.

    Raises:
        TemplateError: A message cannot be read.
    """
    apart = [plain_message(message, index) for index, message in enumerate(messages)]
    for index, message in enumerate(apart):
        if message["role"] != "assistant":
            continue
        content = message["content"]
        head = visible_thought(content)
        thought = _LABEL.sub("", head).strip() if head != content else ""
        if thought:
            message["content"] = content[len(head) :]
        if index < len(apart) - 1:
            message.pop(THOUGHT, None)
        elif thought:
            message.setdefault(THOUGHT, thought)
    return apart


def texts_of(value: Any) -> Iterator[str]:
    """List all texts in a value of JSON, keys included, e.g. in the arguments of a tool call."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def _from_sharegpt(message: Mapping[str, Any], index: int) -> Message:
    speaker = message["from"]
    if speaker not in _ROLES:
        known = ", ".join(repr(name) for name in _ROLES)
        raise TemplateError(
            f"Message {index} is from {speaker!r}, which is none of {known}: name the role it stands for."
        )
    if "value" not in message:
        raise TemplateError(f"Message {index} is from {speaker!r} and has no value: a ShareGPT turn needs one.")
    return {**message, "role": _ROLES[speaker], "content": message["value"]}


def _tool_call(call: Any, index: int) -> Message:
    """Return a call in the form of OpenAI's interface, with its arguments as an object."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise TemplateError(
            f"A tool call of message {index} must name its function, as in {{'function': {{'name': ..., 'arguments': "
            f"...}}}}, got {call!r:.60}."
        )
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise TemplateError(
                f"The arguments of the tool call {function['name']!r} in message {index} are not JSON ({error}): "
                f"{arguments!r:.60}."
            ) from error
    rest = {key: value for key, value in call.items() if key not in ("function", "name", "arguments", "type")}
    return rest | {"type": "function", "function": {**function, "arguments": arguments}}


def _keys(row: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, row)) or "nothing"
