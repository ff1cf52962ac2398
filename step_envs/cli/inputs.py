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

OUTCOMES: dict[str, Callable[[Trajectory], bool]] = {
    "success": lambda trajectory: trajectory.success,
    "unsuccessful": lambda trajectory: not trajectory.success,
    "recovered": lambda trajectory: trajectory.success and trajectory.errors > 0,
}
"""Outcomes by name, beside those of the paper's filter; every reason why an episode can stop is one, too."""
BY_FILTER = ("kept", "dropped")
"""Outcomes by the paper's filter."""


def selector(outcomes: Iterable[str] | None, *, max_errors: int | None = None) -> Callable[[Trajectory], bool]:
    """Return a function that tells whether a trajectory ended in one of the outcomes; without any, it accepts all.

    Args:
        outcomes: Names from ``OUTCOMES`` and ``BY_FILTER``, and reasons why an episode can stop.
        max_errors: The most errors that the filter keeps; None is the environment's own number.

    Raises:
        UnknownNameError: There is no such outcome.
        ValueError: There is ``max_errors``, and no outcome by the filter.
    """
    reasons = get_args(StopReason)
    names = frozenset(outcomes or ())
    known = [*OUTCOMES, *BY_FILTER]
    for name in names:
        if name not in known and name not in reasons:
            raise unknown_name("outcome", name, [*known, *(reason for reason in reasons if reason not in known)])
    if max_errors is not None and not names & set(BY_FILTER):
        raise ValueError(
            "--max-errors says what the paper's filter keeps: add --outcome kept (or dropped), or leave it out."
        )
    if not names:
        return lambda trajectory: True
    from step_envs.training.filters import broken_rule

    def ended_so(trajectory: Trajectory, name: str) -> bool:
        if name in BY_FILTER:
            return (broken_rule(trajectory, max_errors=max_errors) is None) == (name == "kept")
        return OUTCOMES[name](trajectory) if name in OUTCOMES else trajectory.stop_reason == name

    return lambda trajectory: any(ended_so(trajectory, name) for name in names)


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
