"""Makes text of worlds and models safe to show: no character of it can control a terminal or turn the direction of text."""

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction, invisible, line breaks
    "\U000e0000-\U000e0fff\ud800-\udfff]"  # tags, halves of surrogate pairs
)


def visible(text: str) -> str:
    r"""Replace every character that controls a terminal or the direction of text by a visible symbol.

    Line feeds and tabs stay.

    >>> visible("\x1b[31mred")
    '␛[31mred'
    """
    return _STEERING.sub(_symbol, text.replace("\r\n", "\n"))


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"
