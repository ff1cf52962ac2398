"""What one model behind one endpoint was found to need: learned from a refusal once, and kept for all requests after it.

Servers refuse a whole request for one parameter that they do not know, and a run asks ten thousand times. To refuse in
turn, the obvious way, leaves a run without a single verdict although the server said what it wants. What is changed here
keeps the meaning of a request as far as the server allows: a parameter is set to the one value that is taken, or left
out, and a system message becomes the beginning of the first message. Every change is said once in the log.
"""

import logging
import re
import threading
from typing import Any

from step_envs.endpoint.server_errors import ServerError
from step_envs.endpoint.servers import (
    KEPT,
    NO_THINKING,
    POSITIVE,
    RENAMED,
    SMALLEST_TEMPERATURE,
    STREAM_ONLY,
    THINKING_ONLY,
    UNSUPPORTED,
    VALUE,
)

_LEAST_ROOM = 128
"""Tokens; an answer with less room would be cut off, so the conversation has to be shortened instead."""
_ANOTHER_NAME = re.compile(
    r"unsupported|not supported|n't support|use .*instead|unknown|unrecogni[sz]ed|deprecated|not compatible"
)
_OF_TOOLS = ("tools", "tool_choice")
_log = logging.getLogger(__name__)


class Adaptation:
    """How requests to one model are changed.

    Args:
        who: Endpoint and model, for the log.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._renamed: dict[str, str] = {}
        self._dropped: set[str] = set()
        self._set: dict[str, Any] = {}
        self._most: int | None = None
        self._one_role_at_a_time = False
        self._lock = threading.Lock()
        self._lower_formats: dict[str, dict[str, Any] | None] = {}
        self._known_formats: set[str] = set()
        self._takes_tools = False

    def apply(self, request: dict[str, Any], room: int | None = None) -> dict[str, Any]:
        """Return the request as the server takes it.

        Args:
            request: ``model``, ``messages`` and parameters.
            room: The most tokens that fit beside this one conversation; None if that is not known.
        """
        with self._lock:
            body = {
                self._renamed.get(name, name): value for name, value in request.items() if name not in self._dropped
            }
            body |= self._set
            for name in ("max_tokens", "max_completion_tokens"):
                if isinstance(body.get(name), int):
                    body[name] = min(most for most in (body[name], self._most, room) if most is not None)
            if self._one_role_at_a_time:
                body["messages"] = merged_roles(body["messages"])
            asked = _format_of(body)
            if asked in self._lower_formats:
                body = with_format(body, self._lower_formats[asked])
        return body

    def bodies_to_try(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """List the forms in which a request may be sent, the strictest first.

        Some servers fail with status 404 or 500 and without a word where they do not know tools or an answer format. So as
        long as no answer came to a request with them, the looser ones are worth a try.
        """
        if "tools" in body and not self._takes_tools:
            return [body, without_tools(body)]
        if "response_format" not in body or _format_of(body) in self._known_formats:
            return [body]
        looser = [{"type": "json_object"}] if _format_of(body) == "json_schema" else []
        return [body, *(with_format(body, form) for form in (*looser, None))]

    def note_answer(self, asked: dict[str, Any], answered: dict[str, Any]) -> None:
        """Remember in which form a request was answered.

        Args:
            asked: The request as it was meant to be sent.
            answered: The request that was answered.
        """
        self._takes_tools = self._takes_tools or "tools" in answered
        if "tools" in asked and "tools" not in answered:
            self._drop_tools("fails with tools")
        elif asked is not answered:
            _log.warning("%s fails with the answer format %r: it is not asked for again.", self._who, _format_of(asked))
            self._lower_formats[_format_of(asked)] = answered.get("response_format")
        elif "response_format" in answered:
            self._known_formats.add(_format_of(answered))

    def learn(self, error: ServerError, body: dict[str, Any]) -> bool:
        """Learn from a refusal.

        Args:
            error: What the server said.
            body: The request that it refused.

        Returns:
            True if there is something to change in requests like this one.
        """
        words = error.plain
        with self._lock:
            if error.kind == "roles" and merged_roles(body["messages"]) != body["messages"]:
                return self._note("_one_role_at_a_time", True, "the system message is part of the first message")
            if "tools" in body and (error.kind == "tools" or re.split(r"[.\[]", error.param)[0] in _OF_TOOLS):
                return self._drop_tools("does not take tools")
            if error.kind == "output_limit" and error.limit is not None and 0 < error.limit < _most_tokens(body):
                return self._note("_most", error.limit, f"answers have at most {error.limit:,} tokens")
            if error.kind in ("context", "quota", "key", "moderation", "format") or (
                error.may_pass and error.status < 500
            ):
                return False
            return self._learn_parameter(error.param, words, body)

    def _learn_parameter(self, param: str, words: str, body: dict[str, Any]) -> bool:
        for old, new in RENAMED.items():
            if old in body and re.search(rf"\b{old}\b", words) and new in words and _ANOTHER_NAME.search(words):
                self._renamed[old] = new
                return True
        if NO_THINKING.search(words) and self._set.get("enable_thinking") is not False:
            return self._set_value("enable_thinking", False)
        if THINKING_ONLY.search(words) and self._set.get("enable_thinking") is not True:
            return self._set_value("enable_thinking", True)
        if STREAM_ONLY.search(words) and "stream" not in self._set:
            self._set["stream_options"] = {"include_usage": True}
            return self._set_value("stream", True)
        if not UNSUPPORTED.search(words):
            return False
        name = _named(param, words, body)
        if name is None:
            return False
        if name == "temperature" and not body[name] and POSITIVE.search(words):
            return self._set_value(name, SMALLEST_TEMPERATURE)
        value = VALUE.search(words)
        if value is not None and name in ("temperature", "top_p", "enable_thinking", "n", "seed"):
            wanted = value[1] == "true" if value[1] in ("true", "false") else float(value[1])
            if wanted != body[name]:
                return self._set_value(name, wanted)
        self._set.pop(name, None)
        self._dropped.add(name)
        _log.warning("%s does not take %r: it is left out from now on.", self._who, name)
        return True

    def _drop_tools(self, why: str) -> bool:
        self._dropped.update(_OF_TOOLS)
        _log.warning(
            "%s %s: tools are left out from now on, and calls are read from the text of replies.", self._who, why
        )
        return True

    def _set_value(self, name: str, value: Any) -> bool:
        self._set[name] = value
        _log.warning("%s takes %r only as %r: it is set to that from now on.", self._who, name, value)
        return True

    def _note(self, attribute: str, value: Any, what: str) -> bool:
        setattr(self, attribute, value)
        _log.warning("%s refuses requests as they were asked for: from now on %s.", self._who, what)
        return True


def room_for_answer(error: ServerError, body: dict[str, Any]) -> int | None:
    """Return the tokens that an answer may have so that it fits beside this conversation; None if it has to be shortened.

    Args:
        error: What the server said of a context that is full.
        body: The request.
    """
    asked = _most_tokens(body)
    if error.kind not in ("context", "output_limit") or error.room is None:
        return None
    return error.room if min(_LEAST_ROOM, asked) <= error.room < asked else None


def without_tools(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request that offers no tools."""
    return {name: value for name, value in body.items() if name not in _OF_TOOLS}


def with_format(body: dict[str, Any], form: dict[str, Any] | None) -> dict[str, Any]:
    """Return a request with another answer format; None leaves the form free."""
    rest = {name: value for name, value in body.items() if name != "response_format"}
    return rest if form is None else rest | {"response_format": form}


def _format_of(body: dict[str, Any]) -> str:
    form = body.get("response_format")
    return str(form.get("type")) if isinstance(form, dict) else ""


def merged_roles(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write a conversation without system messages and without two messages of one role in a row."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "user" if message["role"] in ("system", "developer") else message["role"]
        if merged and merged[-1]["role"] == role:
            merged[-1] = {"role": role, "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append({**message, "role": role})
    return merged


def _most_tokens(body: dict[str, Any]) -> int:
    limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if isinstance(body.get(name), int)]
    return min(limits, default=0)


def _named(param: str, words: str, body: dict[str, Any]) -> str | None:
    """Return the parameter of the request that the server names; of two, the one that comes last in the sentence."""
    names = [name for name in body if name not in KEPT]
    plain = re.split(r"[.\[]", param)[0]
    if plain in names:
        return plain
    found = [
        (match.start(), name)
        for name in names
        for match in re.finditer(rf"(?<![\w-]){re.escape(name.lower())}(?![\w-])", words)
    ]
    if not found:
        return None
    if re.search(r"can ?not both|both .* and", words):
        return max(found)[1]
    return min(found)[1]
