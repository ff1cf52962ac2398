"""Value episodes several at once, in threads or in processes, and return them in their order.

Threads serve value functions that mostly wait: for a model, or for an engine that runs in a process of its own. What is
plain Python needs processes, because threads take turns at one processor.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from step_envs.credit.rollout_value import RolloutValue
from step_envs.credit.value_functions import ValueFunction, make_value_function
from step_envs.endpoint import Gateway
from step_envs.errors import ClusterError
from step_envs.trajectory import Trajectory
from step_envs.worker_processes import serve_parent

Values = list[float | None]

_AHEAD = 4
"""Episodes for each worker that are started before the first of them is wanted."""


class ValueWorkers:
    """Values episodes; a context manager.

    Args:
        pool: Where they are valued.
        number: Episodes at once.
    """

    def __init__(self, pool: Executor, number: int) -> None:
        self._pool, self._most = pool, _AHEAD * number

    def in_order(self, trajectories: Iterable[Trajectory]) -> Iterator[tuple[Trajectory, Values]]:
        """Value episodes.

        Args:
            trajectories: The episodes; only a few are read ahead.

        Yields:
            Each episode with what ``ValueFunction.values`` returned, in the order given.
        """
        started: deque[tuple[Trajectory, Future[Values]]] = deque()
        for trajectory in trajectories:
            started.append((trajectory, self._start(trajectory)))
            if len(started) >= self._most:
                yield self._first(started)
        while started:
            yield self._first(started)

    def _start(self, trajectory: Trajectory) -> "Future[Values]":
        raise NotImplementedError

    def _first(self, started: "deque[tuple[Trajectory, Future[Values]]]") -> tuple[Trajectory, Values]:
        trajectory, future = started.popleft()
        return trajectory, future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


class ValueThreads(ValueWorkers):
    """Values episodes in threads of this process, each with a value function of its own.

    Args:
        value: Specification of the value function.
        env_options: See ``ValueFunction.use_env_options``.
        number: Number of threads.
        gateway: The gateway of an agent that is a model; None if there is none.
    """

    def __init__(self, value: str, env_options: Mapping[str, Any], number: int, gateway: Gateway | None) -> None:
        super().__init__(ThreadPoolExecutor(number, thread_name_prefix="annotate"), number)
        self._value, self._env_options, self._gateway = value, env_options, gateway
        self._made: list[ValueFunction] = []
        self._free: list[ValueFunction] = []

    def _start(self, trajectory: Trajectory) -> "Future[Values]":
        return self._pool.submit(self._values, trajectory)

    def _values(self, trajectory: Trajectory) -> Values:
        function = self._acquire()
        try:
            return function.values(trajectory)
        finally:
            self._free.append(function)

    def _acquire(self) -> ValueFunction:
        try:
            return self._free.pop()
        except IndexError:
            made = _make(self._value, self._env_options)
        if self._gateway is not None and isinstance(made, RolloutValue):
            made.connect(self._gateway)
        self._made.append(made)
        return made

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for function in self._made:
            function.close()


class ValueProcesses(ValueWorkers):
    """Values episodes in processes of this machine.

    Args:
        value: Specification of the value function.
        env_options: See ``ValueFunction.use_env_options``.
        number: Number of processes.
    """

    def __init__(self, value: str, env_options: Mapping[str, Any], number: int) -> None:
        context = multiprocessing.get_context("spawn")
        # The processes end when their end of the pipe tells them that this process has ended.
        lifeline, self._alive = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(number, context, _begin_process, (lifeline, value, dict(env_options)))
        super().__init__(pool, number)

    def _start(self, trajectory: Trajectory) -> "Future[Values]":
        return self._pool.submit(_values_here, trajectory.to_json())

    def _first(self, started: "deque[tuple[Trajectory, Future[Values]]]") -> tuple[Trajectory, Values]:
        try:
            return super()._first(started)
        except BrokenProcessPool as error:
            raise ClusterError(
                "A process that computes values has ended; it may have run out of memory. What was written is kept: go on "
                'with fewer at once. In a script, annotate only under `if __name__ == "__main__":`, because each process '
                "imports the script."
            ) from error

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._alive.close()


_function: ValueFunction | None = None
"""The value function of a worker process."""


def _begin_process(lifeline: Connection, value: str, env_options: Mapping[str, Any]) -> None:
    global _function
    serve_parent(lifeline)
    _function = _make(value, env_options)


def _values_here(line: str) -> Values:
    assert _function is not None
    return _function.values(Trajectory.from_json(line))


def _make(value: str, env_options: Mapping[str, Any]) -> ValueFunction:
    made = make_value_function(value)
    made.use_env_options(env_options)
    return made
