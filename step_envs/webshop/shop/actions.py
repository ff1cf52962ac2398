r"""Reads actions: ``search[words]`` and ``click[what]``.

The original matches them with the pattern ``(.+)\[(.+)\]``, and lowers only what is in the brackets. Matching takes time
that grows with the square of the number of brackets, and an action can be any text, so it is done by hand here.
"""

from step_envs.webshop.shop.pages import BACK_TO_SEARCH, PREVIOUS_PAGE


def parse_action(action: str) -> tuple[str, str | None]:
    """Split an action into its verb and its argument.

    Args:
        action: ``verb[argument]``; what follows the last bracket does not count, as in the original.

    Returns:
        The verb as written and the argument in lower case; the argument is None where there are no brackets.
    """
    line = action.partition("\n")[0]
    last = line.rfind("]")
    opening = line.rfind("[", 1, last - 1) if last > 0 else -1
    return (action, None) if opening < 0 else (line[:opening], line[opening + 1 : last].lower())


def verb_of(action: str) -> str:
    """Return the word before the bracket, ``search`` or ``click``; of other texts, their first word."""
    return next(iter(action.partition("[")[0].split()), "")


def goes_back(action: str) -> bool:
    """Return True if an action only goes back: to the start page, to the page before, or to the product."""
    verb, argument = parse_action(action)
    return verb == "click" and argument in (BACK_TO_SEARCH.lower(), PREVIOUS_PAGE.lower())


def vaguer_searches(action: str) -> tuple[str, ...]:
    """Return searches for one word each of a search; () for other actions and for a search of one word."""
    verb, argument = parse_action(action)
    words = dict.fromkeys((argument or "").split())
    return tuple(f"search[{word}]" for word in words) if verb == "search" and len(words) > 1 else ()
