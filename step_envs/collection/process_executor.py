"""Play the episodes of a collection in processes of this machine, so that plain Python worlds use all its processors.

Threads of one process take turns at one processor while they run Python. So each worker here is a process, begun and spoken
to through a manager of Python's ``multiprocessing``: a thread of this process calls a method of the worker and waits for
the answer, and a worker that dies is an error of that call. Everything else is as in ``worker_executor``.

The processes are spawned and not forked, because threads and a Java process of the parent do not survive a fork.
"""

import multiprocessing
import os
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.managers import BaseManager
from typing import Any

from typing_extensions import override

from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.process_exchange import ProcessGateway, RequestAddress, RequestServer, free_address
from step_envs.collection.worker_executor import EpisodeWorker, Worker, WorkerExecutor, WorkerLostError
from step_envs.endpoint import Gateway
from step_envs.worker_processes import hold_signals_for_children, processors, serve_parent

_ENDED_EARLY = (
    "its process ended before it was ready, and has printed why. In a script, collect in processes only under "
    '`if __name__ == "__main__":`, because each of them imports the script.'
)


class ProcessEpisodeWorker(EpisodeWorker):
    """An ``EpisodeWorker`` that a manager calls.

    Args:
        config: The collection, as JSON.
        requests: Where requests to models go; None if there are none.
    """

    def __init__(self, config: str, requests: RequestAddress | None) -> None:
        super().__init__(config, None if requests is None else ProcessGateway(requests))

    def process_id(self) -> int:
        """Return the id of the process."""
        return os.getpid()


class _WorkerManager(BaseManager):
    """Starts one process and makes calls to it."""


_WorkerManager.register("make_worker", ProcessEpisodeWorker, exposed=("version", "play", "process_id"))


class _ProcessWorker(Worker):
    """A worker process.

    Args:
        config: The collection, as JSON.
        requests: Where requests to models go; None if there are none.
        threads: The threads that wait for answers.
    """

    def __init__(self, config: str, requests: RequestAddress | None, threads: ThreadPoolExecutor) -> None:
        super().__init__()
        context = multiprocessing.get_context("spawn")
        self._threads = threads
        self._lifeline, self._alive = context.Pipe(duplex=False)
        self._manager = _WorkerManager(free_address(), ctx=context)
        self._worker: Any = None
        self._process_id: int | None = None
        self.greeting = threads.submit(self._start, config, requests)

    @override
    def play(self, plan: EpisodePlan, seconds: float | None) -> "Future[str | Exception]":
        return self._threads.submit(self._worker.play, tuple(plan), seconds)

    @override
    def end(self) -> None:
        if self.in_flight or not self.ready:
            self._kill()
        self._threads.submit(self._wait_for_end)

    def _start(self, config: str, requests: RequestAddress | None) -> str:
        hold_signals_for_children()
        self._manager.start(serve_parent, (self._lifeline,))
        self._lifeline.close()
        self._worker = self._manager.make_worker(config, requests)  # type: ignore[attr-defined]
        self._process_id = self._worker.process_id()
        version: str = self._worker.version()
        return version

    def _kill(self) -> None:
        self._alive.close()
        # A process that is stuck in native code does not notice that.
        for process in multiprocessing.active_children():
            if process.pid == self._process_id:
                process.kill()

    def _wait_for_end(self) -> None:
        wait([self.greeting])
        if self.greeting.exception() is None:
            self._manager.shutdown()
        self._alive.close()


class ProcessExecutor(WorkerExecutor):
    """Plays in processes of this machine, as many as there are processors and not more than ``config.concurrency``.

    Args:
        config: The collection.
        gateway: The gateway through which models are asked; None if there are none.
    """

    gives_up_at_first_start = True

    def __init__(self, config: CollectConfig, gateway: Gateway | None) -> None:
        workers = min(processors(), config.concurrency)
        super().__init__(config, -(-config.concurrency // workers))
        self._config = config.model_dump_json()
        self._requests = None if gateway is None else RequestServer(gateway)
        # Also the start and the end of each worker take a thread.
        self._threads = ThreadPoolExecutor(config.concurrency + 2 * workers, thread_name_prefix="workers")
        self._start_workers(workers)

    @override
    def close(self) -> None:
        super().close()
        if self._requests is not None:
            self._requests.close()
        self._threads.shutdown()

    @override
    def _start_worker(self) -> Worker:
        return _ProcessWorker(self._config, None if self._requests is None else self._requests.address, self._threads)

    @override
    def _wait(self, references: Collection[Any], timeout: float) -> Collection[Any]:
        return wait(references, timeout=timeout, return_when=FIRST_COMPLETED).done

    @override
    def _get(self, reference: Any) -> Any:
        try:
            return reference.result()
        except (EOFError, OSError) as error:
            if reference in self._flights:
                raise WorkerLostError("its process ended.") from error
            raise WorkerLostError(_ENDED_EARLY) from error

    @override
    def _why_none_starts(self, seconds: float) -> str:
        return f"No worker process has started within {seconds:g} s: is the machine short of memory?"
