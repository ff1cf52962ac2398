"""Reads an instruction as a shopper does: what is wished for, what it may cost, and which words to search for."""

import re
from typing import Final

import regex

_PRICE: Final = re.compile(r",? and price lower than (\d+(?:\.\d+)?) dollars\s*$")
# Letters of every script, with their marks: vowels of Hindi and Thai, points of Arabic and Hebrew, accents written apart.
_WORD: Final = regex.compile(r"[\w\p{M}&'\"./-]*[\w\p{M}'\"]")
_PUNCTUATION: Final = ".,;:!?()"
_LONGEST_QUERY: Final = 2_000

_FILLER_TEXT: Final = """
a about all also am an and any are as at be buy by can care could do find for from get give has have help
hello hi i id i'd i'm im in is it its like looking matters me most must my need offer of old on or order
pair please purchase replace see should show so some something that the them there these they this to us
want which with would you your come comes
"""
_FILLER: Final = frozenset(_FILLER_TEXT.split())


def split_price(instruction: str) -> tuple[str, float | None]:
    """Separate an instruction from its price limit.

    Args:
        instruction: As the shop shows it.

    Returns:
        The wish, and the limit in dollars; None where there is none.
    """
    match = _PRICE.search(instruction)
    return (instruction[: match.start()], float(match[1])) if match else (instruction, None)


def content_words(text: str) -> list[str]:
    """List the words of a wish that say something about the product, in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in _FILLER]


def without_filler(text: str) -> str:
    """Return a wish in lower case without the words that say nothing about the product, and without punctuation marks."""
    words = (word.strip(_PUNCTUATION) for word in text.lower().split())
    return " ".join(word for word in words if word and word not in _FILLER)


def search_words(instruction: str) -> str:
    """Return the words of an instruction to search for."""
    wish, _ = split_price(instruction)
    words = " ".join(content_words(wish))
    # A query that is too long would not reach the shop; a wish of such a length has said what it wants by then.
    return words if len(words) <= _LONGEST_QUERY else words[:_LONGEST_QUERY].rpartition(" ")[0]


def search_action(instruction: str) -> str:
    """Return the search that is listed as admissible for an instruction: its words, without brackets."""
    words = search_words(instruction).replace("[", " ").replace("]", " ").strip()
    return f"search[{words or 'shop'}]"
