"""The space of observations and actions: any text up to a length."""

from typing import Any

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

MAX_TEXT_LENGTH = 1_048_576
"""Longest text, in characters, that the declared spaces hold; far above anything the worlds print."""

MAX_ACTION_LENGTH = 4_096
"""Longest action, in characters, that reaches an engine; the longest that any world lists has a few hundred."""

_SAMPLE_ALPHABET = "abcdefghijklmnopqrstuvwxyz 0123456789"
_SAMPLE_LENGTH = 32
_tables: dict[str, Any] = {}
"""Attributes of ``Text`` that follow from the alphabet alone."""


class TextSpace(Text):
    """Text of any script, bounded only in length.

    Gymnasium's ``Text`` holds a fixed alphabet, so that real text is "outside the space", and building one over all of
    Unicode takes seconds. Here membership is type and length; the alphabet serves ``sample()`` alone.

    Args:
        max_length: Longest member, in characters.
        seed: Seed of ``sample()``.
    """

    def __init__(self, max_length: int = MAX_TEXT_LENGTH, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=_SAMPLE_ALPHABET, seed=seed)
        # The tables of the alphabet take more memory than all else of an environment that waits; all spaces share one set.
        for name, value in vars(self).items():
            if isinstance(value, dict | tuple | frozenset | set):
                setattr(self, name, _tables.setdefault(name, value))

    def contains(self, x: Any) -> bool:
        """Say whether ``x`` is a ``str`` of at most ``max_length`` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Draw a short random text of lower-case letters, digits and spaces.

        Args:
            mask: Not supported; must be None.
            probability: Not supported; must be None.
        """
        if mask is not None or probability is not None:
            raise ValueError("TextSpace.sample() takes no mask and no probability.")
        length = int(self.np_random.integers(1, min(_SAMPLE_LENGTH, self.max_length) + 1))
        letters = self.np_random.integers(len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[i] for i in letters)

    def __repr__(self) -> str:
        return f"TextSpace({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSpace) and other.max_length == self.max_length

    __hash__ = None  # type: ignore[assignment]  # mutable random state, like every Gymnasium space


@create_shared_memory.register(TextSpace)
def _refuse_shared_memory(space: TextSpace, n: int = 1, ctx: Any = None) -> Any:
    # Gymnasium reads shared text once, when the vector environment is built, and returns that garbage for ever after.
    raise TypeError(
        "Text observations cannot be shared between processes through memory: pass `shared_memory=False` to "
        "AsyncVectorEnv, or call `gymnasium.make_vec(id, num_envs)` without `vectorization_mode`."
    )


def require_text(value: object, what: str) -> str:
    """Return ``value`` if it is a ``str``; actions, replies and task ids from outside pass through here.

    Args:
        value: What the caller gave.
        what: What it was meant to be, as the subject of a sentence, e.g. ``"An action"``.

    Raises:
        TypeError: It is not a ``str``.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, got {type(value).__name__}: {value!r}.")
    return value


def is_too_long(action: str) -> bool:
    """Return True if an action is not given to any engine because of its length."""
    return len(action) > MAX_ACTION_LENGTH


def refuse_too_long(action: str) -> str:
    """Return the observation for an action that is too long: the same in all worlds."""
    return f"The action has {len(action):,} characters and was not carried out: at most {MAX_ACTION_LENGTH:,} are read."
