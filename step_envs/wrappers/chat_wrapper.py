"""The base of the wrappers around a chat."""

from typing import Any

import gymnasium as gym
from typing_extensions import override

from step_envs.options import NamesOptions


class ChatWrapper(NamesOptions, gym.Wrapper[str, str, str, str]):
    """A wrapper whose attributes are computed once when they are asked for through the stack of wrappers.

    Gymnasium asks every wrapper whether it has an attribute before it reads it, so that a property is computed twice. Those
    of a chat are a whole conversation and a whole trajectory.
    """

    @override
    def get_wrapper_attr(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            return super().get_wrapper_attr(name)
