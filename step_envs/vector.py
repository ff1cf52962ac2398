"""Vector environments for text.

Gymnasium's default for ``make_vec`` shares memory between processes, and reads text from it only once: every observation
after the first is garbage. So the ids of this package are registered with ``TextVectorEnv``. All its environments live in
one process, which is fastest for worlds in plain Python. If the engine runs outside the interpreter, each environment is
stepped in a thread of its own.

What belongs to one environment can be named for each: ``reset(options={"task_id": ["boil/3", "melt/0"]})`` starts two
tasks.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from step_envs.batched_info import add_info
from step_envs.core import TextEnv

RESET_MASK = "reset_mask"
"""The one option of ``reset`` that Gymnasium reads itself: which environments to reset."""


class _Ahead(gym.Wrapper[str, str, str, str]):
    """Starts a call in a thread, and returns its result when the call is made for real.

    Attributes:
        options: Options of the next reset that are this environment's own; None takes what the vector hands to all.
    """

    options: dict[str, Any] | None = None
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
        pending, own, self.options = self._take(), self.options, None
        return pending.result() if pending else self.env.reset(seed=seed, options=options if own is None else own)


class TextVectorEnv(SyncVectorEnv):
    """Several text environments in one process, stepped in parallel where the engine runs outside Python.

    Observations are tuples of ``num_envs`` strings. Autoreset is Gymnasium's, and so is the form of batched infos; a value
    that has not the same type in all environments arrives in an array of objects, where Gymnasium would raise or round it.

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
        """Reset all environments; see ``gymnasium.vector.SyncVectorEnv.reset``.

        Args:
            seed: One number for all, which counts up from environment to environment, or a list with one for each.
            options: As for a single environment. A list or tuple is one value an environment, e.g. ``{"task_id": [a, b]}``;
                where it holds None, the seed decides. ``reset_mask`` says which environments to reset.

        Raises:
            ValueError: A list has not one value for each environment.
        """
        if isinstance(options, Mapping):
            options = dict(options)  # Gymnasium takes the mask out of what it is given
        own = self._options_of_each(options)
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + i for i in range(self.num_envs)]
        in_threads = self._pool is not None and len(seeds) == self.num_envs and RESET_MASK not in (options or {})
        for env, one, given in zip(self._ahead, seeds, own, strict=False):
            if in_threads and self._pool is not None:
                env.start(self._pool, "reset", seed=one, options=options if given is None else given)
            else:
                env.options = given
        try:
            with self._nothing_left_running():
                return super().reset(seed=seed, options=options)
        finally:
            for env in self._ahead:
                env.options = None

    def _options_of_each(self, options: Any) -> list[dict[str, Any] | None]:
        """Give each environment its own of every option that is a list; None where all have the same."""
        lists = {name: value for name, value in (options or {}).items() if isinstance(value, list | tuple)}
        if not lists:
            return [None] * self.num_envs
        for name, values in lists.items():
            if len(values) != self.num_envs:
                raise ValueError(
                    f"options[{name!r}] lists {len(values)} values for {self.num_envs} environments: give one for each."
                )
        shared = {name: value for name, value in options.items() if name not in lists and name != RESET_MASK}
        return [
            shared | {name: values[i] for name, values in lists.items() if values[i] is not None}
            for i in range(self.num_envs)
        ]

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

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        return add_info(vector_infos, env_info, env_num, self.num_envs)

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
