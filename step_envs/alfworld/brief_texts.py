"""The household in brief: ``fridge 1: apple 2, egg 1`` for a sentence, and the task without articles.

Names are short already (``cabinet 4``), so actions stay as they are. Each text of the engine has one form that says the
same; the table below has them in the order of ``simulation.text`` and ``engine``.
"""

import re
from collections.abc import Callable

from typing_extensions import override

from step_envs.brief_texts import BriefTexts, without_articles

_NAMES = r"[^.]*"
_CONDITION = re.compile(r"This is a (.+?) ([a-z]+ \d+)\.")


def _listed(names: str) -> str:
    """Return names as a plain list: ``mug 1, egg 2`` for ``a mug 1, and a egg 2``."""
    return re.sub(r"\band (?=a )|\ba (?=\S)", "", names)


def _view(found: re.Match[str]) -> str:
    here, beside = found[1].replace(", and ", ", "), _listed(found[2])
    return f"at {here}" if beside == "nothing" else f"at {here} | {beside}"


def _condition(found: re.Match[str]) -> str:
    return f"{found[2]} is {found[1].replace(' and ', ' ')}"


_FORMS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (pattern if isinstance(pattern, re.Pattern) else re.compile(pattern), form)
    for pattern, form in (
        (rf"You are in the middle of a room\. Looking quickly around you, you see ({_NAMES})\.", r"room: \1"),
        (rf"You are facing the ({_NAMES})\. Next to it, you see ({_NAMES})\.", _view),
        (rf"(?:You arrive at {_NAMES}\. )?On the ({_NAMES}), you see ({_NAMES})\.", r"\1: \2"),
        (rf"(?:You arrive at {_NAMES}\. )?The ({_NAMES}) is open\. In it, you see ({_NAMES})\.", r"\1 is open: \2"),
        (rf"(?:You arrive at {_NAMES}\. )?The ({_NAMES}) is closed\.", r"\1 is closed"),
        (rf"You open the ({_NAMES})\. The \1 is open\. In it, you see ({_NAMES})\.", r"\1 is open: \2"),
        (rf"You close the ({_NAMES})\.", r"\1 is closed"),
        (rf"You pick up the ({_NAMES}) from the {_NAMES}\.", r"carrying \1"),
        (rf"You (?:put|move) the ({_NAMES}) (?:in/on|to) the ({_NAMES})\.", r"\1 is in \2"),
        (rf"You turn on the ({_NAMES})\.", r"\1 is on"),
        (rf"You clean the ({_NAMES}) using the {_NAMES}\.", r"\1 is clean"),
        (rf"You heat the ({_NAMES}) using the {_NAMES}\.", r"\1 is hot"),
        (rf"You cool the ({_NAMES}) using the {_NAMES}\.", r"\1 is cool"),
        (rf"You sliced the ({_NAMES}) with the {_NAMES}\.", r"\1 is sliced"),
        (rf"You are carrying: ({_NAMES})\.", r"carrying \1"),
        (r"You are not carrying anything\.", "carrying nothing"),
        (rf"This is a normal ({_NAMES})\. In it, you see ({_NAMES})\.", r"\1: \2"),
        (_CONDITION, _condition),
        (rf"This ({_NAMES}) is on\.", r"\1 is on"),
        (rf"There's nothing special about ({_NAMES})\.", r"\1 is normal"),
    )
)


def write_brief_observation(text: str) -> str:
    """Write an observation of the engine in few words; other texts come back as they are."""
    for pattern, form in _FORMS:
        found = pattern.fullmatch(text)
        if found is not None:
            return form(found) if callable(form) else _listed(found.expand(form))
    return text


def write_brief_task(instruction: str) -> str:
    """Write a task in few words: ``put hot apple in fridge`` for ``put a hot apple in fridge.``."""
    return without_articles(instruction.strip()).rstrip(".")


class AlfworldBriefTexts(BriefTexts):
    """Says in few words what a household says."""

    @override
    def instruction(self, text: str) -> str:
        return write_brief_task(text)

    @override
    def observation(self, text: str) -> str:
        return write_brief_observation(text)

    @override
    def first_observation(self, text: str, instruction: str) -> str:
        # The engine's first observation begins with a greeting and ends with the task, which is said before it here.
        _, _, rest = text.partition("\n\n")
        around, _, _ = rest.rpartition("\n\n")
        return super().first_observation(around, instruction)
