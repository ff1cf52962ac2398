"""The ids that Gymnasium knows our environments by, and the tasks behind an id."""

import inspect
from functools import partial
from importlib import import_module
from typing import Any, Unpack, get_args, get_origin, get_type_hints

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from step_envs.core import TextEnv
from step_envs.errors import unknown_name
from step_envs.vector import TextVectorEnv

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
            gym.register(env_id, entry_point=entry_point, vector_entry_point=vector)


def make_vector(env_id: str, num_envs: int = 1, **kwargs: Any) -> TextVectorEnv:
    """Make a vector environment of a registered id; this is what its ``vector_entry_point`` calls."""
    return TextVectorEnv([lambda: gym.make(env_id, **kwargs)] * num_envs)


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
        gymnasium.error.NameNotFound: The id is not registered.
        TypeError: What is registered there is not a ``TextEnv``.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    entry_point = gym.spec(name).entry_point
    creator: Any = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    if not (isinstance(creator, type) and issubclass(creator, TextEnv)):
        raise TypeError(f"{env_id} is not a step_envs.core.TextEnv but {creator!r}.")
    return creator


def known_class(env_id: str) -> type[TextEnv]:
    """Return the class behind an id that came from outside; if it is not registered here, ``TextEnv`` with its defaults."""
    # Cut off "module:", so that no file and no server can have a module of its choice imported.
    try:
        return env_class(env_id.rpartition(":")[2])
    except (gym.error.Error, TypeError):
        return TextEnv


def option_names(cls: type[TextEnv]) -> frozenset[str] | None:
    """Return the names of the arguments that an environment takes; None if it takes any (``**kwargs``)."""
    names = set(cls.more_options)
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            names.add(parameter.name)
            continue
        try:
            handed_on = get_type_hints(cls.__init__).get(parameter.name)
        except NameError:  # an annotation that was imported for type checkers only
            return None
        if get_origin(handed_on) is not Unpack:
            return None
        # Typed **options: the names are those of the TypedDict.
        names.update(get_type_hints(get_args(handed_on)[0]))
    return frozenset(names - {"self"})


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
