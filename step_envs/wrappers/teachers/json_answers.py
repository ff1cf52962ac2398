"""Finds the JSON object that a model meant as its answer, in whatever it wrote around it.

Models quote the question, think aloud, change their mind, and are cut off. The obvious way, to take the first piece of text
that is JSON, turns "If it were fine I would say {"status": "ok"}. It is not." into a verdict that nobody gave, and an error
would be trained as if it were right. So thoughts are taken out, the last object decides, and where that object is cut off
or cannot be read there is no answer, whatever came before it.

Spelling is read with tolerance where only one meaning is possible: line breaks in strings, commas too many, comments, and
Python's quotes and constants. Nothing is ever added to what a model wrote.
"""

import ast
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from step_envs.replies import split_thoughts

_BEGINS = re.compile(r"""\{\s*(?:["'“”]|[A-Za-z_]\w*\s*:|\Z)""")
"""How an object begins, as opposed to a brace in prose: ``{"name"``, ``{'name'``, ``{name:``, one at the end of a text."""
_NEEDLESS = r"""//[^\n]*|/\*[^*]{0,500}\*/|,(?=\s*[}\]])"""
"""Comments, and commas before a closing bracket."""
_JSON_PIECE = re.compile(rf""""(?:[^"\\]|\\.)*"|{_NEEDLESS}""", re.DOTALL)
_PIECE = re.compile(rf"""'(?:[^'\\]|\\.)*'|\b(?:true|false|null)\b|{_JSON_PIECE.pattern}""", re.DOTALL)
_JSON_MARK = re.compile(r'["{}\\]')
_PYTHON_BEGINS = re.compile(r"\{\s*'")
_PYTHON_MARK = re.compile(r"""["'{}\\]""")
_STRANGE_ESCAPE = re.compile(r"""\\[^\\'"abfnrtvuUx]""")
_PYTHON = {"true": "True", "false": "False", "null": "None"}
_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST_LITERAL = 20_000
"""Characters of a Python literal; its parser needs far more memory than that of JSON."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """The object that a text gives as its answer.

    Attributes:
        value: The object; None if there is none that can be used.
        problem: Why there is none.
        followed: Something else than marks of a code block comes after it.
    """

    value: dict[str, Any] | None
    problem: str = ""
    followed: bool = False


_NONE = FoundObject(None, "It holds no JSON object.")
_CUT = FoundObject(None, "It holds no JSON object. The one that it began is cut off.")
_UNREADABLE = FoundObject(None, "Its last JSON object cannot be read.")
_THINKING = FoundObject(None, "It ends within its thoughts.")


def find_object(text: str, names: Collection[str]) -> FoundObject:
    """Find the last object of a text that has one of some names as a key, or the last object if none has.

    Args:
        text: What a model wrote, with or without its thoughts; read in linear time.
        names: Keys of which the answer has at least one; other objects are passed over.
    """
    whole = _read(text.strip())
    if whole is not None:
        # Marks of thoughts inside of its strings are words and no thoughts.
        return FoundObject(whole)
    thoughts = split_thoughts(text)
    if thoughts.unfinished:
        return _THINKING
    said = thoughts.said
    found, other, start = _NONE, _NONE, said.find("{")
    while start >= 0:
        end = start + 1
        if _BEGINS.match(said, start):
            closed = _end_of_object(said, start)
            if closed is None:
                # What is inside of half an object is no answer, and what came before it is not the last one.
                return _CUT
            end = closed
            value = _read(said[start:end])
            if value is None:
                if any(name in said[start:end] for name in names):
                    found = _UNREADABLE
            elif any(name in value for name in names):
                found = FoundObject(value, followed=bool(said[end:].strip("` \t\r\n}]")))
            else:
                other = FoundObject(value)
        start = said.find("{", end)
    return other if found is _NONE else found


def is_json(text: str) -> bool:
    """Return True if a text, apart from thoughts, is JSON and nothing else."""
    try:
        json.loads(split_thoughts(text).said, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _end_of_object(text: str, start: int) -> int | None:
    """Return the index after the brace that closes an object; None where nothing closes it."""
    # In an object with Python's quotes both kinds are used; in JSON an apostrophe is a letter like any other.
    marks = _PYTHON_MARK if _PYTHON_BEGINS.match(text, start) else _JSON_MARK
    depth, quote, position = 0, "", start
    while True:
        mark = marks.search(text, position)
        if mark is None:
            return None
        position = mark.end()
        if mark[0] == "\\":
            position += 1
        elif quote:
            quote = "" if mark[0] == quote else quote
        elif mark[0] in "\"'":
            quote = mark[0]
        else:
            depth += 1 if mark[0] == "{" else -1
            if depth == 0:
                return position


def _read(text: str) -> dict[str, Any] | None:
    """Read an object as JSON, else as JSON with small faults, else as a Python literal; None if it is none of these."""
    if not text.startswith("{"):
        return None
    for mend in (str, _without_faults, _straight):
        try:
            value = json.loads(mend(text), strict=False)
        except (ValueError, RecursionError):
            continue
        return _storable(value) if isinstance(value, dict) else None
    if len(text) > _LONGEST_LITERAL or _STRANGE_ESCAPE.search(text):
        return None
    try:
        value = ast.literal_eval(_PIECE.sub(_as_python, text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return _storable(value) if isinstance(value, dict) else None


def _without_faults(text: str) -> str:
    """Take out comments and commas before a closing bracket."""
    return _JSON_PIECE.sub(lambda piece: piece[0] if piece[0].startswith('"') else "", text)


def _straight(text: str) -> str:
    """Replace typographic quotes where there are no others."""
    return text if '"' in text else text.replace("“", '"').replace("”", '"')


def _as_python(piece: re.Match[str]) -> str:
    text = piece[0]
    if text[0] in "\"'":
        return text.replace("\r\n", "\n").replace("\n", "\\n")
    return _PYTHON.get(text, "")


def _storable(value: Any) -> Any:
    """Replace half surrogate pairs, which no file can hold, in all strings."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return value
