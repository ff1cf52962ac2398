"""Reads what a server says when it refuses, and tells which of the known faults it means.

``servers.py`` lists the signs of each fault. Here the words and codes of an error are found in a body of any form, and the
first sign that fits decides. What the sentence names beside the fault (the parameter, the value it must have, how much the
model may write, how much room is left) is read from it too, so that the next request can be one that the server takes.
"""

import html
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from step_envs.confidential import masked
from step_envs.endpoint.chat_completion import NotAChatCompletionError, error_of, read_body
from step_envs.endpoint.servers import (
    BY_STATUS,
    CODES,
    CONTEXTS,
    INPUTS,
    LIMITS,
    RETRIED,
    STATUS_OF,
    UNSUPPORTED,
    WORDINGS,
    Kind,
)

LONGEST_QUOTE = 300
_LONGEST_READ = 20_000
_KIND_OF_CODE: dict[str, Kind] = {name: code.kind for code in CODES for name in code.names.split()}
_PATTERNS = [(wording.kind, re.compile(wording.words, re.DOTALL)) for wording in WORDINGS]
_MORE_EXACT = ("roles", "format", "tools", "context", "output_limit")
"""Kinds that a server may call an unsupported parameter."""
_TAGS = re.compile(r"<(style|script)\b[^>]{0,500}>.{0,5000}?</\1>|<[^<>]{0,1000}>", re.DOTALL | re.IGNORECASE)
_LONG_WAIT = 900.0
"""Seconds; a limit that lifts later than this is a quota that is used up, as far as a run is concerned."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error of a server.

    Attributes:
        status: The HTTP status, or for an error inside of an answer the status that its code means.
        kind: What is wrong.
        words: What the server says, on one line, short, without the key.
        param: The parameter that the server names in a field of its own.
        wait: Seconds after which it wants to be asked again; None where it does not say.
        limit: The most tokens that the model may write; None where the server does not say.
        room: Tokens that are left for an answer beside this conversation; None where the server does not say.
    """

    status: int
    kind: Kind
    words: str
    param: str = ""
    wait: float | None = None
    limit: int | None = None
    room: int | None = None

    @property
    def may_pass(self) -> bool:
        """The same request may be answered later."""
        return self.kind in RETRIED

    @property
    def plain(self) -> str:
        """The words as patterns are written for them: in small letters, numbers without commas."""
        return re.sub(r"(?<=\d),(?=\d{3}\b)", "", self.words.lower())


def read_error(status: int, headers: Mapping[str, str], content: bytes) -> ServerError | None:
    """Read the error that an HTTP answer holds; None if it holds an answer of a model.

    Args:
        status: The HTTP status.
        headers: The headers, by names in small letters.
        content: The body.
    """
    good = 200 <= status < 300
    try:
        body: Any = read_body(content)
    except NotAChatCompletionError:
        if good:
            return None
        body = _plain(content)
    if good:
        body = error_of(body)
        if body is None:
            return None
    said = _Said()
    said.read(body)
    words = said.sentence()
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", words.lower())
    kind = _kind(said.codes, plain)
    if good:
        status = said.status or STATUS_OF.get(kind or "down", 400)
    wait = _wait(status, headers, said, plain)
    if kind == "quota" and wait is not None and wait <= _LONG_WAIT and "insufficient_quota" not in said.codes:
        # Gemini describes a limit of requests a minute in the words in which others describe an empty account.
        kind = "rate_limit"
    elif kind == "rate_limit" and wait is not None and wait > _LONG_WAIT:
        kind = "quota"
    kind = kind or ("parameter" if 400 <= status < 500 and said.param and UNSUPPORTED.search(plain) else None)
    kind = kind or BY_STATUS.get(status) or ("down" if status >= 500 else "other")
    limit, room = _sums(plain)
    if kind == "context" and room is None and limit is not None and "max" in plain and _names_output_limit(plain):
        kind = "output_limit"
    return ServerError(status, kind, shortened(words), said.param, wait, limit, room)


def shortened(words: str) -> str:
    """Write what somebody else says on one line, without secrets, cut at a word if it is long."""
    text = " ".join(masked(words).split())
    if len(text) <= LONGEST_QUOTE:
        return text
    cut = text[:LONGEST_QUOTE]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[LONGEST_QUOTE // 2 :] else cut} ..."


def _kind(codes: set[str], plain: str) -> Kind | None:
    by_code = next((_KIND_OF_CODE[code] for code in sorted(codes) if code in _KIND_OF_CODE), None)
    by_words = next((kind for kind, pattern in _PATTERNS if pattern.search(plain)), None)
    if by_code == "parameter" and by_words in _MORE_EXACT:
        return by_words
    if by_code == "rate_limit" and _PATTERNS[0][1].search(plain):
        return _PATTERNS[0][0]
    return by_code or by_words


def _names_output_limit(plain: str) -> bool:
    return any(kind == "output_limit" and pattern.search(plain) for kind, pattern in _PATTERNS)


def _sums(plain: str) -> tuple[int | None, int | None]:
    """Return the most tokens that the model may write, and the room that this conversation leaves."""
    context, used = _first_number(CONTEXTS, plain), _first_number(INPUTS, plain)
    room = None if context is None or used is None else context - used
    limit = _first_number(LIMITS, plain)
    return (limit if limit != context else None), room


def _first_number(patterns: tuple[str, ...], plain: str) -> int | None:
    for pattern in patterns:
        found = re.search(pattern, plain)
        if found is not None and len(found[1]) < 10:
            return int(found[1]) - ("exclusive" in pattern)
    return None


class _Said:
    """What is found in the body of an error: ``{"error": {"message"}}``, ``{"detail": [...]}``, plain text, ..."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.codes: set[str] = set()
        self.param = ""
        self.status: int | None = None
        self.wait: str | None = None

    def sentence(self) -> str:
        return " ".join(dict.fromkeys(self.words))

    def read(self, body: Any, depth: int = 0) -> None:
        if depth > 6:
            return
        if isinstance(body, str):
            self._add_text(body, depth)
        elif isinstance(body, list):
            for item in body[:5]:
                self.read(item, depth + 1)
        elif isinstance(body, dict):
            self._read_fields(body, depth)

    def _read_fields(self, body: dict[str, Any], depth: int) -> None:
        for name in ("code", "type", "status", "error_type", "reason", "error_code", "status_code", "http_code"):
            self._add_code(body.get(name), is_type=name in ("type", "error_type"))
        if isinstance(body.get("param"), str):
            self.param = self.param or body["param"]
        self.wait = self.wait or body.get("retryDelay") or body.get("retry_after")
        headers = body.get("headers")
        if isinstance(headers, dict):
            self.wait = self.wait or next((v for k, v in headers.items() if k.lower() == "x-ratelimit-reset"), None)
        place = body.get("loc")
        if isinstance(place, list) and isinstance(body.get("msg"), str):
            # FastAPI and pydantic name the field apart from the fault.
            names = [str(part) for part in place if part not in ("body", "query")]
            self.param = self.param or (names[0] if names else "")
            self.words.append(": ".join(filter(None, (".".join(names), body["msg"]))))
            return
        for name in (
            "error",
            "errors",
            "detail",
            "message",
            "msg",
            "error_message",
            "title",
            "description",
            "raw",
            "innererror",
        ):
            self.read(body.get(name), depth + 1)
        for name in ("metadata", "details", "error_details"):
            if isinstance(body.get(name), (dict, list)):
                self.read(body[name], depth + 1)

    def _add_text(self, text: str, depth: int) -> None:
        start = text.find("{")
        if start >= 0 and text.rstrip().endswith(("}", "]")):
            # A proxy passes on the body of the server behind it as text.
            try:
                inner = json.loads(text[start:], strict=False)
            except (ValueError, RecursionError):
                pass
            else:
                self.read(text[:start].strip(" :-"), depth + 1)
                self.read(inner, depth + 1)
                return
        plain = " ".join(text[:_LONGEST_READ].split())
        if plain:
            self.words.append(plain)

    def _add_code(self, code: Any, *, is_type: bool) -> None:
        if isinstance(code, bool) or code is None:
            return
        text = str(code).strip()
        if text.isdigit() and len(text) == 3 and 400 <= int(text) < 600:
            self.status = self.status or int(text)
        elif isinstance(code, str) and text and not (is_type and text in ("error", "invalid_request_error")):
            self.codes.add(text.lower())


def _plain(content: bytes) -> str:
    """Read a body that is no JSON: plain text, or a page that a proxy made for people."""
    text = content[:_LONGEST_READ].decode("utf-8", "replace")
    return html.unescape(_TAGS.sub(" ", text)) if "<" in text else text


_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z")
_LATER = re.compile(
    r"(?:try again|retry|available again|wait|reset)\w* (?:again )?(?:in|after|for)? ?(?:about )?"
    r"(\d+(?:\.\d+)?) ?(ms|milliseconds?|s|secs?|seconds?|m|min(?:ute)?s?|h|hours?)(?:\b|(?=\d))(?:(\d+(?:\.\d+)?)s)?"
)
_UNITS = {"ms": 0.001, "mi": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def _wait(status: int, headers: Mapping[str, str], said: _Said, plain: str) -> float | None:
    """Find the seconds after which a server wants to be asked again."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    for text in (headers.get("retry-after"), said.wait):
        seconds = _moment(text)
        if seconds is not None:
            return seconds
    later = _LATER.search(plain)
    if later is not None:
        unit = later[2]
        scale = 0.001 if unit.startswith(("ms", "milli")) else _UNITS[unit[0]]
        return float(later[1]) * scale + float(later[3] or 0)
    if status == 429:
        resets = [
            (headers.get(name.replace("reset", "remaining", 1)), seconds)
            for name in headers
            if "ratelimit" in name and "reset" in name and (seconds := _moment(headers[name])) is not None
        ]
        used_up = [seconds for left, seconds in resets if left is not None and left.strip() == "0"]
        if resets:
            return max(used_up) if used_up else min(seconds for _, seconds in resets)
    return None


def _moment(text: Any) -> float | None:
    """Read seconds, a duration (``6m0s``), a date, or seconds or milliseconds since 1970, as seconds from now."""
    number = _number(text)
    if number is not None:
        if number > 1e11:
            number /= 1000
        return max(number - time.time(), 0.0) if number > 1e9 else max(number, 0.0)
    if not isinstance(text, str):
        return None
    plain = text.strip()
    parts = _DURATION.match(plain.lower().replace(" ", ""))
    if plain and parts is not None and any(parts.groups()):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    for read in (parsedate_to_datetime, _from_iso):
        try:
            return max(read(plain).timestamp() - time.time(), 0.0)
        except (TypeError, ValueError, OverflowError):
            continue
    return None


def _from_iso(text: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text)


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e15 else None
