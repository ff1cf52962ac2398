"""Explains in one plain first-person sentence why an action is taken.

The wording is varied, and yet the same for the same action, so that a trajectory is made of the same bytes every time.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.instruction_parser import split_price
from step_envs.webshop.shop.pages import BACK_TO_SEARCH, BUY_NOW, NEXT_PAGE, PREVIOUS_PAGE, SUB_PAGES

_SENTENCES: Final = {
    "search": "I start by searching for what matters: {query}.",
    "dead": "Nothing happens on this page, so I start anew.",
    "again": "The earlier one was the better choice, so I open it again.",
    "open": "{title!r} looks most promising because it mentions {found}.",
    "try": "{title!r} looks most promising.",
    "other results": "These are not what I was asked for, so I search anew.",
    "other product": "This is not what I was asked for, so I search anew.",
    "turn back": "There is nothing on this page, so I turn back.",
    "read": "The title sounds right, but I want to read its features before I decide.",
    "too dear": "It costs too much, so I go back and look at another one.",
    "lacks": "It says nothing of {missing}, so I go back and look at another one.",
    "earlier": "An earlier one fits better, so I go back to it.",
    "choose": "I was asked for {value}, so I choose that.",
    "found": "It speaks of {found}. I go back to the product.",
    "nothing found": "It does not speak of what I was asked for. I go back to the product.",
    "buy": "{title!r} offers {found}. I buy it.",
    "buy cheap": "{title!r} offers {found} and costs no more than {limit} dollars. I buy it.",
}
"""The shopper's thoughts. Two of them may be the same in few words."""

_BRIEF: Final = {
    "search": "search for it",
    "dead": "nothing happens, start anew",
    "again": "[{number}] was better, open it again",
    "open": "[{number}] has {found}, open it",
    "try": "try [{number}]",
    "other results": "these are others, search anew",
    "other product": "this is another, search anew",
    "turn back": "nothing here, turn back",
    "read": "read its features",
    "too dear": "price too high, look at another",
    "lacks": "no {missing}, look at another",
    "earlier": "an earlier one was better, go back",
    "choose": "choose {value}",
    "found": "it has {found}, go back",
    "nothing found": "nothing found, go back",
    "buy": "it has {found}, buy it",
    "buy cheap": "it has {found}, price is right, buy it",
    "buy blindly": "buy it",
    "number": "open [{what}]",
    "click": "click {what}",
    "other": "try something",
}
"""The same in few words, and three for actions that the shopper would not take."""


def describe(engine: ShopEngine, action: str) -> str:
    """Return one first-person sentence that says why to take an action on the page that is shown.

    Args:
        engine: Shows the page and knows the goal; it is not changed.
        action: What is to be done.
    """
    verb, argument = parse_action(action)
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
        return _describe_purchase(engine, action)
    if argument in names:
        return names[argument]
    shown = next((product for product in engine.page.products if product.asin.lower() == argument), None)
    if engine.page.kind == "results" and shown is not None:
        title = shorten(shown.title)
        _, limit = split_price(engine.goal.instruction_text)
        cheap = f" and costs less than {limit:.2f} dollars" if limit is not None and shown.prices[0] <= limit else ""
        return _pick(
            action,
            f"{title!r} sounds like what I was asked for{cheap}, so I open it.",
            f"Among these results {title!r} fits best{cheap}; let me take a closer look.",
        )
    option_names = [name for name, values in engine.page.choices().items() if argument in values]
    if option_names:
        # Of options with equal values, the last one counts, as in the shop.
        return _pick(
            action,
            f"I was asked for {argument!r}, so I choose it as the {option_names[-1]}.",
            f"The {option_names[-1]} should be {argument!r}, so I select that.",
        )
    return f"I click on {argument!r} to see where it leads."


def describe_blindly(action: str) -> str:
    """Return a sentence for an action where neither the page nor the goal is known."""
    what = action.partition("[")[2].rstrip("]")
    return f"The next thing to do is {'search for' if action.startswith('search') else 'click on'} {what!r}."


def describe_briefly(task: str, action: str) -> str:
    """Return the task and what is done next, for an action of which no more is known: ``Goal: desk lamp; choose white.``.

    Args:
        task: The task in few words.
        action: What is to be done, in brief names.
    """
    verb, argument = parse_action(action)
    if verb == "search" and argument:
        return word_briefly(task, "search")
    if verb != "click" or not argument:
        return word_briefly(task, "other")
    if argument == BUY_NOW.lower():
        return word_briefly(task, "buy blindly")
    return word_briefly(task, "number" if argument.isdecimal() else "click", what=argument)


def word_briefly(task: str, case: str, **words: str | Sequence[str]) -> str:
    """Return a brief thought of a case: the task, and what is done next."""
    said = {name: value if isinstance(value, str) else " ".join(value) for name, value in words.items()}
    return f"Goal: {task}; {_BRIEF[case].format(**said)}."


def word_fully(case: str, **words: str | Sequence[str]) -> str:
    """Return the shopper's thought of a case in a sentence or two."""
    said = {name: value if isinstance(value, str) else join_words(value) for name, value in words.items()}
    return _SENTENCES[case].format(**said)


def _describe_purchase(engine: ShopEngine, action: str) -> str:
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
    """Join words as in a sentence: ``"a, b and c"``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def shorten(title: str, words: int = 9) -> str:
    """Return the first words of a title."""
    parts = title.split()
    return " ".join(parts[:words]).rstrip(",;-") if len(parts) > words else title


def _pick(action: str, *sentences: str) -> str:
    """Choose a wording: always the same one for the same action, but not the same for all actions."""
    return sentences[hashlib.sha256(action.encode("utf-8", "surrogatepass")).digest()[0] % len(sentences)]
