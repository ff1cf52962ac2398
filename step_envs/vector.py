"""Vector environments for text.

Gymnasium's default for ``make_vec`` shares memory between processes, and reads text from it only once: every observation
after the first is garbage. So the ids of this package are registered with ``TextVectorEnv``. All its environments live in
one process, which is fastest for worlds in plain Python. If the engine runs outside the interpreter, each environment is
stepped in a thread of its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from step_envs.core import TextEnv


class _Ahead(gym.Wrapper[str, str, str, str]):
    """Starts a call in a thread, and returns its result when the call is made for real."""

    _pending: Future[Any] | None = None

    def start(self, pool: ThreadPoolExecutor, call: str, *args: Any, **kwargs: Any) -> None:
        self._pending = pool.submit(getattr(self.env, call), *args, **kwargs)

    def wait(self) -> None:
        """Wait until a call that was started has ended; its error, if any, is dropped."""
        pending = self._take()
        if pending is not None:
            pending.exception()

    def _take(self) -> Future[Any] | None:
        pending, self._pending = self._pending, None
        return pending

    def step(self, action: str) -> Any:
        pending = self._take()
        return pending.result() if pending else self.env.step(action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        pending = self._take()
        return pending.result() if pending else self.env.reset(seed=seed, options=options)


class TextVectorEnv(SyncVectorEnv):
    """Several text environments in one process, stepped in parallel where the engine runs outside Python.

    Observations are tuples of ``num_envs`` strings. Everything else (batched infos, autoreset) is Gymnasium's.

    Args:
        env_fns: One function for each environment.
        autoreset_mode: As in ``gymnasium.vector.SyncVectorEnv``.
    """

    def __init__(
        self,
        env_fns: list[Callable[[], gym.Env[str, str]]],
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        ahead: list[_Ahead] = []

        def build(make: Callable[[], gym.Env[str, str]]) -> gym.Env[str, str]:
            ahead.append(_Ahead(make()))
            return ahead[-1]

        super().__init__([partial(build, make) for make in env_fns], autoreset_mode=autoreset_mode)
        self._ahead = ahead
        threads = all(_text_env(env).waits_outside_python for env in ahead) and len(ahead) > 1
        self._pool = ThreadPoolExecutor(len(ahead), thread_name_prefix="text-vector") if threads else None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all environments; see ``gymnasium.vector.SyncVectorEnv.reset``."""
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + i for i in range(self.num_envs)]
        if self._pool is not None and len(seeds) == self.num_envs and "reset_mask" not in (options or {}):
            for env, one in zip(self._ahead, seeds, strict=True):
                env.start(self._pool, "reset", seed=one, options=options)
        with self._nothing_left_running():
            return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all environments; see ``gymnasium.vector.SyncVectorEnv.step``."""
        if self._pool is not None:
            actions = tuple(actions)
            for i, env in enumerate(self._ahead):
                if self.autoreset_mode == AutoresetMode.NEXT_STEP and self._autoreset_envs[i]:
                    env.start(self._pool, "reset")
                else:
                    env.start(self._pool, "step", actions[i])
        with self._nothing_left_running():
            return super().step(actions)

    @contextmanager
    def _nothing_left_running(self) -> Iterator[None]:
        """Wait for the calls of all environments before an error of one of them reaches the caller."""
        try:
            yield
        finally:
            for env in self._ahead:
                env.wait()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments and end the threads."""
        super().close_extras(**kwargs)
        if self._pool is not None:
            self._pool.shutdown()


def _text_env(env: gym.Env[Any, Any]) -> TextEnv:
    inner = env.unwrapped
    if not isinstance(inner, TextEnv):
        raise TypeError(f"TextVectorEnv holds text environments, got {type(inner).__name__}.")
    return inner
