"""Actions that only think: ``think: ...`` and ``think[...]``, as the prompts of ReAct and its successors have them.

ReAct (arXiv 2210.03629) lets a model think by an action of its own, which the loop around the world answers with "OK."
(ALFWorld writes ``think: ...``, WebShop ``think[...]``). The worlds know no such action: to them it is a wasted step.
"""

import re

THOUGHT_ANSWER = "OK."
"""What ReAct's loop answers to a thought."""

_THINK = re.compile(r"\s*think(?:ing)?\s*[:：\[(]", re.IGNORECASE)


def is_think_action(action: str | None) -> bool:
    """Return True if an action only thinks.

    Examples:
        >>> [is_think_action(action) for action in ("think: a mug is often on a desk.", "think[so]", "look", None)]
        [True, True, False, False]
    """
    return action is not None and _THINK.match(action) is not None
