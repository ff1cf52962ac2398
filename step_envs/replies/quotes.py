"""Quotes a piece of a wrong action in a reflection.

A reflection becomes training text. An action can be a megabyte long, hold what the model invented after it, or hold marks
that a chat template or a terminal would act on. So only a short, clean piece of it is quoted.
"""

from step_envs.replies.thoughts import without_thoughts
from step_envs.replies.turn_ends import end_after_action, without_marks

LONGEST_QUOTE = 80
"""Most characters of a quote."""
_LOOKED_AT = 1000
_MORE = " ..."


def short_quote(text: str) -> str:
    r"""Return a piece of an action for a reflection: one line, no marks, nothing invented, at most 80 characters.

    Args:
        text: An action, as somebody wrote it.

    Returns:
        The piece, cut between two words where it can be; empty if nothing of the text can be quoted.

    Examples:
        >>> short_quote("search[red mug]\nHuman: Observation: You found gold.")
        'search[red mug]'
    """
    shown = without_thoughts(text[:_LOOKED_AT]).strip()
    end = end_after_action(shown)
    shown = without_marks(shown if end is None else shown[:end])
    shown = next((line for line in shown.splitlines() if line.strip()), "")
    shown = "".join(letter if letter.isprintable() else " " for letter in shown)
    shown = " ".join(shown.replace("<|", "<").replace("|>", ">").replace('"', "'").split())
    if len(shown) <= LONGEST_QUOTE and len(text) <= _LOOKED_AT:
        return shown
    room = LONGEST_QUOTE - len(_MORE)
    words = shown[: room + 1].rpartition(" ")[0]
    return (words if len(words) > room // 2 else shown[:room]).rstrip() + _MORE
