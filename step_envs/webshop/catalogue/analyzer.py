"""Text to search terms, as Lucene's English analyzer does it: words, lower case, stop words out, stems.

Words are those of Unicode's annex 29 in the version that Lucene 8 has built in: a colon inside a word joins it, emoji are
words, every ideograph is one, and a word longer than 255 UTF-16 units is cut. The `regex` module knows the Word_Break
property of every character, so the whole of the annex is one pattern here; text in plain ASCII, which is nearly all of
it, takes a shorter one that gives the same.

Where this can differ from Lucene: letters of scripts that were added to Unicode after version 6.3; emoji and keycaps with
letters attached to them, or with more marks, selectors and joiners after them than an emoji has; flags cut in two; a quote
and a full stop together after a Hebrew letter. On real shop text no difference is known.
"""

import re
from functools import lru_cache
from typing import Final

import regex

from step_envs.webshop.catalogue.stemmer import stem

_STOP_WORDS_TEXT: Final = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they
this to was will with
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS_TEXT.split())

MAX_WORD_UNITS: Final = 255
"""Longer words are cut into pieces of this many UTF-16 units."""

_ASCII_RUN: Final = r"(?:[a-z]+(?:[.:'][a-z]+)*|[0-9]+(?:[.,;'][0-9]+)*)+"
_ASCII_WORD: Final = re.compile(rf"_*{_ASCII_RUN}(?:_+{_ASCII_RUN})*_*")
_LONG_ASCII_WORD: Final = re.compile(r"[a-z0-9_.:',;]{256}")


def _unicode_word() -> "regex.Pattern[str]":
    # Skin tones attach to any letter in later versions of Unicode; here only to the emoji before them.
    attached = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}--\p{Emoji_Modifier}]*+"
    ideograph = r"[\p{Script=Han}\p{Script=Hiragana}--[\u3005\u303b]]"
    southeast_asian = r"\p{Line_Break=Complex_Context}"
    # Letters only since Unicode 11: spacing accents and tone marks.
    newer = (
        r"[\u00b8\u02c2-\u02c5\u02d2-\u02d7\u02de\u02df\u02e5-\u02eb\u02ed\u02ef-\u02ff"
        r"\ua708-\ua716\ua720\ua721\ua789\ua78a]"
    )
    letter = rf"[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}--{ideograph}--{southeast_asian}--{newer}]{attached}"
    digit = rf"\p{{WB=Numeric}}{attached}"
    katakana = rf"\p{{WB=Katakana}}{attached}"
    joiner = rf"\p{{WB=ExtendNumLet}}{attached}"
    in_letters = rf"[\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}:]{attached}"
    in_digits = rf"[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}--:]{attached}"
    hebrew = r"\p{WB=Hebrew_Letter}"
    letters = rf"{letter}(?:(?:{in_letters})?{letter}|(?<={hebrew})\"(?={hebrew})|(?<={hebrew})'(?!{letter}))*+"
    digits = rf"{digit}(?:(?:{in_digits})?{digit})*+"
    run = rf"(?:(?:{letters}|{digits})+|(?:{katakana})+)"
    word = rf"(?:{joiner})*+{run}(?:(?:{joiner})++{run})*+(?:{joiner})*+"
    # Stars, cards, old office machines and their like, which later versions of Unicode no longer call pictographs.
    legacy = (
        r"\u2388\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171\U0001f1ad-\U0001f1e5"
        r"\U0001f260-\U0001f265\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6ff\U0001f774-\U0001f77f"
        r"\U0001f7d5-\U0001f7ff\U0001f80c-\U0001f80f\U0001f8b0-\U0001f8ff\U0001fa00-\U0001faff"
        r"\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2763-\u2767"
    )
    pictograph = rf"[\p{{Extended_Pictographic}}{legacy}]"
    tone = r"(?:(?<=\p{Emoji_Modifier_Base})\p{Emoji_Modifier})?"
    one = rf"{pictograph}{tone}[\p{{WB=Extend}}--\u200d--\p{{Emoji_Modifier}}]*+"
    emoji = rf"\u200d?{one}(?:\u200d{one})*+|\p{{Regional_Indicator}}{{2}}|[0-9#*]\ufe0f?\u20e3|\p{{Emoji_Modifier}}"
    # Joiners alone are no word; they are stepped over together, or a long line of them would be tried at each of them anew.
    # Only Thai and its like have marks that are words without a letter before them.
    no_word = rf"[\p{{WB=Extend}}\p{{WB=Format}}\p{{WB=ZWJ}}--\p{{Emoji_Modifier}}--{southeast_asian}]*+"
    joiners = rf"(?:\p{{WB=ExtendNumLet}}{no_word}(?=\p{{WB=ExtendNumLet}}))*+\p{{WB=ExtendNumLet}}"
    pattern = (
        rf"(?:{emoji}){attached}|{word}|{ideograph}{attached}|(?:{southeast_asian}{attached})++|(?P<skip>{joiners})"
    )
    return regex.compile(pattern, regex.V1)


@lru_cache(maxsize=1)
def _compiled() -> "regex.Pattern[str]":
    return _unicode_word()


def analyze(text: str) -> list[str]:
    """Turn text into search terms.

    Args:
        text: Any text.

    Returns:
        The terms in order, repeats included.
    """
    terms: list[str] = []
    for word in words(text):
        term = _term(word)
        if term:
            terms.append(term)
    return terms


def words(text: str) -> list[str]:
    """Cut text into lower-case words, before stop words and stems.

    Args:
        text: Any text.

    Returns:
        The words in order.
    """
    if text.isascii():
        text = text.lower()
        if not _LONG_ASCII_WORD.search(text):
            return _ASCII_WORD.findall(text)
    found: list[str] = []
    for match in _compiled().finditer(text):
        if match.lastgroup == "skip":
            continue
        word = match.group()
        if len(word) * 2 > MAX_WORD_UNITS:
            found.extend(_lower(piece) for piece in _pieces(word))
        else:
            found.append(_lower(word))
    return found


def _lower(word: str) -> str:
    """Lower each letter by itself, as Java does: no final sigma, and a dotted capital I becomes a plain i."""
    return word.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()


def _pieces(word: str) -> list[str]:
    """Cut an overlong word where Lucene does: every 255 UTF-16 units."""
    pieces: list[str] = []
    units, start = 0, 0
    for position, character in enumerate(word):
        width = 2 if ord(character) > 0xFFFF else 1
        if units + width > MAX_WORD_UNITS:
            pieces.append(word[start:position])
            units, start = 0, position
        units += width
    pieces.append(word[start:])
    return pieces


@lru_cache(maxsize=65536)
def _term(word: str) -> str:
    if len(word) > 1 and word[-1] == "s" and word[-2] in "'’＇":
        word = word[:-2]
    return "" if word in STOP_WORDS else stem(word)
