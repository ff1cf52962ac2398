"""Finds the tool call in a reply, in the forms in which models write it and servers return it.

A server that knows the model returns calls as data, ``message.tool_calls``. One that does not passes them on as text, in
the form that the model was trained on, and there is one for each family. All of them name a function and hold its
arguments, mostly as JSON, so they are found by their opening mark and read alike.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from step_envs.confidential import without_keys

_OPENING = re.compile(
    r"""
    <tool_call>\s*<function=(?P<qwen>[\w.-]+)>                            # Qwen3-Coder
    | <(?:tool_call|function_call|tool_use)>                                # Hermes, Qwen, GLM
    | \[TOOL_CALLS\]\s*(?:(?P<mistral>[\w.-]+)(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?(?=\s*\{))?
    | <function=(?P<llama>[\w.-]+)>
    | <\|channel\|>\s*commentary\s+to=(?:functions\.)?(?P<harmony>[\w.-]+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>
    | <\|tool_call_begin\|>\s*(?:functions\.)?(?P<kimi>[\w.-]+)(?::\d+)?\s*<\|tool_call_argument_begin\|>
    | <[|｜]tool▁call▁begin[|｜]>(?:function<[|｜]tool▁sep[|｜]>)?(?P<deepseek>[\w.-]+)(?:<[|｜]tool▁sep[|｜]>|\n```json\n)
    | <\|START_ACTION\|> | <\|python_tag\|> | <\|tool_call\|> | <\|tool_call>(?:call:)?
    | ```(?:json|tool_call|tool_code|xml)?\s*(?=[\[{])
    | (?:\A|(?<=\n))[ \t]*(?=\[?\s*\{\s*"(?:name|function|tool|tool_name|action|type|arguments|parameters)")
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CLOSING = re.compile(
    r"\s*\]?\s*(?:</(?:tool_call|function_call|tool_use|function)>|<\|tool_call_end\|>|<\|call\|>|```|<\|END_ACTION\|>"
    r"|<[|｜]tool▁call▁end[|｜]>)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"<parameter=(?P<name>[\w.-]{1,60})>\s?(?P<value>.*?)\s?</parameter>"
    r"|<arg_key>(?P<key>[^<]{1,60})</arg_key>\s*<arg_value>(?P<of_key>.*?)</arg_value>",
    re.DOTALL,
)
_SECTION = re.compile(r"(?:<\|tool_calls?_section_begin\|>|<[|｜]tool▁calls▁begin[|｜]>|<\|start\|>\s*assistant)\s*\Z")
"""What stands before the first of several calls."""
_END_OF_TAGS = re.compile(r"</(?:tool_call|function)>")
_PYTHONIC = re.compile(
    r"""\[?\s*(?P<name>\w+)\(\s*(?:action|command|text)\s*=\s*(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
)
_ARGUMENTS = ("arguments", "parameters", "args", "input", "tool_input", "kwargs")
_ACTION = ("action", "command", "act", "text", "input", "query", "action_input")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call as a server returns it.

    Attributes:
        name: The function.
        arguments: Its arguments, as JSON text.
    """

    name: str
    arguments: str

    @property
    def action(self) -> str | None:
        """The action among the arguments; None if there is none or they are not JSON."""
        return _action_in(_json(self.arguments))


def sent_calls(calls: Iterable[Any]) -> tuple[ToolCall, ...]:
    """Read the tool calls that a server sent beside a text; what calls no function is left out."""
    functions = [
        call["function"] for call in calls if isinstance(call, dict) and isinstance(call.get("function"), dict)
    ]
    return tuple(
        ToolCall(str(one.get("name", "")), given if isinstance(given, str) else json.dumps(given))
        for one in functions
        for given in (one.get("arguments"),)
    )


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A tool call that was found in a text.

    Attributes:
        before: What the reply says before it.
        action: The action that it names; None if it names none.
        complete: The text goes on at least to the end of the call.
    """

    before: str
    action: str | None
    complete: bool


def find_tool_call(text: str) -> FoundCall | None:
    """Find the first tool call in the text of a reply.

    Returns:
        The call; None if the text holds none.

    Examples:
        >>> find_tool_call('<tool_call>{"name": "act", "arguments": {"action": "look"}}</tool_call>').action
        'look'
    """
    found = _OPENING.search(text)
    if found is None:
        pythonic = _PYTHONIC.match(text.strip())
        if pythonic is None:
            return None
        return FoundCall("", _unquoted(pythonic["quoted"]), text.rstrip().endswith((")", ")]")))
    before, rest = _SECTION.sub("", text[: found.start()]).strip(), text[found.end() :]
    pythonic = _PYTHONIC.match(rest.lstrip())
    if pythonic is not None:
        return FoundCall(before, _unquoted(pythonic["quoted"]), complete=True)
    start = next((at for at, letter in enumerate(rest[:200]) if letter in "{[<"), None)
    if start is not None and rest[start] in "{[":
        try:
            value, _ = json.JSONDecoder(strict=False).raw_decode(rest, start)
        except (ValueError, RecursionError):
            return FoundCall(before, None, _CLOSING.search(rest) is not None)
        return FoundCall(before, _action_in(value), complete=True)
    tags_end = _END_OF_TAGS.search(rest)
    inside = rest if tags_end is None else rest[: tags_end.start()]
    given = {
        (one["name"] or one["key"]).strip(): one["of_key"] if one["key"] else one["value"]
        for one in _PARAMETER.finditer(inside)
    }
    return FoundCall(before, _action_in(given), tags_end is not None)


def write_tool_call(action: str) -> str:
    """Write an action as the text of a tool call, in the form of Hermes, which most servers can read."""
    call = json.dumps({"name": TOOL_NAME, "arguments": {"action": action}}, ensure_ascii=False)
    # As JSON allows, so that no mark in an action can end the call or the turn.
    return "<tool_call>\n" + call.replace("<", "\\u003c") + "\n</tool_call>"


TOOL_NAME = "act"
"""Name of the one function that a world offers."""

TOOL = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "Take the next step.",
        "parameters": {
            "type": "object",
            "properties": {"action": {"type": "string", "description": "The next step, as one action."}},
            "required": ["action"],
            "additionalProperties": False,
        },
    },
}
"""That function in the form of the ``tools`` of a chat completion."""


def _action_in(given: Any) -> str | None:
    """Find the action in a call or in its arguments, whatever the model calls the argument."""
    for _ in range(6):
        if isinstance(given, list):
            given = given[0] if given else None
        elif isinstance(given, dict):
            inner = next((given[name] for name in ("function", "tool_call") if isinstance(given.get(name), dict)), None)
            inner = inner or next(
                (given[name] for name in _ARGUMENTS if isinstance(given.get(name), (dict, list))), None
            )
            if inner is None:
                encoded = next(
                    (given[name] for name in ("arguments", "parameters") if isinstance(given.get(name), str)), None
                )
                inner = _json(encoded) if encoded is not None else None
            if inner is None:
                named = next((given[name] for name in _ACTION if isinstance(given.get(name), str)), None)
                only = next(iter(given.values())) if len(given) == 1 else None
                inner = named if named is not None else only
            given = inner
        else:
            break
    # JSON can spell any letter as an escape, so that a key was not found in the text of the call.
    return without_keys(given).strip() or None if isinstance(given, str) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _unquoted(text: str) -> str | None:
    return re.sub(r"\\(.)", r"\1", text[1:-1]).strip() or None
