"""The environments that a server offers, the options that clients may set, and their descriptions.

A client may set what changes its own episodes. What names something on the host, makes it write to its disk or terminal, or
makes it keep any amount of memory, is for whoever starts the server (``host_options`` and ``client_limits`` of a world).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import gymnasium as gym

from step_envs.core import TextEnv
from step_envs.errors import unknown_name
from step_envs.registration import ENTRY_POINTS, env_class, option_names
from step_envs.serve.protocol import PROTOCOL, RefusedError
from step_envs.tasks import TaskSet

_TASK_SETS_KEPT = 16
_HOST_OPTIONS = ("render_mode",)
"""Of all worlds: ``render_mode="human"`` prints every step to the terminal of the host, or into its log."""


class Worlds:
    """The environments that a server offers.

    Args:
        env_ids: Registered ids; ``module:id`` imports the module first. None offers the three of this package.
        options: What they are all made with; clients cannot change it.

    Raises:
        UnknownNameError: An id is not registered, or an environment has no such option.
        TypeError: An environment is not one of text.
    """

    def __init__(self, env_ids: Sequence[str] | None = None, options: Mapping[str, Any] | None = None) -> None:
        self._options = dict(options or {})
        self._classes: dict[str, type[TextEnv]] = {}
        for env_id in env_ids or ENTRY_POINTS:
            try:
                cls = env_class(env_id)
            except gym.error.UnregisteredEnv as error:
                raise unknown_name("environment", env_id, ENTRY_POINTS) from error
            self._classes[env_id.rpartition(":")[2]] = cls
            known = option_names(cls)
            for name in self._options:
                if known is not None and name not in known:
                    raise unknown_name(f"option of {env_id}", name, known)
        self._task_set = lru_cache(_TASK_SETS_KEPT)(self._find_tasks)

    @property
    def ids(self) -> tuple[str, ...]:
        """The environments, by the names that clients use."""
        return tuple(self._classes)

    def make(self, env_id: str, options: Mapping[str, Any]) -> TextEnv:
        """Make an environment.

        Raises:
            RefusedError: The client asks for what only the server may set.
            UnknownNameError: There is no such environment or option.
        """
        made = self._allowed(env_id, options)
        try:
            # Only the name: Gymnasium would import the module that a client may have written before it.
            world = gym.make(self.name_of(env_id), **made).unwrapped
        except TypeError as error:
            raise ValueError(f"{env_id} cannot be made with {dict(options)}: {error}.") from error
        assert isinstance(world, TextEnv)
        return world

    def describe(self, env_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a client needs to know about an environment."""
        tasks, cls = self.tasks(env_id, options), self._class(env_id)
        return {
            "protocol": PROTOCOL,
            "env_id": cls.env_id,
            "splits": list(tasks.splits),
            "default_split": cls.default_split,
            "types": list(tasks.types),
            "react": asdict((cls.brief_react if options.get("brief") else None) or cls.react),
            "max_errors": cls.max_errors,
            "reset_options": list(cls.reset_options),
        }

    def tasks(self, env_id: str, options: Mapping[str, Any]) -> TaskSet:
        """Return the tasks of an environment; those last asked for are kept."""
        made = self._allowed(env_id, options)
        return self._task_set(self.name_of(env_id), json.dumps(made, sort_keys=True))

    def _find_tasks(self, env_id: str, options: str) -> TaskSet:
        return self._class(env_id).task_set(**json.loads(options))

    def name_of(self, env_id: str) -> str:
        """Return the name of an environment that a client asks for.

        Raises:
            UnknownNameError: There is no such environment here.
        """
        name = env_id.rpartition(":")[2]
        if name not in self._classes:
            raise unknown_name("environment of this server", env_id, self._classes)
        return name

    def _class(self, env_id: str) -> type[TextEnv]:
        return self._classes[self.name_of(env_id)]

    def _allowed(self, env_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
        cls = self._class(env_id)
        known = option_names(cls)
        for name, value in options.items():
            if name in cls.host_options or name in _HOST_OPTIONS or name in self._options:
                raise RefusedError(
                    400,
                    "NotYours",
                    f"The option {name!r} is the server's to set, not a client's: leave it out, or start the server with "
                    f"--env-option {name}=VALUE.",
                )
            if known is not None and name not in known:
                raise unknown_name(f"option of {env_id}", name, known)
            most = cls.client_limits.get(name)
            if most is not None and isinstance(value, int | float) and value > most:
                raise RefusedError(
                    400,
                    "NotYours",
                    f"The option {name!r} is at most {most} for a client: take a smaller number, or start the server with "
                    f"--env-option {name}=NUMBER.",
                )
        return {**self._options, **options}
