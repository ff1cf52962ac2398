"""How a run is carried out: how many episodes at once, where, and how models are asked.

A run's settings are of two kinds. Some decide what is collected, and a run that is resumed with others would become a
mixture of two. The ones here decide only how fast and how expensive it is; they may differ each time a run is resumed,
and ``RunSettings`` is the one list of them.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
)

from step_envs.collection.cluster import Cluster
from step_envs.endpoint import Budget, EndpointConfig, Price, read_prices
from step_envs.errors import unknown_name, validation_sentence

ENGINES = ("threads", "processes", "ray", "auto")
"""Executors of episodes: in threads of this process, in worker processes on this machine, in worker processes on a Ray
cluster; ``auto`` is ``processes`` for long runs in which world, agent and teacher are plain Python, else ``threads``."""
_MIB = 2**20


def _read_budget(value: Any) -> Any:
    return Budget.parse(str(value)) if isinstance(value, (str, int, float)) else value


def _read_prices(value: Any) -> Any:
    return read_prices(Path(value)) if isinstance(value, (str, Path)) else value


BudgetSetting = Annotated[Budget | None, BeforeValidator(_read_budget)]
"""A budget, also read from text: ``"5"`` (US dollars) or ``"2000000tokens"``."""
PricesSetting = Annotated[dict[str, Price], BeforeValidator(_read_prices)]
"""Prices by model, also read from the path of a JSON file."""


def _check_engine(name: str) -> str:
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    return name


def _at_least_one(value: int, info: ValidationInfo) -> int:
    if value < 1:
        raise ValueError(f"{info.field_name} must be at least 1, got {value}.")
    return value


def _above_zero(value: float | None, info: ValidationInfo) -> float | None:
    if value is not None and not value > 0:
        raise ValueError(f"{info.field_name} must be more than 0, got {value}.")
    return value


class RunSettings(BaseModel):
    """How a run is carried out. None of it decides what is collected, so all of it may differ when a run is resumed.

    Attributes:
        concurrency: Episodes played at once. A local model answers all of them in one batch.
        episode_seconds: Seconds after which an episode is given up and counts as failed; None means never.
        budget: The most that the run may spend on models, in all its sessions together; None means no limit. Also read from
            text: ``"5"`` (US dollars) or ``"2000000tokens"``.
        prices: US dollars per million tokens of each model; also read from the path of a JSON file.
        cache: File of the response cache; None is ``responses.sqlite`` in the run folder.
        keep_answers: If False, every request is sent again and no answer is kept.
        requests_per_minute: The most requests in a minute to any one endpoint; None means no limit.
        engine: Where episodes are played: ``threads`` of this process, ``processes`` on this machine, ``ray``, or ``auto``;
            see ``ENGINES``.
        ray_address: Address of a running Ray cluster; None takes ``RAY_ADDRESS``, else starts one on this machine.
        worker_episodes: Episodes played at once in each Ray worker.
        worker_cpus: Processors that a Ray worker needs.
        worker_memory: Memory that a Ray worker needs, in MiB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: Annotated[int, AfterValidator(_at_least_one)] = 1
    episode_seconds: Annotated[float | None, AfterValidator(_above_zero)] = None
    budget: BudgetSetting = None
    prices: PricesSetting = Field(default_factory=dict)
    cache: Path | None = None
    keep_answers: bool = True
    requests_per_minute: Annotated[float | None, AfterValidator(_above_zero)] = None
    engine: Annotated[str, AfterValidator(_check_engine)] = "threads"
    ray_address: str | None = None
    worker_episodes: int = Field(8, ge=1)
    worker_cpus: float = Field(1.0, ge=0)
    worker_memory: float = Field(1024, gt=0)

    def with_changes(
        self, *, access: EndpointConfig | None = None, cluster: Cluster | None = None, **changes: Any
    ) -> Self:
        """Return a copy with some fields replaced.

        Args:
            access: Replaces all fields that say how models are asked.
            cluster: Replaces all fields that say where Ray plays, and has it play there.
            **changes: Field -> its new value.

        Raises:
            UnknownNameError: There is no such field.
            ValueError: A value does not fit; the message says which.
        """
        if access is not None:
            changes = vars(access) | changes
        if cluster is not None:
            changes = {
                "engine": "ray",
                "ray_address": cluster.address,
                "worker_episodes": cluster.episodes_per_worker,
                "worker_cpus": cluster.cpus,
                "worker_memory": cluster.memory / _MIB,
            } | changes
        fields = type(self).model_fields
        for name in changes:
            if name not in fields:
                raise unknown_name("setting", name, fields)
        if not changes:
            return self
        try:
            return type(self).model_validate(dict(self) | changes)
        except ValidationError as error:
            raise ValueError(validation_sentence(error)) from error

    @model_serializer(mode="wrap")
    def _content_first(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what is collected before how: pydantic would put the fields of the base class first."""
        values: dict[str, Any] = write(self)
        last = {name: values.pop(name) for name in RunSettings.model_fields if name in values}
        return values | last

    def endpoint_config(self) -> EndpointConfig:
        """Return how models are asked."""
        return EndpointConfig(
            cache=self.cache,
            keep_answers=self.keep_answers,
            budget=self.budget,
            prices=self.prices,
            requests_per_minute=self.requests_per_minute,
        )

    def cluster(self) -> Cluster:
        """Return the Ray cluster to play on, and what a worker of it needs."""
        return Cluster(
            address=self.ray_address,
            episodes_per_worker=self.worker_episodes,
            cpus=self.worker_cpus,
            memory=max(1, round(self.worker_memory * _MIB)),
        )


def execution_settings(config: RunSettings) -> dict[str, Any]:
    """Return the fields of ``RunSettings`` that a configuration has, to hand them on to another configuration."""
    return {name: getattr(config, name) for name in RunSettings.model_fields}
