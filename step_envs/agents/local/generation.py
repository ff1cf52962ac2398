"""A request for one reply, and how the next token of every reply in a batch is chosen."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from step_envs.agents.local.cache import PrefixCache, Row
from step_envs.errors import EngineError

_TIE = 1e-5
"""Logits whose difference is below this, relative to 1 plus the largest, count as equal; then the smallest id is taken. The
logits of one row differ by about as much when it is computed beside other rows, and a reply must not depend on those."""
_TRIED = 32
"""Tokens that are tried at least where not all of them are allowed and one is sampled."""


class Allows(Protocol):
    """Decides which tokens a reply may continue with."""

    def __call__(self, reply: list[int], token: int, *, ends: bool) -> bool:
        """Return True if a token may follow the ids of a reply; ``ends`` says that it ends the reply."""


@dataclass(eq=False)
class GenerationRequest:
    """A request for one reply.

    Attributes:
        kept: The cache that the agent keeps from earlier turns.
        ids: Token ids of the prompt; the reply is appended to it.
        most: Most tokens of the reply.
        ends: Returns True if the ids of a reply are complete although no token ended it.
        temperature: 0 takes the most likely token; otherwise one is sampled.
        top_p: Sample from the most likely tokens whose probabilities add up to this.
        draw: The episode's own random stream.
        allows: Decides which tokens the reply may continue with; None allows every token.
        logprobs: A list that receives the logprob of every token, before temperature and top_p, also that of the token that
            ended the reply; None if they are not wanted.
        answer: Receives the ids of the reply, without the token that ended it.
        asked: Tokens of the prompt.
        waited: How often the request was passed over.
    """

    kept: PrefixCache
    ids: list[int]
    most: int
    ends: Callable[[list[int]], bool]
    temperature: float = 0.0
    top_p: float = 1.0
    draw: np.random.Generator = field(default_factory=np.random.default_rng)
    allows: Allows | None = None
    logprobs: list[float] | None = None
    answer: "Future[list[int]]" = field(default_factory=Future)
    asked: int = field(init=False)
    waited: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.asked = len(self.ids)

    @property
    def row(self) -> Row:
        """The request as a row of a block."""
        return Row(self.ids, self.kept)

    @property
    def over(self) -> bool:
        """True if the reply is complete or has failed."""
        return self.answer.done()


def allowed_only(logits: torch.Tensor, asks: Sequence[GenerationRequest], stops: frozenset[int]) -> torch.Tensor:
    """Set the logits of tokens that a request does not allow to minus infinity.

    The likeliest tokens are tried first. Where one of them is allowed, the others count as not allowed, because trying a
    whole vocabulary at every token would take longer than the model. Where no token at all is allowed, nothing is changed.

    Args:
        logits: ``[rows, vocabulary]``.
        asks: The request of each row.
        stops: Token ids that end a reply.
    """
    limited = [index for index, ask in enumerate(asks) if ask.allows is not None and not ask.over]
    if not limited:
        return logits
    logits = logits.clone()
    for index in limited:
        allowed = _allowed_tokens(logits[index], asks[index], stops)
        if allowed:
            kept = logits[index, allowed]
            logits[index] = -torch.inf
            logits[index, allowed] = kept
    return logits


def _allowed_tokens(logits: torch.Tensor, ask: GenerationRequest, stops: frozenset[int]) -> list[int]:
    """Return the likeliest tokens that a request allows; without sampling, the first and those that count as equal."""
    reply, allows = ask.ids[ask.asked :], ask.allows
    assert allows is not None
    allowed: list[int] = []
    least = -math.inf
    likeliest = logits.argsort(descending=True, stable=True).tolist()
    for place, token in enumerate(likeliest):
        logit = float(logits[token])
        if allowed and (logit < least if ask.temperature == 0 else place % _TRIED == 0):
            break
        if allows(reply, token, ends=token in stops):
            if not allowed:
                least = logit - _TIE * (1 + abs(logit))
            allowed.append(token)
    return allowed


def next_tokens(logits: torch.Tensor, asks: Sequence[GenerationRequest]) -> list[int]:
    """Choose the next token of every reply.

    Args:
        logits: ``[rows, vocabulary]``.
        asks: The request of each row.

    Raises:
        EngineError: A row has no finite logits.
    """
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
    # One number per token from the episode's own stream, so that the other episodes make no difference.
    numbers = torch.tensor([[asks[index].draw.random()] for index in drawn], dtype=exact, device=logits.device)
    chosen = torch.searchsorted(sums, numbers * sums[:, -1:], right=True)[:, 0].clamp(max=logits.shape[1] - 1)
    for index, token in zip(drawn, chosen.tolist(), strict=True):
        best[index] = token
    return best


def note_logprobs(logits: torch.Tensor, tokens: Sequence[int], asks: Sequence[GenerationRequest]) -> None:
    """Append the logprobs of the chosen tokens to the requests that want them.

    Args:
        logits: ``[rows, vocabulary]``.
        tokens: The chosen token of each row.
        asks: The request of each row.
    """
    wanted = [index for index, ask in enumerate(asks) if ask.logprobs is not None and not ask.over]
    if not wanted:
        return
    shares = torch.log_softmax(logits[wanted], -1)
    chosen = torch.tensor([[tokens[index]] for index in wanted], device=logits.device)
    for index, logprob in zip(wanted, shares.gather(-1, chosen)[:, 0].tolist(), strict=True):
        noted = asks[index].logprobs
        assert noted is not None
        noted.append(min(logprob, 0.0))
