"""Environments over HTTP: a server that keeps one episode a session, and a client that is again an environment.

Training code in another Python environment, on another machine or in another language plays through the protocol that
docs/serving.md describes. The server needs the extra ``serve``; the client (``STeP-Remote-v0``) needs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from step_envs.serve.client import RemoteEnv
    from step_envs.serve.server import EnvServer

__all__ = ["EnvServer", "RemoteEnv"]

_LAZY = {"EnvServer": "step_envs.serve.server", "RemoteEnv": "step_envs.serve.client"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
