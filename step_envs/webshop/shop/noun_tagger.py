"""Finds the nouns of product titles, which the reward compares to score the type of a product.

The original uses spaCy, whose model cannot be installed everywhere, so the tagger can be chosen. The default takes every
alphabetic word that is not a function word, which comes close because shop titles are nearly all nouns. ``details`` name
the tagger that was used.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Final, Literal

from gymnasium.error import DependencyNotInstalled

from step_envs.errors import unknown_name

NounTagger = Callable[[str], list[str]]
"""A function from a title to its nouns, in lower case and in order, repeats included."""

NounChoice = Literal["default", "spacy"] | NounTagger

SPACY_MODEL: Final = "en_core_web_sm"

_WORD: Final = re.compile(r"[^\W\d_]+")

_FUNCTION_WORDS_TEXT: Final = """
a about above after again all also am an and any are as at be because been before being below between both
but by can could did do does done down during each either else ever every few for from further get give go
had has have he her here hers him his how i if in into is it its just keep made make many may me might mine
more most much must my neither never next no nor not nothing now of off often on once one only onto or other
our ours out over own per please put quite rather re really s same say see seem several she should show so
some still such take than that the their them then there these they this those through thus to together too
toward two under until up upon us used using various very via was we well were what when where which while
who whole whose why will with within without would yet you your yours
"""
_FUNCTION_WORDS: Final = frozenset(_FUNCTION_WORDS_TEXT.split())


def content_words(title: str) -> list[str]:
    """List the alphabetic words of a title that are not function words."""
    return [word for word in _WORD.findall(title.lower()) if word not in _FUNCTION_WORDS]


def spacy_nouns() -> NounTagger:
    """Load the original's own tagger.

    Raises:
        DependencyNotInstalled: spaCy or its English model is not installed.
    """
    try:
        # Imported by name, so that the type checker does not look for an optional package.
        spacy = import_module("spacy")
        tagger = spacy.load(SPACY_MODEL, disable=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise DependencyNotInstalled(
            f'nouns="spacy" needs spaCy and its model {SPACY_MODEL}: run `pip install spacy` and '
            f"`python -m spacy download {SPACY_MODEL}`, or leave nouns at its default."
        ) from error

    def nouns(title: str) -> list[str]:
        return [token.text.lower() for token in tagger(title) if token.pos_ in ("PNOUN", "NOUN", "PROPN")]

    return nouns


def choose_tagger(choice: NounChoice) -> tuple[str, NounTagger]:
    """Make a tagger.

    Args:
        choice: ``"default"``, ``"spacy"`` or a function from a title to its nouns.

    Returns:
        A name for the record, and the tagger.

    Raises:
        UnknownNameError: There is no such tagger.
        DependencyNotInstalled: spaCy was asked for and is not there.
    """
    if callable(choice):
        return getattr(choice, "__name__", type(choice).__name__), choice
    if choice == "default":
        return "content-words", content_words
    if choice == "spacy":
        return f"spacy:{SPACY_MODEL}", lru_cache(maxsize=4096)(spacy_nouns())
    raise unknown_name("noun tagger", choice, ("default", "spacy"))
