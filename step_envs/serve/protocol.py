"""The protocol of server and client: its version and names, and errors as JSON.

An error is ``{"error": {"type": ..., "message": ...}}``. The types that an environment raises at home are raised again,
by the same name, at the client; the others are the server's own.
"""

import json
from typing import Any

from gymnasium.error import DependencyNotInstalled, ResetNeeded

from step_envs.errors import DataError, EngineError, RemoteError, SnapshotError, UnknownNameError

PROTOCOL = "step-serve/1"
"""The protocol version of this server and client."""

TOKEN_VARIABLE = "STEP_ENVS_SERVE_TOKEN"
"""Environment variable that both sides take the token from."""

RAISED_AGAIN: dict[str, type[Exception]] = {
    cls.__name__: cls
    for cls in (
        UnknownNameError,
        SnapshotError,
        DataError,
        EngineError,
        ResetNeeded,
        DependencyNotInstalled,
        TypeError,
        ValueError,
    )
}
"""Errors, by name, that the client raises as a local environment would."""

_STATUS = {"ResetNeeded": 409, "DataError": 500, "EngineError": 500, "DependencyNotInstalled": 500}


class RefusedError(Exception):
    """The server refuses to carry out a request.

    Attributes:
        status: The HTTP status.
        kind: The error's ``type`` on the wire.
        retry_after: Seconds after which asking again may help; None where it never does.
    """

    def __init__(self, status: int, kind: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.retry_after = status, kind, retry_after


def dump(value: Any) -> bytes:
    """Write JSON in ASCII, because text of an environment may hold a lone surrogate, which UTF-8 cannot encode."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def describe_error(error: Exception) -> tuple[int, dict[str, Any]] | None:
    """Describe an error for the client.

    Returns:
        HTTP status and body; None for an error that nobody foresaw.
    """
    if isinstance(error, RefusedError):
        return error.status, {"error": {"type": error.kind, "message": str(error)}}
    for cls in type(error).__mro__:
        if RAISED_AGAIN.get(cls.__name__) is cls:
            name = cls.__name__
            return _STATUS.get(name, 400), {"error": {"type": name, "message": str(error)}}
    return None


def raise_again(body: Any, status: int, where: str) -> None:
    """Raise the error that a server's answer tells of, if it tells of one.

    Raises:
        RemoteError: The server refuses, or the answer is not one of this protocol.
        Exception: One of ``RAISED_AGAIN``.
    """
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        cls = RAISED_AGAIN.get(str(error.get("type")))
        if cls is not None:
            raise cls(error["message"])
        raise RemoteError(f"{where} says: {error['message']}")
    if status >= 400 or not isinstance(body, dict):
        raise RemoteError(f"{where} does not answer like a server of step-envs (status {status}).")
