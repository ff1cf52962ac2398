"""Play the episodes of a collection on a Ray cluster, in worker processes on one machine or many.

Workers only play. Their trajectories return to the process that was started (the driver), which alone writes the run
folder: a lost worker loses the episodes it had in flight, but no line on disk. Their requests to models return to the
driver too (see ``ray_exchange``), because only one process can keep one budget; a model needs seconds for an answer,
the detour milliseconds.

Ray chooses the machine of a worker by the processors and the memory that the worker declares.
"""

import logging
import os
import time
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

from typing_extensions import override

from step_envs.collection.cluster import Cluster
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.executors import EpisodeExecutor, EpisodePlayer, EpisodeResult, time_limit_error
from step_envs.collection.ray_exchange import ModelRequestServer, RemoteGateway, portable
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.endpoint import Gateway
from step_envs.errors import ClusterError, missing_package
from step_envs.trajectory import Trajectory

_MOST_LOST_WORKERS = 3
"""If this many workers die while they play one episode, the episode counts as failed: it may be the cause."""
_WORKER_SECONDS = 120.0
"""Seconds that a run waits for a worker while it has none, at the start and after deaths."""
_MOST_DEATHS_IN_A_ROW = 5
_OBJECT_STORE = 128 * 2**20
"""Bytes for a cluster on this machine alone; it carries trajectories and requests, not tensors."""


_log = logging.getLogger(__name__)


class EpisodeWorker:
    """Plays episodes in a process of its own; a threaded actor.

    Args:
        config: The collection, as JSON.
        mailbox: The mailbox for requests to models; None if there are none.
    """

    def __init__(self, config: str, mailbox: Any) -> None:
        gateway = None if mailbox is None else RemoteGateway(mailbox)
        self._player = EpisodePlayer(CollectConfig.model_validate_json(config), gateway)

    def version(self) -> str:
        """Return the version of step-envs; the answer shows that the worker is ready."""
        from step_envs import __version__

        return __version__

    def play(self, plan: tuple[int, str, int], seconds: float | None) -> str | Exception:
        """Play an episode; return its trajectory as JSON, or its error."""
        try:
            return self._player.play(EpisodePlan(*plan), seconds).to_json()
        except Exception as error:
            return portable(error)


class _Flight(NamedTuple):
    """An episode in flight, its worker, and the time (on the monotonic clock) at which both are given up."""

    plan: EpisodePlan
    worker: "_Worker"
    give_up: float


class _Worker:
    """What the executor knows about a worker process."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.version = actor.version.remote()
        self.ready = False
        self.in_flight = 0


class RayExecutor(EpisodeExecutor):
    """Plays on a Ray cluster.

    An episode that exceeds ``config.episode_seconds`` and does not even reach its next step is ended together with its
    worker.

    Args:
        config: The collection, and the cluster to play it on.
        gateway: The gateway through which models are asked; None if there are none.

    Raises:
        ClusterError: The cluster cannot be reached.
        gymnasium.error.DependencyNotInstalled: Ray is not installed.
    """

    def __init__(self, config: CollectConfig, gateway: Gateway | None) -> None:
        if find_spec("ray") is None:
            raise missing_package("ray", "Collection on a cluster", "ray")
        self._config, self._cluster = config.model_dump_json(), config.cluster()
        self._concurrency, self._seconds = config.concurrency, config.episode_seconds
        self._slots = min(config.worker_episodes, config.concurrency)
        self._flights: dict[Any, _Flight] = {}
        self._to_replay: list[EpisodePlan] = []
        self._lost_workers: Counter[int] = Counter()
        self._deaths_in_a_row = 0
        self._dropped: list[EpisodePlan] = []
        self._workers: list[_Worker] = []
        self._owns_cluster = _connect(self._cluster)
        self._requests = None if gateway is None else ModelRequestServer(gateway, self._concurrency)
        self._last_ready = time.monotonic()
        wanted = -(-self._concurrency // self._slots)
        self._warn_if_cluster_is_small(wanted)
        for _ in range(wanted):
            self._acquire_worker()

    @property
    @override
    def free_slots(self) -> int:
        # Only workers that are ready count.
        free = sum(self._slots - worker.in_flight for worker in self._workers if worker.ready)
        return max(0, min(free, self._concurrency - len(self._flights)) - len(self._to_replay))

    @property
    @override
    def in_flight(self) -> int:
        return len(self._flights) + len(self._to_replay) + len(self._dropped)

    @override
    def start(self, plan: EpisodePlan) -> None:
        # The worker with the fewest episodes, so that the load is spread before any worker is full.
        worker = min((worker for worker in self._workers if worker.ready), key=lambda worker: worker.in_flight)
        worker.in_flight += 1
        answer = worker.actor.play.remote(tuple(plan), self._seconds)
        # A worker checks its own time limit between steps. If a step never ends, the worker is ended a little later.
        give_up = float("inf") if self._seconds is None else time.monotonic() + 1.2 * self._seconds + 5
        self._flights[answer] = _Flight(plan, worker, give_up)

    @override
    def finished(self, timeout: float) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Wait until an episode has ended, at most ``timeout`` seconds, and return all that have.

        Raises:
            ClusterError: No worker starts, or one worker after the other dies.
        """
        import ray

        ended: list[tuple[EpisodePlan, EpisodeResult]] = [
            (plan, RolloutStoppedError(f"Episode {plan.episode} was dropped before its end.")) for plan in self._dropped
        ]
        self._dropped = []
        waited_for = [*self._flights, *(worker.version for worker in self._workers if not worker.ready)]
        if waited_for and not ended:
            # One at a time, because the death of a worker changes the list of flights.
            for reference in ray.wait(waited_for, num_returns=1, timeout=timeout)[0]:
                if reference in self._flights:
                    ended += self._collect_result(reference)
                else:
                    self._check_new_worker(next(worker for worker in self._workers if worker.version == reference))
        ended += self._give_up_overdue()
        while self._to_replay and any(worker.ready and worker.in_flight < self._slots for worker in self._workers):
            self.start(self._to_replay.pop(0))
        if any(worker.ready for worker in self._workers):
            self._last_ready = time.monotonic()
        else:
            self._check_waiting_time()
        return ended

    @override
    def drop(self) -> None:
        # The workers are ended, too: there is no way to reach into an actor that is busy.
        self._dropped += [flight.plan for flight in self._flights.values()] + self._to_replay
        self._flights.clear()
        self._to_replay.clear()
        for worker in list(self._workers):
            self._end_worker(worker)

    @override
    def close(self) -> None:
        import ray

        self.drop()
        if self._requests is not None:
            self._requests.close()
        if self._owns_cluster:
            ray.shutdown()

    def _warn_if_cluster_is_small(self, wanted: int) -> None:
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

    def _acquire_worker(self) -> None:
        import ray

        options = {"num_cpus": self._cluster.cpus, "memory": self._cluster.memory, "max_restarts": 0}
        actor = ray.remote(EpisodeWorker).options(**options, max_concurrency=self._slots + 1)
        self._workers.append(
            _Worker(actor.remote(self._config, None if self._requests is None else self._requests.mailbox))
        )

    def _end_worker(self, worker: _Worker) -> None:
        import ray

        self._workers.remove(worker)
        with suppress(Exception):  # whatever Ray raises for a worker that is dead already
            ray.kill(worker.actor)

    def _check_new_worker(self, worker: _Worker) -> None:
        """Mark a worker that has started as ready, if it has the same version of step-envs."""
        import ray

        from step_envs import __version__

        try:
            version = ray.get(worker.version)
        except ray.exceptions.RayTaskError as error:
            raise ClusterError(f"A worker cannot be set up: {error.cause}.") from error
        except ray.exceptions.RayError as error:
            self._drop_worker(worker, error)
            return
        if version != __version__:
            raise ClusterError(
                f"A worker has step-envs {version}, this process {__version__}: install the same version everywhere."
            )
        worker.ready = True

    def _collect_result(self, reference: Any) -> list[tuple[EpisodePlan, EpisodeResult]]:
        import ray

        try:
            answer: str | Exception = ray.get(reference)
        except ray.exceptions.RayError as error:
            # Not only RayActorError: a worker that Ray ends for lack of memory, or whose machine is lost, raises others.
            worker = self._flights[reference].worker
            return self._drop_worker(worker, error)
        plan, worker, _ = self._flights.pop(reference)
        worker.in_flight -= 1
        self._deaths_in_a_row = 0
        return [(plan, answer if isinstance(answer, Exception) else Trajectory.from_json(answer))]

    def _drop_worker(self, worker: _Worker, error: Exception) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Replace a dead worker and play its episodes again; return the episodes that lost too many workers, as failed."""
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > _MOST_DEATHS_IN_A_ROW + len(self._workers):
            raise ClusterError(f"One worker after the other dies: {_first_line(error)}") from error
        ended: list[tuple[EpisodePlan, EpisodeResult]] = []
        for plan in self._remove_flights(worker):
            self._lost_workers[plan.episode] += 1
            if self._lost_workers[plan.episode] < _MOST_LOST_WORKERS:
                self._to_replay.append(plan)
            else:
                ended.append((plan, ClusterError(f"{_MOST_LOST_WORKERS} workers died under it: {_first_line(error)}")))
        self._end_worker(worker)
        self._acquire_worker()
        return ended

    def _give_up_overdue(self) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Give up the episodes that hang and end their workers; the workers' other episodes are played again."""
        now = time.monotonic()
        late = {flight.plan: flight.worker for flight in self._flights.values() if flight.give_up < now}
        for worker in dict.fromkeys(late.values()):
            self._to_replay += [plan for plan in self._remove_flights(worker) if plan not in late]
            self._end_worker(worker)
            self._acquire_worker()
        return [(plan, time_limit_error(self._seconds)) for plan in late]

    def _remove_flights(self, worker: _Worker) -> list[EpisodePlan]:
        lost = [reference for reference, flight in self._flights.items() if flight.worker is worker]
        return [self._flights.pop(reference).plan for reference in lost]

    def _check_waiting_time(self) -> None:
        if self._workers and time.monotonic() - self._last_ready > _WORKER_SECONDS:
            raise ClusterError(
                f"No worker has started within {_WORKER_SECONDS:g} s: has the cluster a machine with "
                f"{self._cluster.cpus:g} free processors and {self._cluster.memory / 2**20:,.0f} MiB?"
            )


def _connect(cluster: Cluster) -> bool:
    """Connect to the cluster; return True if the executor has opened the connection and has to close it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray reports usage to its makers
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
