"""Many agents, one model: what they ask is gathered and answered in one batch, token by token.

One thread works for a model. It takes up what is waiting, has the model read the new part of each conversation (rows with
about as much to read together), and then advances all replies by a token at a time. A reply that ends is handed over at
once; what comes in meanwhile joins as soon as it is worth laying the batch out anew.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch

from step_envs.agents.local.cache import Block, Kept, Row
from step_envs.agents.local.model import LocalModel
from step_envs.errors import EngineError

_IDLE = 2.0
"""Seconds after which a thread with nothing to do ends, so that its model can be let go."""
_ROOM = 96
"""Tokens that a batch can grow by before it is laid out anew."""
_PATIENCE = 24
"""Tokens after which a reply that waits joins, however few wait."""
_TIE = 1e-5
"""Logits (relative to 1 plus the largest) that count as equal, for they differ by about as much when the same row is read
beside other rows; of equal ones the smallest id is taken."""
_ON_CPU = 2 << 30
_OF_GPU = 0.35
"""Memory for the caches that are kept, in bytes, or as a share of what the GPU has free; as much again for a batch."""


@dataclass(eq=False)
class Ask:
    """One reply that is asked for.

    Attributes:
        kept: What the agent keeps from earlier turns.
        ids: The prompt; the reply is added to it.
        most: Tokens that the reply can have.
        ends: Says of the ids of a reply whether it is complete, other than by a token that ends it.
        temperature: 0 takes the likeliest token; otherwise one is drawn.
        top_p: Draw from the likeliest tokens whose shares add up to this.
        draw: The episode's own random stream.
        answer: Where the ids of the reply come, without the one that ended it.
    """

    kept: Kept
    ids: list[int]
    most: int
    ends: Callable[[list[int]], bool]
    temperature: float = 0.0
    top_p: float = 1.0
    draw: np.random.Generator = field(default_factory=np.random.default_rng)
    answer: "Future[list[int]]" = field(default_factory=Future)
    asked: int = field(init=False)
    waited: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.asked = len(self.ids)

    @property
    def row(self) -> Row:
        """The row of a block."""
        return Row(self.ids, self.kept)

    @property
    def over(self) -> bool:
        """The reply is there, or nobody can have it any more."""
        return self.answer.done()


class Batcher:
    """Answers what the agents of one model ask.

    Args:
        model: The model.

    Attributes:
        model: The model.
        most: Replies that are advanced together.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.most = 64
        self._changed = threading.Condition()
        self._waiting: list[Ask] = []
        self._worker: threading.Thread | None = None
        self._seen: WeakKeyDictionary[Kept, float] = WeakKeyDictionary()  # when each agent was last heard of
        self._last_round = 0.0
        self._taken: list[Ask] = []
        self._running: list[Ask] = []
        self._block: Block | None = None
        self._limit = _memory(model.device)

    def join(self, kept: Kept) -> None:
        """Announce an agent that is about to ask."""
        with self._changed:
            self._seen[kept] = time.monotonic()

    def submit(self, ask: Ask) -> list[int]:
        """Ask and wait for the reply.

        Returns:
            The ids of the reply, without the one that ended it.

        Raises:
            Exception: Whatever the model raised.
        """
        with self._changed:
            self._seen[ask.kept] = time.monotonic()
            self._waiting.append(ask)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="local-model", daemon=True)
                self._worker.start()
            self._changed.notify_all()
        return ask.answer.result()

    def _work(self) -> None:
        with torch.inference_mode():
            while (taken := self._gather()) is not None:
                try:
                    if taken:
                        self._lay_out(taken)
                    self._advance()
                except torch.OutOfMemoryError as error:
                    self._make_do_with_less(error)
                # Whatever it is, it belongs to those who asked; the thread must not die and leave the next ones waiting.
                except Exception as error:
                    self._give_up(error)

    # Who takes part.

    def _gather(self) -> list[Ask] | None:
        """Take up those who wait; None where nobody has asked for a while, and the thread is to end."""
        with self._changed:
            if not self._running:
                if not self._changed.wait_for(lambda: self._waiting, _IDLE):
                    self._worker = None
                    return None
                self._linger()
            taken = self._waiting[: self._places()]
            del self._waiting[: len(taken)]
            self._taken = [ask for ask in self._taken if not ask.over] + taken
        return taken

    def _linger(self) -> None:
        """Wait a little for those who are playing too, so that all are answered together."""
        pause = min(max(0.002, 0.2 * self._last_round), 0.05)
        now = time.monotonic()
        since, deadline = now - max(1.0, 3 * self._last_round), now + 4 * pause
        while True:
            playing = sum(seen > since for seen in self._seen.values())
            there = len(self._waiting)
            if there >= min(self.most, playing) or time.monotonic() > deadline:
                return
            if not self._changed.wait_for(lambda there=there: len(self._waiting) > there, pause):  # type: ignore[misc]
                return

    def _places(self) -> int:
        """Say how many of those who wait can take part now."""
        for ask in self._waiting:
            ask.waited += 1
        running = sum(not ask.over for ask in self._running)
        free = self.most - running
        if self.model.cache is None:
            return 0 if running else self.most
        longest = max((len(ask.ids) for ask in (*self._running, *self._waiting)), default=0) + _ROOM
        free = min(free, max(self._limit // (longest * self.model.cache.bytes_per_token), 1) - running)
        worth = len(self._waiting) >= running or any(ask.waited > _PATIENCE for ask in self._waiting)
        return max(free, 0) if worth else 0

    def _lay_out(self, taken: Sequence[Ask]) -> None:
        shape = self.model.cache
        self._put_away()
        groups = _alike(taken) if shape is not None else [list(taken)]
        if not self._running and len(groups) == 1:
            self._running = list(taken)
            self._block = self._new_block(taken)
            return
        for group in groups:
            block = self._new_block(group)
            self._write(group, block)
            block.keep(shape)
        self._running += [ask for ask in taken if not ask.over]
        self._block = None

    def _new_block(self, asks: Sequence[Ask]) -> Block:
        started = [ask for ask in asks if len(ask.ids) == ask.asked]
        for ask in started:
            ask.kept.use(ask.ids)
        room = min(max(ask.most - (len(ask.ids) - ask.asked) for ask in asks), _ROOM)
        if self.model.cache is None:
            room = max(ask.most for ask in asks)
        return Block([ask.row for ask in asks], self.model.cache, room, self.model.device)

    def _put_away(self) -> None:
        """Have everybody keep what was read, and let go of the longest unused where that is too much."""
        if self._block is not None:
            self._block.keep(self.model.cache)
            self._block = None
        self._running = [ask for ask in self._running if not ask.over]
        with self._changed:
            kept = sorted(self._seen, key=lambda one: one.age)
        used = sum(one.bytes for one in kept)
        busy = {id(ask.kept) for ask in self._running}
        for one in kept:
            if used <= self._limit:
                break
            if id(one) not in busy:
                used -= one.bytes
                one.drop()

    # What they are answered.

    def _advance(self) -> None:
        started = time.monotonic()
        while self._running:
            if self._block is None:
                self._block = self._new_block(self._running)
            self._write(self._running, self._block)
            left = sum(not ask.over for ask in self._running)
            sparse = self._block.room < 1 or left <= len(self._running) // 2
            if not left or (sparse and self.model.cache is not None):
                self._put_away()
            if self._waiting:
                break
        self._last_round = time.monotonic() - started

    def _write(self, asks: Sequence[Ask], block: Block) -> None:
        """Add a token to every reply, and hand over those that end with it."""
        logits = block.advance(self.model, self.model.filler, logits_to_keep=1)
        for ask, token in zip(asks, _choose(logits.float(), asks), strict=True):
            if ask.over:
                continue
            ask.ids.append(token)
            reply = ask.ids[ask.asked :]
            if token in self.model.stops:
                ask.answer.set_result(reply[:-1])
            elif len(reply) >= ask.most or ask.ends(reply):
                ask.answer.set_result(reply)

    # What goes wrong.

    def _make_do_with_less(self, error: Exception) -> None:
        """Let go of everything that is kept, and try again with half as many."""
        asks = [ask for ask in self._taken if not ask.over]
        if len(asks) <= 1:
            self._give_up(error)
            return
        self.most = len(asks) // 2
        self._forget()
        with self._changed:
            self._waiting[:0] = asks

    def _give_up(self, error: Exception) -> None:
        for ask in self._taken:
            if not ask.over:
                ask.answer.set_exception(error)
        self._forget()

    def _forget(self) -> None:
        self._block, self._running, self._taken = None, [], []
        with self._changed:
            for kept in self._seen:
                kept.drop()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()


def _alike(asks: Sequence[Ask]) -> list[list[Ask]]:
    """Put together those that have about as much to read, for in a block all read as much as the longest."""
    groups: list[list[Ask]] = []
    limit = -1
    for length, ask in sorted(((len(ask.ids) - ask.kept.use(ask.ids), ask) for ask in asks), key=lambda pair: pair[0]):
        if length > limit:
            groups.append([])
            limit = 64 + 2 * length
        groups[-1].append(ask)
    return groups


def _choose(logits: torch.Tensor, asks: Sequence[Ask]) -> list[int]:
    """Choose the next token of every reply from its logits."""
    top = logits.amax(-1, keepdim=True)
    if not bool(torch.isfinite(top).all()):
        raise EngineError("The model gave no numbers for the next token: try another dtype, such as dtype=float32.")
    best: list[int] = (logits >= top - _TIE * (1 + top.abs())).to(torch.uint8).argmax(-1).tolist()
    drawn = [index for index, ask in enumerate(asks) if ask.temperature > 0 and not ask.over]
    if not drawn:
        return best
    exact = torch.float32 if logits.device.type == "mps" else torch.float64
    heat = torch.tensor([[asks[index].temperature] for index in drawn], dtype=exact, device=logits.device)
    shares = torch.softmax(logits[drawn].to(exact) / heat, -1)
    if any(asks[index].top_p < 1 for index in drawn):
        least = torch.tensor([[asks[index].top_p] for index in drawn], dtype=exact, device=logits.device)
        ordered, order = shares.sort(dim=-1, descending=True, stable=True)
        shares = torch.zeros_like(shares).scatter(-1, order, ordered * (ordered.cumsum(-1) - ordered < least))
    sums = shares.cumsum(-1)
    # One number for each token, from the episode's own stream: what the others draw makes no difference.
    numbers = torch.tensor([[asks[index].draw.random()] for index in drawn], dtype=exact, device=logits.device)
    chosen = torch.searchsorted(sums, numbers * sums[:, -1:], right=True)[:, 0].clamp(max=logits.shape[1] - 1)
    for index, token in zip(drawn, chosen.tolist(), strict=True):
        best[index] = token
    return best


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(_OF_GPU * torch.cuda.mem_get_info(device)[0])
    return _ON_CPU
