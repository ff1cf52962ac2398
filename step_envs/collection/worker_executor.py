"""Play the episodes of a collection in worker processes: what holds wherever the processes run.

Workers only play. Their trajectories return to the process that was started, which alone writes the run folder: a lost
worker loses the episodes it had in flight, but no line on disk, and they are played again. Their requests to models return
too, because only one process can keep one budget; a model needs seconds for an answer, the detour milliseconds.

How a process is started, spoken to and ended is left to the two kinds: ``process_executor`` for this machine, and
``ray_executor`` for a cluster.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

from typing_extensions import override

from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.executors import EpisodeExecutor, EpisodePlayer, EpisodeResult, time_limit_error
from step_envs.collection.portable_errors import portable
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.endpoint import Gateway
from step_envs.errors import ClusterError
from step_envs.trajectory import Trajectory

_MOST_LOST_WORKERS = 3
"""If this many workers die while they play one episode, the episode counts as failed: it may be the cause."""
_WORKER_SECONDS = 120.0
"""Seconds that a run waits for a worker while it has none, at the start and after deaths."""
_MOST_DEATHS_IN_A_ROW = 5


class EpisodeWorker:
    """Plays episodes in a process of its own, several at once if it is called from several threads.

    Args:
        config: The collection, as JSON.
        gateway: The gateway that sends requests to the process that was started; None if there are none.
    """

    def __init__(self, config: str, gateway: Gateway | None) -> None:
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


class WorkerLostError(Exception):
    """The process of a worker has ended, or its machine was lost."""


class Worker(ABC):
    """What the executor knows about a worker process.

    Attributes:
        ready: It has answered with the right version of step-envs.
        in_flight: Episodes that it plays now.
        greeting: Reference to its first answer, the version of step-envs.
    """

    greeting: Any

    def __init__(self) -> None:
        self.ready = False
        self.in_flight = 0

    @abstractmethod
    def play(self, plan: EpisodePlan, seconds: float | None) -> Any:
        """Start an episode, see ``EpisodeWorker.play``; return a reference to its result."""

    @abstractmethod
    def end(self) -> None:
        """End the process, whatever it is doing."""


class _Flight(NamedTuple):
    """An episode in flight, its worker, and the time (on the monotonic clock) at which both are given up."""

    plan: EpisodePlan
    worker: Worker
    give_up: float


class WorkerExecutor(EpisodeExecutor):
    """Plays in worker processes.

    An episode that exceeds ``config.episode_seconds`` and does not even reach its next step is ended together with its
    worker.

    Args:
        config: The collection.
        slots: Episodes that a worker plays at once.
    """

    gives_up_at_first_start = False
    """True if a first worker that dies before it is ready shows that no other would start."""

    def __init__(self, config: CollectConfig, slots: int) -> None:
        self._concurrency, self._seconds, self._slots = config.concurrency, config.episode_seconds, slots
        self._flights: dict[Any, _Flight] = {}
        self._to_replay: list[EpisodePlan] = []
        self._lost_workers: Counter[int] = Counter()
        self._deaths_in_a_row = 0
        self._dropped: list[EpisodePlan] = []
        self._workers: list[Worker] = []
        self._last_ready = time.monotonic()
        self._any_was_ready = False

    @abstractmethod
    def _start_worker(self) -> Worker:
        """Start a process; do not wait until it is ready."""

    @abstractmethod
    def _wait(self, references: Collection[Any], timeout: float) -> Collection[Any]:
        """Wait until one of the references has its result, at most ``timeout`` seconds; return those that have."""

    @abstractmethod
    def _get(self, reference: Any) -> Any:
        """Return the result of a reference.

        Raises:
            WorkerLostError: The worker is lost.
            ClusterError: The worker cannot be set up.
        """

    @abstractmethod
    def _why_none_starts(self, seconds: float) -> str:
        """Return the sentence for the user if no worker has started for so many seconds."""

    def _start_workers(self, number: int) -> None:
        self._last_ready = time.monotonic()
        for _ in range(number):
            self._workers.append(self._start_worker())

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
        # A worker checks its own time limit between steps. If a step never ends, the worker is ended a little later.
        give_up = float("inf") if self._seconds is None else time.monotonic() + 1.2 * self._seconds + 5
        self._flights[worker.play(plan, self._seconds)] = _Flight(plan, worker, give_up)

    @override
    def finished(self, timeout: float) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Wait until an episode has ended, at most ``timeout`` seconds, and return all that have.

        Raises:
            ClusterError: No worker starts, or one worker after the other dies.
        """
        ended: list[tuple[EpisodePlan, EpisodeResult]] = [
            (plan, RolloutStoppedError(f"Episode {plan.episode} was dropped before its end.")) for plan in self._dropped
        ]
        self._dropped = []
        greetings = {worker.greeting: worker for worker in self._workers if not worker.ready}
        if (self._flights or greetings) and not ended:
            for reference in self._wait([*self._flights, *greetings], timeout):
                # The death of a worker, found at another reference, may have taken this one away.
                if reference in self._flights:
                    ended += self._collect_result(reference)
                elif greetings.get(reference) in self._workers:
                    self._check_new_worker(greetings[reference])
        ended += self._give_up_overdue()
        while self._to_replay and any(worker.ready and worker.in_flight < self._slots for worker in self._workers):
            self.start(self._to_replay.pop(0))
        if any(worker.ready for worker in self._workers):
            self._last_ready = time.monotonic()
        elif self._workers and time.monotonic() - self._last_ready > _WORKER_SECONDS:
            raise ClusterError(self._why_none_starts(_WORKER_SECONDS))
        return ended

    @override
    def drop(self) -> None:
        # The workers are ended, too: a worker that is busy cannot be told to stop.
        self._dropped += [flight.plan for flight in self._flights.values()] + self._to_replay
        self._flights.clear()
        self._to_replay.clear()
        for worker in list(self._workers):
            self._end_worker(worker)

    @override
    def close(self) -> None:
        self.drop()

    def _end_worker(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.end()

    def _check_new_worker(self, worker: Worker) -> None:
        """Mark a worker that has started as ready, if it has the same version of step-envs."""
        from step_envs import __version__

        try:
            version = self._get(worker.greeting)
        except WorkerLostError as error:
            if self.gives_up_at_first_start and not self._any_was_ready:
                raise ClusterError(f"No worker can be started: {error}") from error
            self._replace_dead(worker, error)
            return
        if version != __version__:
            raise ClusterError(
                f"A worker has step-envs {version}, this process {__version__}: install the same version everywhere."
            )
        worker.ready = self._any_was_ready = True

    def _collect_result(self, reference: Any) -> list[tuple[EpisodePlan, EpisodeResult]]:
        try:
            answer: str | Exception = self._get(reference)
        except WorkerLostError as error:
            return self._replace_dead(self._flights[reference].worker, error)
        plan, worker, _ = self._flights.pop(reference)
        worker.in_flight -= 1
        self._deaths_in_a_row = 0
        return [(plan, answer if isinstance(answer, Exception) else Trajectory.from_json(answer))]

    def _replace_dead(self, worker: Worker, error: Exception) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Replace a dead worker and play its episodes again; return the episodes that lost too many workers, as failed."""
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > _MOST_DEATHS_IN_A_ROW + len(self._workers):
            raise ClusterError(f"One worker after the other dies: {error}") from error
        ended: list[tuple[EpisodePlan, EpisodeResult]] = []
        for plan in self._remove_flights(worker):
            self._lost_workers[plan.episode] += 1
            if self._lost_workers[plan.episode] < _MOST_LOST_WORKERS:
                self._to_replay.append(plan)
            else:
                ended.append((plan, ClusterError(f"{_MOST_LOST_WORKERS} workers died under it: {error}")))
        self._end_worker(worker)
        self._workers.append(self._start_worker())
        return ended

    def _give_up_overdue(self) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Give up the episodes that hang and end their workers; the workers' other episodes are played again."""
        now = time.monotonic()
        late = {flight.plan: flight.worker for flight in self._flights.values() if flight.give_up < now}
        for worker in dict.fromkeys(late.values()):
            self._to_replay += [plan for plan in self._remove_flights(worker) if plan not in late]
            self._end_worker(worker)
            self._workers.append(self._start_worker())
        return [(plan, time_limit_error(self._seconds)) for plan in late]

    def _remove_flights(self, worker: Worker) -> list[EpisodePlan]:
        lost = [reference for reference, flight in self._flights.items() if flight.worker is worker]
        return [self._flights.pop(reference).plan for reference in lost]
