"""Playing an environment for the conformance kit: making and closing it, scripted actions, and what a check raises."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym

from step_envs.core import TextEnv

ODD_ACTIONS = (
    "",
    " ",
    "\n",
    "\x00\x07",
    "0",
    "go",
    "ask" * 3000,
    "пойти на кухню",
    "冷蔵庫を開ける",
    "🧪⚗️",
    "‮olleh",
    "\ud800",
    "{}[]()'\"\\",
)
"""Strings that no engine expects; every environment answers them."""


class ConformanceError(AssertionError):
    """An environment breaks the contract; the message says where."""


Make = Callable[..., gym.Env[str, str]]


def maker(env_id: str, kwargs: dict[str, Any]) -> Make:
    """Return a function that makes the environment, with further arguments where a check needs them."""
    return lambda **more: gym.make(env_id, **(kwargs | more))


@contextmanager
def opened(make: Make, **kwargs: Any) -> Iterator[tuple[gym.Env[str, str], TextEnv]]:
    """Make an environment for a block, and close it at the end; gives the wrapped environment and the world in it."""
    env = make(**kwargs)
    try:
        yield env, world_of(env)
    finally:
        env.close()


def world_of(env: gym.Env[str, str]) -> TextEnv:
    """Return the world inside the wrappers.

    Raises:
        ConformanceError: It is not a ``TextEnv``.
    """
    world = env.unwrapped
    require(isinstance(world, TextEnv), f"{world!r} is not a step_envs.core.TextEnv.")
    assert isinstance(world, TextEnv)
    return world


def require(kept: bool, sentence: str) -> None:
    """Raise ``ConformanceError`` with a sentence if the contract is not kept."""
    if not kept:
        raise ConformanceError(sentence)


@contextmanager
def refused(error: type[Exception], what: str) -> Iterator[None]:
    """Require that the block raises an error; ``what`` is the subject of the sentence if it does not."""
    try:
        yield
    except error:
        return
    raise ConformanceError(f"{what} must raise {error.__name__}.")


def script(world: TextEnv, steps: int) -> list[str]:
    """Choose actions for a play of a world that was just reset: admissible ones spread over the list, and a foolish one.

    The same state gives the same actions, so that plays can be compared.
    """
    admissible = world.admissible_actions()
    stride = max(1, len(admissible) // max(1, steps))
    return [*admissible[::stride][: steps - 1], "frobnicate the wug"]


def play(env: gym.Env[str, str], actions: Sequence[str], **reset: Any) -> list[Any]:
    """Play actions from a reset and return everything that was answered, until the episode ends."""
    answers: list[Any] = [env.reset(**reset)]
    for action in actions:
        answers.append(env.step(action))
        if answers[-1][2] or answers[-1][3]:
            break
    return answers
