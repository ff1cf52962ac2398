"""Reading instructions as a shopper does, and saying in plain words why to do something next."""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from step_envs.webshop.shop.pages import BACK_TO_SEARCH, BUY_NOW, NEXT_PAGE, PREVIOUS_PAGE, SUB_PAGES

if TYPE_CHECKING:
    from step_envs.webshop.engine import ShopEngine

_PRICE: Final = re.compile(r",? and price lower than (\d+(?:\.\d+)?) dollars\s*$")
_WORD: Final = re.compile(r"[\w&'\"./-]*[\w'\"]", re.ASCII)

_FILLER_TEXT: Final = """
a about all also am an and any are as at be buy by can care could do find for from get give has have help
hello hi i id i'd i'm im in is it its like looking matters me most must my need offer of old on or order
pair please purchase replace see should show so some something that the them there these they this to us
want which with would you your come comes
"""
_FILLER: Final = frozenset(_FILLER_TEXT.split())


def split_price(instruction: str) -> tuple[str, float | None]:
    """Part an instruction from its price limit.

    Args:
        instruction: As the shop shows it.

    Returns:
        The wish, and the limit in dollars where there is one.
    """
    match = _PRICE.search(instruction)
    return (instruction[: match.start()], float(match[1])) if match else (instruction, None)


def content_words(text: str) -> list[str]:
    """List the words of a wish that say something about the product, in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in _FILLER]


def search_words(instruction: str) -> str:
    """Turn an instruction into words to search for."""
    wish, _ = split_price(instruction)
    return " ".join(content_words(wish))


def describe(engine: "ShopEngine", action: str) -> str:
    """Say in one first-person sentence why to take an action on the page that is shown.

    Args:
        engine: Shows the page and knows the wish.
        action: What is to be done.
    """
    from step_envs.webshop.engine import parse_action

    verb, argument = parse_action(action)
    goal = engine.goal
    if verb == "search" and argument:
        return _pick(
            action,
            f"I should look for the product first, so I search for {argument!r}.",
            f"The words that matter here are {argument!r}; let me search for them.",
            f"Let me see what the shop offers for {argument!r}.",
        )
    if verb != "click" or not argument:
        return "I am not sure what the shop will make of this, but I try it."
    names = {
        BACK_TO_SEARCH.lower(): "This is not leading to what I was asked for, so I go back and search anew.",
        NEXT_PAGE.lower(): "Nothing on this page fits well enough, so I look at the next one.",
        **{name.lower(): f"I want to read the {name.lower()} before I decide." for name in SUB_PAGES},
    }
    if argument == PREVIOUS_PAGE.lower():
        return {
            "sub": "I have read enough here and go back to the product.",
            "item": "This product does not fit, so I return to the results.",
        }.get(engine.page.kind, "What I need was on an earlier page, so I turn back.")
    if argument == BUY_NOW.lower():
        return _buying(engine, action)
    if argument in names:
        return names[argument]
    shown = next((product for product in engine.page.products if product.asin.lower() == argument), None)
    if engine.page.kind == "results" and shown is not None:
        title = shorten(shown.title)
        _, limit = split_price(goal.instruction_text)
        cheap = f" and costs less than {limit:.2f} dollars" if limit is not None and shown.prices[0] <= limit else ""
        return _pick(
            action,
            f"{title!r} sounds like what I was asked for{cheap}, so I open it.",
            f"Among these results {title!r} fits best{cheap}; let me take a closer look.",
        )
    names_of = [name for name, values in engine.page.choices().items() if argument in values]
    if names_of:
        return _pick(
            action,
            f"I was asked for {argument!r}, so I choose it as the {names_of[-1]}.",
            f"The {names_of[-1]} should be {argument!r}, so I select that.",
        )
    return f"I click on {argument!r} to see where it leads."


def describe_blindly(action: str) -> str:
    """As ``describe``, where neither page nor goal is known."""
    what = action.partition("[")[2].rstrip("]")
    return f"The next thing to do is {'search for' if action.startswith('search') else 'click on'} {what!r}."


def _buying(engine: "ShopEngine", action: str) -> str:
    wanted = join_words(engine.goal.attributes)
    chosen = join_words(list(engine.session.options.values()))
    choices = f" and {chosen} selected" if chosen else ""
    _, limit = split_price(engine.goal.instruction_text)
    price = f" The price is within {limit:.2f} dollars." if limit is not None else ""
    return _pick(
        action,
        f"This one offers {wanted}{', with' + choices.removeprefix(' and') if choices else ''}.{price} I can buy it now.",
        f"With {wanted}{choices}, this is what I was asked for.{price} I buy it.",
    )


def join_words(words: Sequence[str]) -> str:
    """Join words as in a sentence."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def shorten(title: str, words: int = 9) -> str:
    """Cut a title to its first words."""
    parts = title.split()
    return " ".join(parts[:words]).rstrip(",;-") if len(parts) > words else title


def _pick(action: str, *sentences: str) -> str:
    """Choose a wording: always the same for the same action, but not the same for all."""
    return sentences[hashlib.sha256(action.encode("utf-8", "surrogatepass")).digest()[0] % len(sentences)]
