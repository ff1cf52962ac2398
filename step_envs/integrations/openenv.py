"""Worlds for OpenEnv: a server for its clients, with the tasks of a world as its Task API shows them.

OpenEnv plays bare actions, not chats, so this builds on the environment itself. A session is a WebSocket connection with an
environment of its own; the protocol has reset, step and state. What goes over the line is in ``openenv_client``, what a
session does in ``openenv_environment``.

Snapshots and questions to the oracle go beyond the protocol, and an agent that could use them would cheat. So they have to
be allowed by ``create_app(..., extensions=True)``. They are fields of actions and of reset, which OpenEnv's own client can
send, and not MCP tools, which OpenEnv offers to agents.

Ran with openenv 0.10.0.
"""

import hmac
from functools import partial
from typing import Any

from step_envs.errors import StepEnvsError, missing_package
from step_envs.integrations.openenv_client import (
    ExtendedAction,
    TextAction,
    TextEnvClient,
    TextObservation,
    TextState,
)
from step_envs.integrations.openenv_environment import CALLERS_FAULTS, TextEnvironment, WorldPool

try:
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import JSONResponse
    from openenv.core.env_server.http_server import create_fastapi_app
    from openenv.core.env_server.types import ConcurrencyConfig
except ModuleNotFoundError as error:
    raise missing_package("openenv", "The adapter for OpenEnv", "openenv") from error

__all__ = [
    "ExtendedAction",
    "TextAction",
    "TextEnvClient",
    "TextEnvironment",
    "TextObservation",
    "TextState",
    "WorldPool",
    "create_app",
]

_WRONG_REQUEST = (*CALLERS_FAULTS, IndexError)


class _TokenGate:
    """Lets only requests with the token through; OpenEnv's clients send it with ``headers=``."""

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._wanted = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "lifespan" or scope["path"] == "/health" or hmac.compare_digest(given, self._wanted):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            said = {"detail": "The token is missing or wrong: send it as 'Authorization: Bearer TOKEN'."}
            await JSONResponse(said, 401)(scope, receive, send)


def create_app(
    env_id: str,
    *,
    max_sessions: int = 64,
    idle_seconds: float | None = 600.0,
    extensions: bool = False,
    token: str | None = None,
    **options: Any,
) -> FastAPI:
    """Make the application that serves a world to OpenEnv's clients: ``uvicorn.run(create_app("STeP-ALFWorld-v0"))``.

    Args:
        env_id: Id of the environment.
        max_sessions: Most sessions at once.
        idle_seconds: Seconds without a step after which a session is closed; None is never.
        extensions: Let clients take snapshots, go back to them, and ask the oracle.
        token: What clients must present, but for ``/health``; None lets everybody in.
        **options: What all environments are made with; clients can change none of it.

    Raises:
        UnknownNameError: There is no such environment, split, task type or option.
        DataError: Data that was named is absent.
    """
    pool = WorldPool(env_id, options)
    app = create_fastapi_app(
        partial(TextEnvironment, pool, extensions=extensions),
        ExtendedAction if extensions else TextAction,
        TextObservation,
        concurrency_config=ConcurrencyConfig(max_concurrent_envs=max_sessions, session_timeout=idle_seconds),
        env_name=pool.env_id,
        state_cls=TextState,
    )
    app.router.on_shutdown.append(pool.close)
    for kind in (StepEnvsError, HTTPException, *_WRONG_REQUEST):
        app.add_exception_handler(kind, _tell)
    if token is not None:
        app.add_middleware(_TokenGate, token=token)
    return app


async def _tell(_request: Request, error: Exception) -> JSONResponse:
    """Answer with the sentence of an error; OpenEnv answers most of them with status 500 and no word."""
    if isinstance(error, HTTPException):
        # What OpenEnv made of an IndexError says less than the error itself.
        said = str(error.__cause__) if isinstance(error.__cause__, IndexError) else error.detail
        return JSONResponse({"detail": said}, error.status_code)
    return JSONResponse({"detail": str(error)}, 400 if isinstance(error, _WRONG_REQUEST) else 500)
