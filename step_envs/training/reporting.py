"""Logging backends of a training: which there are, what each needs before it can begin, and where its run ends.

The trainers of transformers log to a backend by a callback of its own. Left alone, they find out after minutes of reading
and loading that a package or a login is missing. So that is looked at first. Nothing is logged anywhere unless it is named:
variables such as ``WANDB_PROJECT`` only say how, never whether.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from step_envs.errors import DataError, missing_package, unknown_name

BACKENDS = ("tensorboard", "trackio", "wandb")
"""The backends that are documented and tested; each is also the name of its package and of the extra that brings it."""
PROJECT = "step-envs"
"""Project of trackio, and of wandb where ``WANDB_PROJECT`` names none."""
_NEEDS_NO_LOGIN = ("offline", "disabled", "dryrun")


def check_backends(names: Sequence[str]) -> None:
    """Check that a training can log to these backends.

    Args:
        names: Names of backends: those of ``BACKENDS``, or others that transformers has.

    Raises:
        UnknownNameError: There is no such backend.
        DataError: Its package is missing and no extra brings it; or wandb has neither a login nor its offline mode.
        gymnasium.error.DependencyNotInstalled: Its package is missing.
    """
    for name in names:
        if name not in BACKENDS:
            _check_other(name)
        elif find_spec(name) is None:
            raise missing_package(name, f"Logging to {name}", name)
    if "wandb" in names:
        _check_wandb()


def _check_other(name: str) -> None:
    try:
        from transformers.integrations import integration_utils
    except ImportError as error:
        raise missing_package("transformers", f"Logging to {name}", "train") from error
    known = list(integration_utils.INTEGRATION_TO_CALLBACK)
    if name not in known:
        raise unknown_name("logging backend", name, known)
    if name not in integration_utils.get_available_reporting_integrations():
        raise DataError(f"Logging to {name} needs its package, which is not installed: install it with pip.")


def _check_wandb() -> None:
    wandb = _import_wandb()
    # These settings also hold what `wandb offline` has written into a file; the login is looked up on this machine alone.
    if wandb.setup().settings.mode in _NEEDS_NO_LOGIN or wandb.login(prompt=False, verify=False):
        return
    raise DataError(
        "Logging to wandb needs a login: run `wandb login`, or keep the figures on this machine with WANDB_MODE=offline."
    )


def _import_wandb() -> Any:
    import wandb

    return wandb


def backend_options(names: Sequence[str], run_name: str) -> dict[str, Any]:
    """Return the fields of a trainer's arguments that say how to log.

    Args:
        names: The backends; none is none, whatever is installed.
        run_name: Name of the run, in trackio; wandb has its own from ``wandb_run``.
    """
    options: dict[str, Any] = {"report_to": list(names) or "none"}
    return options | ({"project": PROJECT, "run_name": run_name} if "trackio" in names else {})


@contextmanager
def wandb_run(names: Sequence[str], run_name: str) -> Iterator[None]:
    """Begin a run of wandb and end it after this block, so that the next training in this process has one of its own.

    A run that the caller has begun before is used, and left open. Nothing is done if wandb is not among the backends.

    Args:
        names: The backends.
        run_name: Name of the run.
    """
    if "wandb" not in names or int(os.environ.get("RANK", "0")):
        yield
        return
    wandb = _import_wandb()
    if wandb.run is not None:
        yield
        return
    wandb.init(project=os.environ.get("WANDB_PROJECT", PROJECT), name=os.environ.get("WANDB_NAME", run_name))
    failed = True
    try:
        yield
        failed = False
    finally:
        wandb.finish(exit_code=int(failed))
