"""Check input that several verbs take from the command line: environment ids, task files and outcomes."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import gymnasium as gym

from step_envs.core import TextEnv
from step_envs.errors import DataError, unknown_name
from step_envs.file_reading import read_text
from step_envs.registration import ENTRY_POINTS, env_class
from step_envs.trajectory import StopReason, Trajectory


def _is_kept(trajectory: Trajectory) -> bool:
    from step_envs.training.filters import broken_rule

    return broken_rule(trajectory) is None


OUTCOMES: dict[str, Callable[[Trajectory], bool]] = {
    "success": lambda trajectory: trajectory.success,
    "unsuccessful": lambda trajectory: not trajectory.success,
    "recovered": lambda trajectory: trajectory.success and trajectory.errors > 0,
    "kept": _is_kept,
    "dropped": lambda trajectory: not _is_kept(trajectory),
}
"""Outcomes by name (``kept`` and ``dropped``: by the paper's filter); every reason why an episode can stop is one, too."""


def selector(outcomes: Iterable[str] | None) -> Callable[[Trajectory], bool]:
    """Return a function that tells whether a trajectory ended in one of the outcomes; without any, it accepts all.

    Raises:
        UnknownNameError: There is no such outcome.
    """
    reasons = get_args(StopReason)
    names = frozenset(outcomes or ())
    for name in names:
        if name not in OUTCOMES and name not in reasons:
            raise unknown_name("outcome", name, [*OUTCOMES, *(reason for reason in reasons if reason not in OUTCOMES)])
    if not names:
        return lambda trajectory: True
    return lambda trajectory: any(
        OUTCOMES[name](trajectory) if name in OUTCOMES else trajectory.stop_reason == name for name in names
    )


def tasks_in(path: Path) -> tuple[str, ...]:
    """Read task ids, one per line; empty lines are ignored.

    Raises:
        DataError: The file cannot be read or names no task.
    """
    try:
        names = read_text(path, fault=DataError).split("\n")
    except DataError as error:
        raise DataError(f"Cannot read the tasks in {str(error).removeprefix('Cannot read ')}") from error
    found = tuple(name.strip() for name in names if name.strip())
    if not found:
        raise DataError(f"{path} names no task: write one id a line, as `step-envs tasks ENV --split S` lists them.")
    return found


def world(env_id: str) -> type[TextEnv]:
    """Find the class of an environment; as in ``gymnasium.make``, ``module:id`` imports a module that registers it.

    Raises:
        UnknownNameError: There is no such environment.
        ValueError: The module cannot be found, or the environment is not a text environment.
    """
    module = env_id.rpartition(":")[0]
    if not module and env_id not in gym.registry:
        raise unknown_name("environment", env_id, ENTRY_POINTS)
    try:
        return env_class(env_id)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ValueError(f"There is no module {module!r} for {env_id!r}: try PYTHONPATH=FOLDER.") from error
    except TypeError as error:
        raise ValueError(f"{env_id} is not a text environment; there are {', '.join(ENTRY_POINTS)}.") from error
