"""Many agents, one model: their requests are gathered and answered in one batch, token by token.

Agents ask one at a time, each in its own thread, and a model that answers them one at a time is mostly idle. So one thread
works for the model. It takes the requests that are waiting, has the model read the new part of each conversation (requests
with about as much to read go together), and then extends all replies by one token at a time. A reply that ends is returned
at once. Requests that arrive meanwhile join as soon as it is worth building the batch again.
"""

import threading
import time
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from step_envs.agents.local.cache import Block, PrefixCache
from step_envs.agents.local.generation import GenerationRequest, allowed_only, next_tokens, note_logprobs
from step_envs.agents.local.model import LocalModel

_IDLE = 2.0
"""Seconds after which a thread without work ends, so that its model can be freed."""
_ROOM = 96
"""Tokens that a batch can grow by before it is built again."""
_PATIENCE = 24
"""Tokens after which a waiting request joins, even if it is the only one."""
_ON_CPU = 2 << 30
_OF_GPU = 0.35
"""Memory for kept caches, in bytes, or as a share of the free GPU memory. A batch takes as much again."""


class Batcher:
    """Answers the requests of all agents of one model.

    Args:
        model: The model.

    Attributes:
        model: The model.
        most: Most replies that are written together.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.most = 64
        self._changed = threading.Condition()
        self._waiting: list[GenerationRequest] = []
        self._worker: threading.Thread | None = None
        self._seen: WeakKeyDictionary[PrefixCache, float] = WeakKeyDictionary()  # time of each agent's last request
        # Time of each player's last request. A player is a thread: a teacher asks in the thread of its agent and so never
        # at the same time, so that a batch must not wait for both.
        self._players: dict[int, float] = {}
        self._last_round = 0.0
        self._taken: list[GenerationRequest] = []
        self._running: list[GenerationRequest] = []
        self._block: Block | None = None
        self._limit = _cache_limit(model.device)

    def join(self, kept: PrefixCache) -> None:
        """Announce an agent that will soon ask, so that a batch waits for it."""
        with self._changed:
            self._note(kept)

    def submit(self, ask: GenerationRequest) -> list[int]:
        """Send a request and wait for the reply.

        Returns:
            The token ids of the reply, without the token that ended it.

        Raises:
            Exception: Any exception that the model raised.
        """
        with self._changed:
            self._note(ask.kept)
            self._waiting.append(ask)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="local-model", daemon=True)
                self._worker.start()
            self._changed.notify_all()
        return ask.answer.result()

    def _note(self, kept: PrefixCache) -> None:
        self._seen[kept] = self._players[threading.get_ident()] = time.monotonic()

    def _work(self) -> None:
        with torch.inference_mode():
            while (taken := self._take_waiting()) is not None:
                try:
                    if taken:
                        self._add_to_batch(taken)
                    self._advance()
                except torch.OutOfMemoryError as error:
                    self._retry_with_smaller_batch(error)
                # Every error belongs to those who asked. If it ended the thread, the next requests would wait for ever.
                except Exception as error:
                    self._fail_requests(error)

    # Which requests take part.

    def _take_waiting(self) -> list[GenerationRequest] | None:
        """Take the requests that can join now; None if none has come for a while and the thread should end."""
        with self._changed:
            if not self._running:
                if not self._changed.wait_for(lambda: self._waiting, _IDLE):
                    self._worker = None
                    return None
                self._wait_for_batch()
            taken = self._waiting[: self._free_places()]
            del self._waiting[: len(taken)]
            self._taken = [ask for ask in self._taken if not ask.over] + taken
        return taken

    def _wait_for_batch(self) -> None:
        """Wait a moment for the other agents that are playing, so that all are answered together."""
        pause = min(max(0.002, 0.2 * self._last_round), 0.05)
        now = time.monotonic()
        since, deadline = now - max(1.0, 3 * self._last_round), now + 4 * pause
        self._players = {player: seen for player, seen in self._players.items() if seen > since}
        while True:
            playing = sum(seen > since for seen in self._players.values())
            there = len(self._waiting)
            if there >= min(self.most, playing) or time.monotonic() > deadline:
                return
            if not self._changed.wait_for(lambda there=there: len(self._waiting) > there, pause):  # type: ignore[misc]
                return

    def _free_places(self) -> int:
        """Return how many waiting requests can join now."""
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

    def _add_to_batch(self, taken: Sequence[GenerationRequest]) -> None:
        shape = self.model.cache
        self._store_caches()
        groups = _group_by_new_tokens(taken) if shape is not None else [list(taken)]
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

    def _new_block(self, asks: Sequence[GenerationRequest]) -> Block:
        started = [ask for ask in asks if len(ask.ids) == ask.asked]
        for ask in started:
            ask.kept.use(ask.ids)
        room = min(max(ask.most - (len(ask.ids) - ask.asked) for ask in asks), _ROOM)
        if self.model.cache is None:
            room = max(ask.most for ask in asks)
        return Block([ask.row for ask in asks], self.model.cache, room, self.model.device)

    def _store_caches(self) -> None:
        """Store what was read in the agents' own caches; if those take too much memory, drop the least recently used."""
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

    # Writing the replies.

    def _advance(self) -> None:
        started = time.monotonic()
        while self._running:
            if self._block is None:
                self._block = self._new_block(self._running)
            self._write(self._running, self._block)
            left = sum(not ask.over for ask in self._running)
            sparse = self._block.room < 1 or left <= len(self._running) // 2
            if not left or (sparse and self.model.cache is not None):
                self._store_caches()
            if self._waiting:
                break
        self._last_round = time.monotonic() - started

    def _write(self, asks: Sequence[GenerationRequest], block: Block) -> None:
        """Append a token to every reply, and return those that end with it."""
        logits = block.advance(self.model, self.model.filler, logits_to_keep=1).float()
        tokens = next_tokens(allowed_only(logits, asks, self.model.stops), asks)
        note_logprobs(logits, tokens, asks)
        for ask, token in zip(asks, tokens, strict=True):
            if ask.over:
                continue
            ask.ids.append(token)
            reply = ask.ids[ask.asked :]
            if token in self.model.stops:
                ask.answer.set_result(reply[:-1])
            elif len(reply) >= ask.most or ask.ends(reply):
                ask.answer.set_result(reply)

    # Errors.

    def _retry_with_smaller_batch(self, error: Exception) -> None:
        """Drop all kept caches, and try again with half as many requests."""
        asks = [ask for ask in self._taken if not ask.over]
        if len(asks) <= 1:
            self._fail_requests(error)
            return
        self.most = len(asks) // 2
        self._drop_caches()
        with self._changed:
            self._waiting[:0] = asks

    def _fail_requests(self, error: Exception) -> None:
        for ask in self._taken:
            if not ask.over:
                ask.answer.set_exception(error)
        self._drop_caches()

    def _drop_caches(self) -> None:
        self._block, self._running, self._taken = None, [], []
        with self._changed:
            for kept in self._seen:
                kept.drop()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()


def _group_by_new_tokens(asks: Sequence[GenerationRequest]) -> list[list[GenerationRequest]]:
    """Group the requests by the number of tokens they have to read: in a block every row reads as many as the longest."""
    groups: list[list[GenerationRequest]] = []
    limit = -1
    for length, ask in sorted(((len(ask.ids) - ask.kept.use(ask.ids), ask) for ask in asks), key=lambda pair: pair[0]):
        if length > limit:
            groups.append([])
            limit = 64 + 2 * length
        groups[-1].append(ask)
    return groups


def _cache_limit(device: torch.device) -> int:
    if device.type == "cuda":
        return int(_OF_GPU * torch.cuda.mem_get_info(device)[0])
    return _ON_CPU
