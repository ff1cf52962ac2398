"""Executors play the episodes of a collection, several at once: the interface, and the one with threads of this process.

An executor only plays. What is kept, what counts as a failure and when a run stops is decided in ``collector``, so that
a run on a cluster obeys the same rules as one in threads. Threads are enough where episodes mostly wait: for a model's
answer, or for a world's engine that runs in a process of its own.
"""

import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

import gymnasium as gym
from typing_extensions import override

from step_envs.agents.base import Agent
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.rollouts import RolloutStoppedError, rollout
from step_envs.endpoint import Gateway
from step_envs.trajectory import Trajectory
from step_envs.worker_processes import processors

EpisodeResult = Trajectory | Exception
"""Result of an episode: its trajectory or its error; ``RolloutStoppedError`` if it was dropped."""


class EpisodeExecutor(ABC):
    """Plays episodes, several at once."""

    @property
    @abstractmethod
    def free_slots(self) -> int:
        """Number of episodes that can be started now."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Number of episodes that were started and whose result has not been returned."""

    @abstractmethod
    def start(self, plan: EpisodePlan) -> None:
        """Start an episode."""

    @abstractmethod
    def finished(self, timeout: float) -> list[tuple[EpisodePlan, EpisodeResult]]:
        """Wait until an episode has ended, at most ``timeout`` seconds, and return all that have."""

    @abstractmethod
    def drop(self) -> None:
        """Drop the episodes in flight as soon as possible; ``finished`` returns each of them as dropped."""

    @abstractmethod
    def close(self) -> None:
        """Drop the episodes in flight and free everything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EpisodePlayer:
    """Plays episodes in the threads of one process, with environments and agents that are made once and used again.

    Args:
        config: The collection.
        gateway: The gateway through which models are asked; None if there are none.
    """

    def __init__(self, config: CollectConfig, gateway: Gateway | None) -> None:
        self._config, self._gateway = config, gateway
        self._free: list[tuple[gym.Env[str, str], Agent]] = []
        self._envs: list[gym.Env[str, str]] = []
        self._dropped = threading.Event()
        # A world's engine keeps a processor busy while it begins an episode. If all threads began at once, each would take
        # so long that it looks as if it hung. While some begin, the others can wait for a model's answer.
        self._starting = threading.BoundedSemaphore(2 * processors())

    def play(self, plan: EpisodePlan, seconds: float | None) -> Trajectory:
        """Play an episode.

        Args:
            plan: The episode.
            seconds: Seconds after which it is given up, checked between steps; None means never.

        Raises:
            TimeoutError: The episode took longer.
            RolloutStoppedError: The episode was dropped.
        """
        give_up = None if seconds is None else time.monotonic() + seconds

        def stopped() -> bool:
            return self._dropped.is_set() or (give_up is not None and time.monotonic() > give_up)

        env, agent = self._acquire()
        try:
            return rollout(
                env,
                agent,
                seed=plan.seed,
                task_id=plan.task_id,
                episode=plan.episode,
                stopped=stopped,
                turn_to_reset=self._starting,
            )
        except RolloutStoppedError:
            if self._dropped.is_set():
                raise
            raise time_limit_error(seconds) from None
        finally:
            self._free.append((env, agent))

    def drop(self) -> None:
        """Drop all episodes at their next step."""
        self._dropped.set()

    def close(self) -> None:
        """Close the environments; no episode may be in flight."""
        for env in self._envs:
            env.close()

    def _acquire(self) -> tuple[gym.Env[str, str], Agent]:
        try:
            return self._free.pop()
        except IndexError:
            pass
        with self._starting:
            env = self._config.make_env(self._gateway)
        self._envs.append(env)
        return env, self._config.make_agent(self._gateway)


def time_limit_error(seconds: float | None) -> TimeoutError:
    """Make the error for an episode that was given up."""
    return TimeoutError(f"The episode took longer than {seconds:g} s.")


class ThreadExecutor(EpisodeExecutor):
    """Plays in threads of this process.

    Args:
        config: The collection; its ``concurrency`` is the number of threads.
        gateway: The gateway through which models are asked; None if there are none.
    """

    def __init__(self, config: CollectConfig, gateway: Gateway | None) -> None:
        self._player = EpisodePlayer(config, gateway)
        self._concurrency, self._seconds = config.concurrency, config.episode_seconds
        self._pool = ThreadPoolExecutor(config.concurrency, thread_name_prefix="collect")
        self._flights: dict[Future[Trajectory], EpisodePlan] = {}

    @property
    @override
    def free_slots(self) -> int:
        return self._concurrency - len(self._flights)

    @property
    @override
    def in_flight(self) -> int:
        return len(self._flights)

    @override
    def start(self, plan: EpisodePlan) -> None:
        self._flights[self._pool.submit(self._player.play, plan, self._seconds)] = plan

    @override
    def finished(self, timeout: float) -> list[tuple[EpisodePlan, EpisodeResult]]:
        ended = wait(self._flights, timeout=timeout, return_when=FIRST_COMPLETED).done
        return [(self._flights.pop(future), _result_of(future)) for future in ended]

    @override
    def drop(self) -> None:
        self._player.drop()

    @override
    def close(self) -> None:
        self._player.drop()
        self._pool.shutdown()
        self._player.close()


def _result_of(future: Future[Trajectory]) -> EpisodeResult:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error
