"""Where the episodes of a collection are played: ``Engine``, and the threads of this process.

An engine plays; it keeps nothing. What is kept, what counts as a failure and when a run stops is decided in ``collect``.
"""

import os
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

import gymnasium as gym

from step_envs.agents.base import Agent
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.rollouts import RolloutStoppedError, rollout
from step_envs.endpoint import Gateway
from step_envs.trajectory import Trajectory

Outcome = Trajectory | Exception
"""What became of an episode; ``RolloutStoppedError`` where it was dropped."""


class Engine(ABC):
    """Plays episodes, several at once."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many more episodes can be started now."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """How many episodes are under way."""

    @abstractmethod
    def start(self, plan: EpisodePlan) -> None:
        """Start an episode."""

    @abstractmethod
    def finished(self, timeout: float) -> list[tuple[EpisodePlan, Outcome]]:
        """Wait until an episode has ended, or so many seconds, and hand out those that have."""

    @abstractmethod
    def drop(self) -> None:
        """Drop the episodes under way as soon as can be; each is handed out as dropped."""

    @abstractmethod
    def close(self) -> None:
        """Drop what is under way and free everything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Seats:
    """Environments and agents of one process, made as they are needed and used again.

    Args:
        config: What is collected.
        gateway: Through which models are asked; None where there are none.
    """

    def __init__(self, config: CollectConfig, gateway: Gateway | None) -> None:
        self._config, self._gateway = config, gateway
        self._free: list[tuple[gym.Env[str, str], Agent]] = []
        self._envs: list[gym.Env[str, str]] = []
        self._dropped = threading.Event()
        # An engine takes a processor for a while to begin an episode. With many in flight, all at once, each would take so
        # long that it looks as if it hung; while some begin, the others have a model's answer to wait for.
        self._starting = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))

    def play(self, plan: EpisodePlan, seconds: float | None) -> Trajectory:
        """Play an episode.

        Args:
            plan: The episode.
            seconds: After which it is given up; None means never. Asked between steps.

        Raises:
            TimeoutError: It took longer.
            RolloutStoppedError: It was dropped.
        """
        give_up = None if seconds is None else time.monotonic() + seconds

        def stopped() -> bool:
            return self._dropped.is_set() or (give_up is not None and time.monotonic() > give_up)

        env, agent = self._take()
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
            raise too_long(seconds) from None
        finally:
            self._free.append((env, agent))

    def drop(self) -> None:
        """Have all episodes dropped at their next step."""
        self._dropped.set()

    def close(self) -> None:
        """Close the environments; nobody may be playing."""
        for env in self._envs:
            env.close()

    def _take(self) -> tuple[gym.Env[str, str], Agent]:
        try:
            return self._free.pop()
        except IndexError:
            pass
        with self._starting:
            env = self._config.make_env(self._gateway)
        self._envs.append(env)
        return env, self._config.make_agent(self._gateway)


def too_long(seconds: float | None) -> TimeoutError:
    """Make the error for an episode that was given up."""
    return TimeoutError(f"The episode took longer than {seconds:g} s.")


class ThreadEngine(Engine):
    """Plays in threads of this process.

    Args:
        config: What is collected.
        gateway: Through which models are asked; None where there are none.
        concurrency: Episodes in flight at once.
        episode_seconds: After which an episode is given up; None means never.
    """

    def __init__(
        self, config: CollectConfig, gateway: Gateway | None, *, concurrency: int, episode_seconds: float | None = None
    ) -> None:
        self._seats = Seats(config, gateway)
        self._concurrency, self._seconds = concurrency, episode_seconds
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="collect")
        self._flying: dict[Future[Trajectory], EpisodePlan] = {}

    @property
    def room(self) -> int:
        """See ``Engine``."""
        return self._concurrency - len(self._flying)

    @property
    def in_flight(self) -> int:
        """See ``Engine``."""
        return len(self._flying)

    def start(self, plan: EpisodePlan) -> None:
        """See ``Engine``."""
        self._flying[self._pool.submit(self._seats.play, plan, self._seconds)] = plan

    def finished(self, timeout: float) -> list[tuple[EpisodePlan, Outcome]]:
        """See ``Engine``."""
        ended = wait(self._flying, timeout=timeout, return_when=FIRST_COMPLETED).done
        return [(self._flying.pop(future), _outcome(future)) for future in ended]

    def drop(self) -> None:
        """See ``Engine``."""
        self._seats.drop()

    def close(self) -> None:
        """See ``Engine``."""
        self._seats.drop()
        self._pool.shutdown()
        self._seats.close()


def _outcome(future: Future[Trajectory]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error
