"""What requests to models cost: the prices that the user gives, the ledger of a run, and its budget.

With many requests in flight, a budget that is compared only with what was paid is overrun by all of them. So the most that
a request can cost is set aside before it is sent, and settled when its answer is there.
"""

import errno
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from step_envs.errors import BudgetSpentError, EndpointError, StoreError, first_fault
from step_envs.file_reading import read_bytes, require_regular
from step_envs.trajectory import Usage

_BYTES_A_TOKEN = 3
"""A low estimate for every script, so that what is set aside for a request in flight is too much rather than too little."""
_UNBOUNDED_REPLY = 2048
"""Tokens set aside for a reply whose length is not limited by the request."""

_LONGEST_LINE = 100_000
"""Bytes of a line of the bill, far more than an entry has."""


class Price(BaseModel):
    """The price of a model, in US dollars per million tokens.

    Attributes:
        input: Tokens read.
        output: Tokens written.
        cached_input: Tokens read that the server had in its prefix cache; None costs the same as ``input``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)

    def of(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Return the cost of a request in dollars."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * cached + completion_tokens * self.output) / 1e6


def read_prices(path: Path) -> dict[str, Price]:
    """Read a price table: a JSON object of model name to ``{"input": ..., "output": ...}``.

    Raises:
        StoreError: The file is not there or is not a price table.
    """
    try:
        return TypeAdapter(dict[str, Price]).validate_json(read_bytes(path, limit=2**20))
    except ValidationError as error:
        raise StoreError(
            f"{path} is not a price table: {first_fault(error)}. "
            'It holds dollars per million tokens: {"some-model": {"input": 0.5, "output": 1.5}}.'
        ) from error


class Budget(BaseModel):
    """How much a run may spend.

    Attributes:
        amount: The limit.
        unit: US dollars, or tokens read and written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: float = Field(gt=0)
    unit: Literal["dollars", "tokens"]

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read ``5``, ``$5``, ``5usd`` (dollars) or ``2000000tokens``.

        Raises:
            ValueError: The text is not a budget.
        """
        plain = text.strip().lower().replace("_", "")
        unit: Literal["dollars", "tokens"] = "tokens" if plain.endswith("tokens") else "dollars"
        number = plain.removesuffix("tokens").removesuffix("usd").removeprefix("$").strip()
        try:
            amount = float(number)
        except ValueError:
            amount = 0.0
        if not 0 < amount < float("inf"):
            raise ValueError(f"A budget is dollars (5 or $5) or tokens (2000000tokens), got {text!r}.")
        return cls(amount=amount, unit=unit)

    def __str__(self) -> str:
        return f"${self.amount:g}" if self.unit == "dollars" else f"{self.amount:,.0f} tokens"


class CostLedger:
    """Records every paid request of a run as a JSON line, adds up the costs, and enforces the budget.

    For each request in flight, the most that it can cost is set aside, so that the budget holds for any number of episodes
    in flight. A request that does not fit beside the others waits until they are settled.

    Args:
        path: File that lists the requests; those it lists already count. None writes no file.
        prices: What models cost. The cost of a model without a price is unknown (None), not zero.
        budget: The limit; None means none.

    Attributes:
        total: What was paid, in this session and before.
        saved: What answers from the cache would have cost in this session.

    Raises:
        StoreError: The file cannot be read or written.
    """

    def __init__(
        self, path: Path | None = None, *, prices: Mapping[str, Price] | None = None, budget: Budget | None = None
    ) -> None:
        self.prices = dict(prices or {})
        self.budget = budget
        self.total = Usage()
        self.saved = Usage()
        self._settled = threading.Condition()
        self._aside = 0.0
        self._longest: dict[str, int] = {}
        self._file: BinaryIO | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                require_regular(path)
            self._file = path.open("ab", buffering=0)
            lines = path.read_bytes().splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                # A killed writer left half a line. That entry is lost; the next one must not be appended to it.
                self._file.write(b"\n")
        except OSError as error:
            raise StoreError(f"Cannot open the bill {path}: {error.strerror}.") from error
        for line in lines:
            if not line.strip() or len(line) > _LONGEST_LINE:
                continue
            try:
                record = json.loads(line)
                self.total += self._priced(record["model"], Usage.model_validate(record["usage"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue

    def _priced(self, model: str, usage: Usage) -> Usage:
        """Add the cost to an entry that was written before its price was known, as if nothing of it had been cached."""
        price = self.prices.get(model)
        if usage.cost is not None or price is None:
            return usage
        return usage.model_copy(update={"cost": price.of(usage.prompt_tokens, usage.completion_tokens)})

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model; None where it is unknown.

        Raises:
            EndpointError: A budget in dollars is set, and the price of the model is not known.
        """
        price = self.prices.get(model)
        if price is None and self.budget is not None and self.budget.unit == "dollars":
            raise EndpointError(
                f"A budget in dollars needs to know what {model!r} costs: give its price (--prices FILE), "
                "or a budget in tokens."
            )
        return price

    @contextmanager
    def set_aside(self, model: str, size: int, max_tokens: int | None) -> Iterator[None]:
        """Set aside the most that a request can cost while it is in flight.

        Args:
            model: The model that is asked.
            size: Bytes of the prompt.
            max_tokens: The most tokens it may write; None means no limit.

        Raises:
            BudgetSpentError: The request could cost more than is left.
        """
        price = self.price_of(model)
        if self.budget is None:
            yield
            return
        # A model may write more than it was asked for, because some servers do not limit its thoughts.
        reply = max(max_tokens or _UNBOUNDED_REPLY, self._longest.get(model, 0))
        prompt = size // _BYTES_A_TOKEN + 1
        most = price.of(prompt, reply) if self.budget.unit == "dollars" and price is not None else float(prompt + reply)
        with self._settled:
            while self._spent() + self._aside + most > self.budget.amount:
                if self._spent() + most > self.budget.amount:
                    raise BudgetSpentError(
                        f"The budget of {self.budget} does not cover another request: "
                        f"{self._words()} are spent and it could cost {self._amount(most)}."
                    )
                self._settled.wait()
            self._aside += most
        try:
            yield
        finally:
            with self._settled:
                self._aside -= most
                self._settled.notify_all()

    def pay(self, base_url: str, model: str, usage: Usage) -> None:
        """Add a paid request.

        Raises:
            StoreError: The file cannot be written.
        """
        record = {"endpoint": base_url, "model": model, "usage": usage.model_dump()}
        with self._settled:
            self.total += usage
            self._longest[model] = max(self._longest.get(model, 0), usage.completion_tokens)
            if self._file is not None:
                self._write_down((json.dumps(record) + "\n").encode())

    def save(self, usage: Usage) -> None:
        """Count what an answer from the cache would have cost."""
        with self._settled:
            self.saved += usage

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_down(self, line: bytes) -> None:
        assert self._file is not None
        fault = os.strerror(errno.ENOSPC)
        try:
            end = self._file.seek(0, os.SEEK_END)
            if self._file.write(line) == len(line):
                return
            # A disk that fills up takes part of a line without an error.
            self._file.truncate(end)
        except OSError as error:
            fault = str(error.strerror)
        raise StoreError(f"Cannot write the bill down: {fault}.")

    def _spent(self) -> float:
        if self.budget is not None and self.budget.unit == "dollars":
            return self.total.cost or 0.0
        return float(self.total.prompt_tokens + self.total.completion_tokens)

    def _words(self) -> str:
        return self._amount(self._spent())

    def _amount(self, amount: float) -> str:
        dollars = self.budget is not None and self.budget.unit == "dollars"
        return f"${amount:.4g}" if dollars else f"{amount:,.0f} tokens"
