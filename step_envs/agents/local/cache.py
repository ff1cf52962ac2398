"""Attention caches of a local model: what each agent keeps from turn to turn, and the block in which many are extended.

A block is a batch whose rows are aligned at the right and have no gaps. If a row has fewer new tokens than another, some of
its known tokens are computed again, which costs nothing beside the longer row. So to the model a block looks like an
ordinary batch with padding at the left, whatever kind of attention the model has. The obvious way, concatenating to the
cache at every token, would copy it each time; a block is allocated once, with room to grow.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, DynamicLayer

_GRAIN = 128  # tokens by which a kept cache grows
_ages = count(1)


class CacheShape(NamedTuple):
    """The shape of a model's attention cache.

    Attributes:
        layers: Number of layers that hold keys and values.
        heads: Number of heads per layer.
        width: Numbers per head.
        dtype: Number type.
    """

    layers: int
    heads: int
    width: int
    dtype: torch.dtype

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token in one row."""
        return 2 * self.layers * self.heads * self.width * int(self.dtype.itemsize)

    def empty(self, rows: int, tokens: int, device: torch.device) -> torch.Tensor:
        """Allocate keys and values: ``[2 * layers, rows, heads, tokens, width]``, the keys of each layer first."""
        shape = (2 * self.layers, rows, self.heads, tokens, self.width)
        return torch.empty(shape, dtype=self.dtype, device=device)


def shape_of(cache: object) -> CacheShape | None:
    """Return the shape of a model's own cache; None if its layers do not all hold keys and values of one shape."""
    layers: Sequence[Any] = getattr(cache, "layers", ())
    tensors = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    first = tensors[0] if tensors else None
    if not isinstance(first, torch.Tensor) or first.ndim != 4:
        return None
    if not all(isinstance(tensor, torch.Tensor) and tensor.shape == first.shape for tensor in tensors):
        return None
    if not all(isinstance(layer, DynamicLayer) for layer in layers):
        return None
    return CacheShape(len(layers), first.shape[1], first.shape[3], first.dtype)


class PrefixCache:
    """What one agent keeps: the token ids that its model has read, and their keys and values.

    Attributes:
        ids: The token ids, in order.
        age: Rises with every use; the smallest belongs to the least recently used.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.age = 0
        self._values: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Bytes in use."""
        return 0 if self._values is None else self._values.numel() * self._values.element_size()

    def use(self, ids: Sequence[int]) -> int:
        """Return how many of ``ids``, from the first, are kept; never the last, which the model has to read in any case."""
        self.age = next(_ages)
        most = min(len(self.ids), len(ids) - 1)
        same = next((i for i in range(most) if self.ids[i] != ids[i]), most)
        del self.ids[same:]
        return same

    def drop(self) -> None:
        """Free everything."""
        self.ids, self._values = [], None

    def read(self, tokens: int) -> torch.Tensor:
        """Return keys and values of the first tokens: ``[2 * layers, heads, tokens, width]``."""
        assert self._values is not None
        return self._values[:, :, :tokens]

    def extend(self, ids: Sequence[int], values: torch.Tensor) -> None:
        """Append token ids, with the keys and values of as many tokens."""
        start, end = len(self.ids), len(self.ids) + len(ids)
        if self._values is None or self._values.shape[2] < end:
            layers, heads, _, width = values.shape
            larger = values.new_empty((layers, heads, -(-(end + _GRAIN) // _GRAIN) * _GRAIN, width))
            if start:
                larger[:, :, :start] = self.read(start)
            self._values = larger
        self._values[:, :, start:end] = values
        self.ids.extend(ids)


class Row(NamedTuple):
    """One row of a block.

    Attributes:
        ids: All its token ids; they grow as the model writes.
        kept: Holds the cache of its first tokens, and receives that of the others.
    """

    ids: list[int]
    kept: PrefixCache


class Block:
    """Rows that are extended together.

    Args:
        rows: The rows; each has more token ids than its cache holds.
        shape: Shape of the model's cache; None leaves the cache to the model, and then nothing is kept.
        room: Tokens that the rows can grow by.
        device: Device of the model.

    Attributes:
        room: Tokens that the rows can still grow by.
    """

    def __init__(self, rows: Sequence[Row], shape: CacheShape | None, room: int, device: torch.device) -> None:
        self._rows = rows
        self.room = room
        self._device = device
        self._width = max(len(row.ids) for row in rows)
        self._starts = [self._width - len(row.ids) for row in rows]
        self._new = max(len(row.ids) - (len(row.kept.ids) if shape else 0) for row in rows)
        self._seen = self._width - self._new
        self._padded = torch.tensor(self._starts, device=device)
        self._all = torch.arange(self._width + room, device=device)
        self._cache: Any = None
        if shape is not None:
            self._values = shape.empty(len(rows), self._width + room, device)
            for index, (row, start) in enumerate(zip(rows, self._starts, strict=True)):
                # Memory that is not set can hold NaN, which a mask does not hide.
                self._values[:, index, :, :start] = 0
                if start < self._seen:
                    self._values[:, index, :, start : self._seen] = row.kept.read(self._seen - start)
            pairs = zip(self._values[0::2], self._values[1::2], strict=True)
            self._cache = Cache(layers=[_BlockLayer(keys, values, self._seen) for keys, values in pairs])

    def advance(self, model: Callable[..., tuple[torch.Tensor, Any]], filler: int, **options: Any) -> torch.Tensor:
        """Have the model read the new tokens of every row.

        Args:
            model: Takes a cache and inputs; returns logits and the cache to continue with.
            filler: Token id for padding.
            **options: Further arguments of the model.

        Returns:
            The logits of the next token of every row: ``[rows, vocabulary]``.
        """
        new = self._new
        fed = [([filler] * new + row.ids)[-new:] if len(row.ids) < new else row.ids[-new:] for row in self._rows]
        end = self._seen + new
        columns = self._all[:end]
        logits, self._cache = model(
            self._cache,
            input_ids=torch.tensor(fed, device=self._device),
            attention_mask=(columns >= self._padded[:, None]).long() if any(self._starts) else None,
            position_ids=(columns[self._seen :] - self._padded[:, None]).clamp(min=0),
            **options,
        )
        self._seen = end
        # From here on every row has one new token: the one that the caller chooses now.
        self._new, self.room = 1, self.room - 1
        return logits[:, -1]

    def keep(self, shape: CacheShape | None) -> None:
        """Store what the model has read of every row in that row's own cache."""
        if shape is None:
            return
        for index, (row, start) in enumerate(zip(self._rows, self._starts, strict=True)):
            known, kept = min(len(row.ids), self._seen - start), len(row.kept.ids)
            if known > kept:
                row.kept.extend(row.ids[kept:known], self._values[:, index, :, start + kept : start + known])


class _BlockLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer of a block, written in place."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, filled: int) -> None:
        super().__init__()
        self._room = keys, values
        self._filled = filled
        self.keys, self.values = keys[:, :, :filled], values[:, :, :filled]
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, end = self._filled, self._filled + key_states.shape[-2]
        keys, values = self._room
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self._filled = end
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def get_seq_length(self, *args: Any) -> int:
        return self._filled
