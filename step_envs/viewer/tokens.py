"""The token view: how a tokenizer cuts each trajectory for training, and which weight each token has in the loss."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from step_envs.trajectory import Trajectory
from step_envs.viewer.pack import Names, packed

LIMIT = 2_000_000
"""The most tokens of one page; they take about half a megabyte and half a minute to make."""


class TokenPacker:
    """Collects the tokens of trajectories and makes the blocks that belong to those of the conversations.

    Args:
        tokenizer: A ``transformers`` tokenizer with a chat template.
        name: What the page calls it: the name, or the last part of a path.
        limit: Tokens at most; trajectories beyond are left without.
    """

    def __init__(self, tokenizer: Any, name: str, *, limit: int = LIMIT) -> None:
        self.trajectories = 0
        self.tokens = 0
        from step_envs.training.tokens import encoder_for

        self._encoder = encoder_for(tokenizer)
        self._name = Path(name).name if Path(name).is_dir() else name
        self._limit = limit
        self._full = False
        self._words = Names()
        self._pairs: dict[tuple[int, int], str] = {}
        self._chunks: dict[int, list[list[dict[str, Any]] | None]] = {}

    def add(self, chunk: int, at: int, trajectory: Trajectory) -> None:
        """Add the trajectory at a place in a chunk; places come in order.

        Raises:
            TemplateError: The tokenizer cannot be used for training, as its encoder says.
        """
        if self._full:
            return
        windows = self._encoder.encode(trajectory.messages())
        length = sum(len(window["input_ids"]) for window in windows)
        if self.tokens + length > self._limit:
            # All before it and none after, so that what is there can be said in one number.
            self._full = True
            return
        self.tokens += length
        self.trajectories += 1
        held = self._chunks.setdefault(chunk, [])
        held.extend([None] * (at - len(held)))
        held.append([self._window(window) for window in windows])

    def about(self) -> dict[str, Any]:
        """Return the facts about the tokenizer for the index of the page."""
        return {"name": self._name, "trajectories": self.trajectories, "tokens": self.tokens}

    def blocks(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield the blocks: name, and pieces of JSON text that is safe within a script element."""
        yield "vocabulary", [packed(json.dumps(self._words.list()))]
        for chunk, held in self._chunks.items():
            yield f"tokens-{chunk}", [packed(json.dumps(held, separators=(",", ":")))]

    def _window(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        weights = [[sum(1 for _ in run), weight] for weight, run in groupby(sample["weights"])]
        return {"t": [self._words.number(text) for text in self._texts(sample["input_ids"])], "w": weights}

    def _texts(self, ids: Sequence[int]) -> list[str]:
        # The text of a token depends on the one before it, and pairs come again and again.
        texts = self._encoder.pieces(ids[:1])
        for pair in pairwise(ids):
            if pair not in self._pairs:
                self._pairs[pair] = self._encoder.pieces(pair)[1]
            texts.append(self._pairs[pair])
        # Characters of several tokens need more than the token before.
        return self._encoder.pieces(ids) if any("\ufffd" in text or not text for text in texts) else texts
