"""The settings with which a run asks its models: budget, prices, cache and rate limit."""

from dataclasses import dataclass, field
from pathlib import Path

from step_envs.endpoint.cache import ResponseCache
from step_envs.endpoint.cost_ledger import Budget, CostLedger, Price
from step_envs.endpoint.gateway import Gateway


@dataclass(frozen=True)
class EndpointConfig:
    """How models are asked, which may change when a run is resumed; what they are asked is part of the run's configuration.

    Attributes:
        cache: File of the response cache; None is ``responses.sqlite`` in the folder of the run.
        keep_answers: False uses no cache: everything is asked anew and no answer is kept.
        budget: How much the run may spend, all its sessions together; None means no limit.
        prices: What models cost.
        requests_per_minute: Most requests in a minute to any one endpoint; None means no limit.

    Raises:
        ValueError: The limit is not more than 0.
    """

    cache: Path | None = None
    keep_answers: bool = True
    budget: Budget | None = None
    prices: dict[str, Price] = field(default_factory=dict)
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        """Check the limit here, so that a wrong one does not fail in every episode."""
        if self.requests_per_minute is not None and not self.requests_per_minute > 0:
            raise ValueError(f"requests_per_minute must be more than 0, got {self.requests_per_minute}.")

    def open(self, out: Path) -> Gateway:
        """Open the gateway of a run; its ledger is ``bill.jsonl`` in the folder of the run.

        Raises:
            StoreError: Cache or ledger cannot be opened.
        """
        return Gateway(
            cache=ResponseCache(self.cache or out / "responses.sqlite") if self.keep_answers else None,
            ledger=CostLedger(out / "bill.jsonl", prices=self.prices, budget=self.budget),
            requests_per_minute=self.requests_per_minute,
        )
