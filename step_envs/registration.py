"""The ids that Gymnasium knows our environments by, and the tasks behind an id."""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode

from step_envs.core import TextEnv
from step_envs.errors import UnknownEnvironmentError, unknown_name
from step_envs.options import option_names
from step_envs.vector import TextVectorEnv

__all__ = ["env_class", "known_class", "list_tasks", "make_vector", "option_names", "register_all"]

ENTRY_POINTS = {
    "STeP-ALFWorld-v0": "step_envs.alfworld.env:AlfworldEnv",
    "STeP-SciWorld-v0": "step_envs.sciworld.env:SciWorldEnv",
    "STeP-WebShop-v0": "step_envs.webshop.env:WebShopEnv",
}
"""Registered id -> where its environment is."""

REMOTE = "STeP-Remote-v0"
"""Id of an environment that runs on a server; see ``step_envs.serve``."""


def register_all() -> None:
    """Register the ids with Gymnasium; doing it again changes nothing."""
    for env_id, entry_point in (ENTRY_POINTS | {REMOTE: "step_envs.serve.client:RemoteEnv"}).items():
        if env_id not in gym.registry:
            # Named by text, so that specs can be pickled and written as JSON.
            vector = f"{__name__}:{env_id.split('-')[1].lower()}_vector"
            # Without Gymnasium's passive checker, which finds nothing here (the conformance tests run its whole check) and
            # refuses every step of an environment whose very first reset failed, e.g. for a task that does not exist.
            gym.register(env_id, entry_point=entry_point, vector_entry_point=vector, disable_env_checker=True)


def make_vector(
    env_id: str,
    num_envs: int = 1,
    *,
    wrappers: Sequence[Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]] = (),
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    **kwargs: Any,
) -> TextVectorEnv:
    """Make a vector environment of a registered id; this is what its ``vector_entry_point`` calls.

    ``gymnasium.make_vec`` hands no wrappers on to a vector entry point; call this function for them.

    Args:
        env_id: A registered id.
        num_envs: How many environments.
        wrappers: Put around each environment, in this order.
        autoreset_mode: ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``, see ``gymnasium.vector.AutoresetMode``.
        **kwargs: Arguments of each environment.

    Raises:
        UnknownNameError: An argument does not exist.
    """
    modes = [mode.value for mode in AutoresetMode]
    if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in modes:
        raise unknown_name("autoreset_mode", autoreset_mode, modes)

    def make_one() -> gym.Env[Any, Any]:
        # Without the checker, as above: ids that others register have it.
        env = gym.make(env_id, **({"disable_env_checker": True} | kwargs))
        for wrapper in wrappers:
            env = wrapper(env)
        return env

    return TextVectorEnv([make_one] * num_envs, autoreset_mode=autoreset_mode)


alfworld_vector = partial(make_vector, "STeP-ALFWorld-v0")
sciworld_vector = partial(make_vector, "STeP-SciWorld-v0")
webshop_vector = partial(make_vector, "STeP-WebShop-v0")
remote_vector = partial(make_vector, REMOTE)


def env_class(env_id: str) -> type[TextEnv]:
    """Find the class behind a registered id.

    Args:
        env_id: An id registered with Gymnasium, ours or a third party's; as in ``gymnasium.make``, ``module:id`` imports
            the module that registers it first.

    Raises:
        ModuleNotFoundError: The module named is not there.
        UnknownEnvironmentError: The id is not registered; the message names the nearest that are.
        TypeError: What is registered there is not a ``TextEnv``.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    try:
        entry_point = gym.spec(name).entry_point
    except gym.error.UnregisteredEnv as error:
        raise UnknownEnvironmentError(f"Unknown environment {env_id!r}. {_nearest_ids(name)}") from error
    creator: Any = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    if not (isinstance(creator, type) and issubclass(creator, TextEnv)):
        raise TypeError(f"{env_id} is not a step_envs.core.TextEnv but {creator!r}.")
    return creator


def _nearest_ids(name: str) -> str:
    """Name the ids of text environments that are nearest to a name, whatever its letter case."""
    ours = [*ENTRY_POINTS, REMOTE]
    others = [env_id for env_id, spec in gym.registry.items() if _is_text_env(spec.entry_point)]
    ids = {env_id.lower(): env_id for env_id in (*ours, *others)}
    written = {name.lower(), f"step-{name.lower()}-v0"}
    close = [ids[found] for one in sorted(written) for found in difflib.get_close_matches(one, ids, n=1, cutoff=0.6)]
    if close:
        return f"Did you mean {' or '.join(map(repr, dict.fromkeys(close)))}?"
    return f"Known: {', '.join(ids.values())}."


def _is_text_env(entry_point: object) -> bool:
    return isinstance(entry_point, type) and issubclass(entry_point, TextEnv)


def known_class(env_id: str) -> type[TextEnv]:
    """Return the class behind an id that came from outside; if it is not registered here, ``TextEnv`` with its defaults."""
    # Cut off "module:", so that no file and no server can have a module of its choice imported.
    try:
        return env_class(env_id.rpartition(":")[2])
    except (gym.error.Error, TypeError):
        return TextEnv


def list_tasks(env_id: str, split: str | None = None, **kwargs: Any) -> tuple[str, ...]:
    """List the tasks of an environment in their fixed order, without starting an engine.

    Args:
        env_id: A registered id, e.g. ``"STeP-SciWorld-v0"``.
        split: The split; None is the environment's default.
        **kwargs: Arguments that the environment would be made with: ``task_types`` and where the data is.

    Returns:
        Task ids, each of which ``reset(options={"task_id": ...})`` takes.

    Raises:
        UnknownNameError: A split, type or argument does not exist.
        DataError: The data that was named is absent or incomplete.
    """
    cls = env_class(env_id)
    known = option_names(cls)
    for name in kwargs:
        if known is not None and name not in known:
            raise unknown_name(f"option of {env_id}", name, sorted(known))
    task_types = kwargs.pop("task_types", None)
    return tuple(cls.task_set(**kwargs).select(cls.default_split if split is None else split, task_types))
