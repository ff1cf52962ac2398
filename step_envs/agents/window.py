"""Fitting a conversation into a model's context window.

The oldest observations are shortened first; the task and the agent's own replies never are. Cutting off the beginning of
the conversation, the obvious way, would remove the task.
"""

from collections.abc import Callable, Sequence

_KEPT = 120
"""Characters that remain of a shortened observation: its first words say what it was about."""
_MARK = " [...]"
_ROOM = 0.75
"""How full the window is after shortening. Shortening a little at every step would change the beginning of every prompt, so
that no prefix cache of a server would ever hit. So it is done seldom, and then by more than is needed."""
_FIRST_GUESS = 3.0
"""Characters per token until a server has counted: rather too few, so that too much room is left rather than too little."""


class Window:
    """The part of a conversation that a model is shown.

    Args:
        tokens: Most tokens of a prompt; None means no limit.
        count: Counts the tokens of a conversation; None estimates them from what servers have counted before.

    Raises:
        ValueError: ``tokens`` is less than 1.

    Attributes:
        shortened: Number of observations that are shortened now.
    """

    def __init__(self, tokens: int | None, count: Callable[[Sequence[dict[str, str]]], int] | None = None) -> None:
        if tokens is not None and tokens < 1:
            raise ValueError(f"context_tokens must be at least 1, got {tokens}.")
        self._limit = tokens
        self._count = count
        self._characters_a_token = _FIRST_GUESS
        self.shortened = 0

    def begin(self) -> None:
        """Forget the last episode, also how long its tokens were: an episode must not depend on earlier ones."""
        self.shortened = 0
        self._characters_a_token = _FIRST_GUESS

    def fit(self, messages: Sequence[dict[str, str]]) -> list[dict[str, str]] | None:
        """Shorten observations until the conversation fits.

        Args:
            messages: The whole conversation.

        Returns:
            The conversation to show; None if it does not fit even when all observations are shortened.
        """
        shown = self._show(messages)
        if self._limit is None or self._tokens(shown) <= self._limit:
            return shown
        return self._shorten(messages, int(self._limit * _ROOM), self._limit)

    def tighten(self, messages: Sequence[dict[str, str]]) -> list[dict[str, str]] | None:
        """Shorten more than the estimate asked for, because the server says that the conversation was too long.

        Returns:
            The conversation to show instead; None if nothing is left to shorten.
        """
        before = self.shortened
        shown = self._shorten(messages, int(self._tokens(self._show(messages)) * _ROOM), None)
        return shown if self.shortened > before else None

    def counted(self, messages: Sequence[dict[str, str]], tokens: int) -> None:
        """Learn from a server's count how long its tokens are, for the rest of the episode.

        Args:
            messages: The conversation that the server counted.
            tokens: Its tokens; 0 if the server did not say.
        """
        if tokens:
            self._characters_a_token = min(_characters(messages) / tokens, 2 * _FIRST_GUESS)

    def _shorten(
        self, messages: Sequence[dict[str, str]], target: int, limit: int | None
    ) -> list[dict[str, str]] | None:
        most = len(_observations(messages)) - 1  # the last one has to be answered, so it stays whole
        while True:
            shown = self._show(messages)
            tokens = self._tokens(shown)
            if tokens <= target:
                return shown
            if self.shortened >= most:
                return shown if limit is None or tokens <= limit else None
            self.shortened += 1

    def _show(self, messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        old = set(_observations(messages)[: self.shortened])
        return [_brief(message) if i in old else message for i, message in enumerate(messages)]

    def _tokens(self, messages: Sequence[dict[str, str]]) -> int:
        if self._count is not None:
            return self._count(messages)
        return int(_characters(messages) / self._characters_a_token) + 1


def has_observations(messages: Sequence[dict[str, str]]) -> bool:
    """Return True if the conversation has gone beyond the task, so that there is something to shorten."""
    return bool(_observations(messages))


def _observations(messages: Sequence[dict[str, str]]) -> list[int]:
    """Find the observations: what the world said after the first reply, not counting the "OK" to the manual."""
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant" and message["content"] != "OK"]
    first = replies[0] if replies else len(messages)
    return [i for i, message in enumerate(messages) if i > first and message["role"] == "user"]


def _brief(message: dict[str, str]) -> dict[str, str]:
    content = message["content"]
    if len(content) <= _KEPT + len(_MARK):
        return message
    return {**message, "content": content[:_KEPT] + _MARK}


def _characters(messages: Sequence[dict[str, str]]) -> int:
    # Chat templates put a few tokens around every message.
    return sum(len(message["content"]) + 16 for message in messages)
