"""Restricts the actions that a checkpoint writes to those that the world accepts, token by token.

The thought is written freely. From the action on, a token is chosen only if the action so far is the beginning of an
admissible one. This is decided on text and not on token ids: one token may hold the end of a thought, the mark of the
action and its first words, and no tokenizer need agree with another on where an action begins.
"""

import re
from collections.abc import Callable, Iterable

_ACTION = re.compile(r"(?:^|\n)Action: ?")
_OTHER = "something else"


class AdmissibleActions:
    """Says which tokens a reply may continue with.

    Args:
        actions: The admissible actions.
        accepts: Returns True if the world accepts an action. What stands in brackets of a listed action is free text if the
            world also accepts another text there, as in a search.
        text: Decodes the token ids of a reply.
    """

    def __init__(
        self, actions: Iterable[str], accepts: Callable[[str], bool], text: Callable[[list[int]], str]
    ) -> None:
        self._actions, self._text = tuple(actions), text
        heads = dict.fromkeys(f"{action.partition('[')[0]}[" for action in self._actions if "[" in action)
        self._free = tuple(head for head in heads if accepts(f"{head}{_OTHER}]"))

    def allows(self, reply: list[int], token: int, *, ends: bool) -> bool:
        """Return True if a token may follow.

        Args:
            reply: Token ids of the reply so far.
            token: The next token.
            ends: The token ends the reply.
        """
        text = self._text(reply if ends else [*reply, token])
        begun = _ACTION.search(text)
        if begun is None:
            return True  # still the thought
        action = text[begun.end() :]
        free = action.startswith(self._free)
        if ends:
            return action in self._actions or (free and action.endswith("]"))
        if self._text([token]) == "":
            return False  # a special token, which could follow itself for ever
        if free:
            return "\n" not in action and action.find("]") in (-1, len(action) - 1)
        if action.endswith("\ufffd"):
            # A letter of which some bytes are missing may still become one that is not ASCII.
            whole = action.removesuffix("\ufffd")
            return any(one.startswith(whole) and not one[len(whole) :][:1].isascii() for one in self._actions)
        return any(one.startswith(action) for one in self._actions)
