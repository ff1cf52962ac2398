"""Episodes on a Ray cluster: the same collection, played by worker processes on one machine or many.

Workers play and keep nothing. Their trajectories come back to the one process that was started, which alone writes the run
folder, so that a lost worker loses episodes under way and no line. Their questions to models come back to it as well (see
``ray_exchange``), so that the budget is one: an answer takes a model seconds and the way back milliseconds.

Ray decides which machine a worker runs on, by the processors and the memory it is declared to need.
"""

import logging
import os
import time
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.executors import Engine, Outcome, Seats, too_long
from step_envs.collection.ray_exchange import DistantGateway, Exchange, portable
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.endpoint import Gateway
from step_envs.errors import ClusterError, missing_package
from step_envs.trajectory import Trajectory

_MOST_LOSSES = 3
"""Workers that may die under one episode before it counts as failed: it may be what they die of."""
_WORKER_SECONDS = 120.0
"""How long a run waits for a worker while it has none, at its beginning and after deaths."""
_MOST_DEATHS_IN_A_ROW = 5
_OBJECT_STORE = 128 * 2**20
"""Bytes for a cluster of this machine alone; what travels are trajectories and questions, not tensors."""


_log = logging.getLogger(__name__)


class Cluster(BaseModel):
    """Where to play and what a worker needs.

    Attributes:
        address: Of a running cluster, e.g. ``auto`` or ``ray://head:10001``; None takes ``RAY_ADDRESS``, else starts one on
            this machine that ends with the run.
        episodes_per_worker: Episodes that a worker process has in flight at once.
        cpus: Processors that a worker is declared to need.
        memory: Bytes that a worker is declared to need.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str | None = None
    episodes_per_worker: int = Field(8, ge=1)
    cpus: float = Field(1.0, ge=0)
    memory: int = Field(2**30, ge=1)


class EpisodeWorker:
    """Plays episodes in a process of its own; a threaded actor.

    Args:
        config: What is collected, as JSON.
        mailbox: Where models are asked; None where there are none.
    """

    def __init__(self, config: str, mailbox: Any) -> None:
        gateway = None if mailbox is None else DistantGateway(mailbox)
        self._seats = Seats(CollectConfig.model_validate_json(config), gateway)

    def hello(self) -> str:
        """Say which version this is, once everything is imported."""
        from step_envs import __version__

        return __version__

    def play(self, plan: tuple[int, str, int], seconds: float | None) -> str | Exception:
        """Play an episode; gives its trajectory as JSON, or what went wrong."""
        try:
            return self._seats.play(EpisodePlan(*plan), seconds).to_json()
        except Exception as error:
            return portable(error)


class _Flight(NamedTuple):
    plan: EpisodePlan
    worker: "_Worker"
    give_up: float


class _Worker:
    """What the engine knows of a worker process."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.hello = actor.hello.remote()
        self.ready = False
        self.flying = 0


class RayEngine(Engine):
    """Plays on a Ray cluster.

    Args:
        config: What is collected.
        gateway: Through which models are asked; None where there are none.
        cluster: Where, and what a worker needs.
        concurrency: Episodes in flight at once, on all workers together.
        episode_seconds: After which an episode is given up; None means never. One that does not even come to its next step
            is ended with its worker.

    Raises:
        ClusterError: The cluster cannot be reached.
        gymnasium.error.DependencyNotInstalled: Ray is not installed.
    """

    def __init__(
        self,
        config: CollectConfig,
        gateway: Gateway | None,
        cluster: Cluster,
        *,
        concurrency: int,
        episode_seconds: float | None = None,
    ) -> None:
        if find_spec("ray") is None:
            raise missing_package("ray", "Collection on a cluster", "ray")
        self._config, self._cluster = config.model_dump_json(), cluster
        self._concurrency, self._seconds = concurrency, episode_seconds
        self._slots = min(cluster.episodes_per_worker, concurrency)
        self._flights: dict[Any, _Flight] = {}
        self._again: list[EpisodePlan] = []
        self._losses: Counter[int] = Counter()
        self._deaths_in_a_row = 0
        self._dropped: list[EpisodePlan] = []
        self._workers: list[_Worker] = []
        self._ours = _connect(cluster)
        self._exchange = None if gateway is None else Exchange(gateway, concurrency)
        self._last_seen = time.monotonic()  # when a worker was last ready to play
        wanted = -(-concurrency // self._slots)
        self._warn_of_a_small_cluster(wanted)
        for _ in range(wanted):
            self._hire()

    @property
    def room(self) -> int:
        """See ``Engine``; only workers that are there have room."""
        seats = sum(self._slots - worker.flying for worker in self._workers if worker.ready)
        return max(0, min(seats, self._concurrency - len(self._flights)) - len(self._again))

    @property
    def in_flight(self) -> int:
        """See ``Engine``."""
        return len(self._flights) + len(self._again) + len(self._dropped)

    def start(self, plan: EpisodePlan) -> None:
        """See ``Engine``."""
        # The emptiest worker, so that the load is spread before any has its fill.
        worker = min((worker for worker in self._workers if worker.ready), key=lambda worker: worker.flying)
        worker.flying += 1
        answer = worker.actor.play.remote(tuple(plan), self._seconds)
        # Where the worker does not keep to it, because an engine hangs, it is ended a little later.
        give_up = float("inf") if self._seconds is None else time.monotonic() + 1.2 * self._seconds + 5
        self._flights[answer] = _Flight(plan, worker, give_up)

    def finished(self, timeout: float) -> list[tuple[EpisodePlan, Outcome]]:
        """See ``Engine``.

        Raises:
            ClusterError: No worker comes, or one after the other dies.
        """
        import ray

        ended: list[tuple[EpisodePlan, Outcome]] = [
            (plan, RolloutStoppedError(f"Episode {plan.episode} was dropped before its end.")) for plan in self._dropped
        ]
        self._dropped = []
        waited_for = [*self._flights, *(worker.hello for worker in self._workers if not worker.ready)]
        if waited_for and not ended:
            # One at a time: after a death the list of flights is another.
            for reference in ray.wait(waited_for, num_returns=1, timeout=timeout)[0]:
                if reference in self._flights:
                    ended += self._landed(reference)
                else:
                    self._welcome(next(worker for worker in self._workers if worker.hello == reference))
        ended += self._overdue()
        while self._again and any(worker.ready and worker.flying < self._slots for worker in self._workers):
            self.start(self._again.pop(0))
        if any(worker.ready for worker in self._workers):
            self._last_seen = time.monotonic()
        else:
            self._lose_patience()
        return ended

    def drop(self) -> None:
        """See ``Engine``; the workers are ended."""
        self._dropped += [flight.plan for flight in self._flights.values()] + self._again
        self._flights.clear()
        self._again.clear()
        for worker in list(self._workers):
            self._dismiss(worker)

    def close(self) -> None:
        """See ``Engine``; a cluster that was started here ends, too."""
        import ray

        self.drop()
        if self._exchange is not None:
            self._exchange.close()
        if self._ours:
            ray.shutdown()

    # Within.

    def _warn_of_a_small_cluster(self, wanted: int) -> None:
        import ray

        free = ray.available_resources()
        room = int(free.get("memory", 0.0) // self._cluster.memory)
        if self._cluster.cpus:
            room = min(room, int(free.get("CPU", 0.0) // self._cluster.cpus))
        if room < wanted:
            _log.warning(
                "The cluster has room for %d of the %d workers now, which have %d episodes in flight each: add machines, "
                "or declare that a worker needs less.",
                room,
                wanted,
                self._slots,
            )

    def _hire(self) -> None:
        import ray

        options = {"num_cpus": self._cluster.cpus, "memory": self._cluster.memory, "max_restarts": 0}
        actor = ray.remote(EpisodeWorker).options(**options, max_concurrency=self._slots + 1)
        self._workers.append(
            _Worker(actor.remote(self._config, None if self._exchange is None else self._exchange.mailbox))
        )

    def _dismiss(self, worker: _Worker) -> None:
        import ray

        self._workers.remove(worker)
        with suppress(Exception):  # whatever Ray says of a worker that is dead already
            ray.kill(worker.actor)

    def _welcome(self, worker: _Worker) -> None:
        import ray

        from step_envs import __version__

        try:
            version = ray.get(worker.hello)
        except ray.exceptions.RayTaskError as error:
            raise ClusterError(f"A worker cannot be set up: {error.cause}.") from error
        except ray.exceptions.RayError as error:
            self._bury(worker, error)
            return
        if version != __version__:
            raise ClusterError(
                f"A worker has step-envs {version}, this process {__version__}: install the same version everywhere."
            )
        worker.ready = True

    def _landed(self, reference: Any) -> list[tuple[EpisodePlan, Outcome]]:
        import ray

        try:
            answer: str | Exception = ray.get(reference)
        except ray.exceptions.RayError as error:
            # Not only RayActorError: a worker that Ray ends for want of memory, or whose machine is lost, has other names.
            worker = self._flights[reference].worker
            return self._bury(worker, error)
        plan, worker, _ = self._flights.pop(reference)
        worker.flying -= 1
        self._deaths_in_a_row = 0
        return [(plan, answer if isinstance(answer, Exception) else Trajectory.from_json(answer))]

    def _bury(self, worker: _Worker, error: Exception) -> list[tuple[EpisodePlan, Outcome]]:
        """Replace a dead worker and have its episodes done again; give those that lost too many workers."""
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > _MOST_DEATHS_IN_A_ROW + len(self._workers):
            raise ClusterError(f"One worker after the other dies: {_first_line(error)}") from error
        ended: list[tuple[EpisodePlan, Outcome]] = []
        for plan in self._unseat(worker):
            self._losses[plan.episode] += 1
            if self._losses[plan.episode] < _MOST_LOSSES:
                self._again.append(plan)
            else:
                ended.append((plan, ClusterError(f"{_MOST_LOSSES} workers died under it: {_first_line(error)}")))
        self._dismiss(worker)
        self._hire()
        return ended

    def _overdue(self) -> list[tuple[EpisodePlan, Outcome]]:
        """Give up the episodes that hang, with their workers; what else those had in flight is done again."""
        now = time.monotonic()
        late = {flight.plan: flight.worker for flight in self._flights.values() if flight.give_up < now}
        for worker in dict.fromkeys(late.values()):
            self._again += [plan for plan in self._unseat(worker) if plan not in late]
            self._dismiss(worker)
            self._hire()
        return [(plan, too_long(self._seconds)) for plan in late]

    def _unseat(self, worker: _Worker) -> list[EpisodePlan]:
        lost = [reference for reference, flight in self._flights.items() if flight.worker is worker]
        return [self._flights.pop(reference).plan for reference in lost]

    def _lose_patience(self) -> None:
        if self._workers and time.monotonic() - self._last_seen > _WORKER_SECONDS:
            raise ClusterError(
                f"No worker has started within {_WORKER_SECONDS:g} s: has the cluster a machine with "
                f"{self._cluster.cpus:g} free processors and {self._cluster.memory / 2**20:,.0f} MiB?"
            )


def _connect(cluster: Cluster) -> bool:
    """Connect to the cluster; say whether the connection is this engine's to end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    import ray

    if ray.is_initialized():
        return False
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    more: dict[str, Any] = (
        {"address": address} if address else {"address": "local", "object_store_memory": _OBJECT_STORE}
    )
    if not address:
        more["include_dashboard"] = False
    try:
        ray.init(log_to_driver=False, logging_level="error", **more)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        raise ClusterError(
            f"The Ray cluster at {address or 'this machine'} cannot be used: {_first_line(error)}"
        ) from error
    return True


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
