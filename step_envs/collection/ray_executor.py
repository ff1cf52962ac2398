"""Play the episodes of a collection on a Ray cluster, in worker processes on one machine or many.

Ray starts the workers and chooses the machine of each by the processors and the memory that it declares. Everything else is
as in ``worker_executor``; requests to models come back through ``ray_exchange``.
"""

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from typing_extensions import override

from step_envs.collection.cluster import Cluster
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.ray_exchange import ModelRequestServer, RemoteGateway
from step_envs.collection.worker_executor import EpisodeWorker, Worker, WorkerExecutor, WorkerLostError
from step_envs.endpoint import Gateway
from step_envs.errors import ClusterError, missing_package

_OBJECT_STORE = 128 * 2**20
"""Bytes for a cluster on this machine alone; it carries trajectories and requests, not tensors."""


_log = logging.getLogger(__name__)


class RayEpisodeWorker(EpisodeWorker):
    """An ``EpisodeWorker`` as a threaded actor.

    Args:
        config: The collection, as JSON.
        mailbox: The mailbox for requests to models; None if there are none.
    """

    def __init__(self, config: str, mailbox: Any) -> None:
        super().__init__(config, None if mailbox is None else RemoteGateway(mailbox))


class _RayWorker(Worker):
    def __init__(self, actor: Any) -> None:
        super().__init__()
        self._actor = actor
        self.greeting = actor.version.remote()

    @override
    def play(self, plan: EpisodePlan, seconds: float | None) -> Any:
        return self._actor.play.remote(tuple(plan), seconds)

    @override
    def end(self) -> None:
        import ray

        with suppress(Exception):  # whatever Ray raises for a worker that is dead already
            ray.kill(self._actor)


class RayExecutor(WorkerExecutor):
    """Plays on a Ray cluster.

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
        super().__init__(config, min(config.worker_episodes, config.concurrency))
        self._config, self._cluster = config.model_dump_json(), config.cluster()
        self._owns_cluster = _connect(self._cluster)
        self._requests = None if gateway is None else ModelRequestServer(gateway, self._concurrency)
        wanted = -(-self._concurrency // self._slots)
        self._warn_if_cluster_is_small(wanted)
        self._start_workers(wanted)

    @override
    def close(self) -> None:
        import ray

        super().close()
        if self._requests is not None:
            self._requests.close()
        if self._owns_cluster:
            ray.shutdown()

    @override
    def _start_worker(self) -> Worker:
        import ray

        options = {"num_cpus": self._cluster.cpus, "memory": self._cluster.memory, "max_restarts": 0}
        actor = ray.remote(RayEpisodeWorker).options(**options, max_concurrency=self._slots + 1)
        return _RayWorker(actor.remote(self._config, None if self._requests is None else self._requests.mailbox))

    @override
    def _wait(self, references: Collection[Any], timeout: float) -> Collection[Any]:
        import ray

        ready: Collection[Any] = ray.wait(list(references), num_returns=1, timeout=timeout)[0]
        return ready

    @override
    def _get(self, reference: Any) -> Any:
        import ray

        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError) and reference not in self._flights:
                raise ClusterError(f"A worker cannot be set up: {error.cause}.") from error
            # Not only RayActorError: a worker that Ray ends for lack of memory, or whose machine is lost, raises others.
            raise WorkerLostError(_first_line(error)) from error

    @override
    def _why_none_starts(self, seconds: float) -> str:
        return (
            f"No worker has started within {seconds:g} s: has the cluster a machine with "
            f"{self._cluster.cpus:g} free processors and {self._cluster.memory / 2**20:,.0f} MiB?"
        )

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
