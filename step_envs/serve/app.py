"""The server's requests and answers: an ASGI application on starlette."""

import hmac
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from step_envs.core import TextEnv
from step_envs.errors import first_fault
from step_envs.serve.protocol import PROTOCOL, RefusedError, describe_error, dump
from step_envs.serve.sessions import EnvSession, HttpAnswer, SessionTable
from step_envs.serve.worlds import Worlds

_BODY_SECONDS = 30.0
_log = logging.getLogger("step_envs.serve")

Body = TypeVar("Body", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _WorldBody(_Body):
    env: str
    options: dict[str, Any] = Field(default_factory=dict)


class _TasksBody(_WorldBody):
    split: str | None = None
    task_types: list[str] | None = None


class _TaskBody(_WorldBody):
    task_id: str


class _OpenBody(_WorldBody):
    key: str | None = Field(None, max_length=200)


class _ResetBody(_Body):
    call: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)


class _StepBody(_Body):
    call: int | None = Field(None, ge=1)
    action: str


class _RestoreBody(_Body):
    call: int | None = Field(None, ge=1)
    snapshot: str


class _AcceptsBody(_Body):
    action: str


class _OracleBody(_Body):
    question: Literal["plan", "next_action", "thought", "is_informative"]
    action: str = ""
    snapshot: str | None = None
    after: list[str] = Field(default_factory=list)


class App:
    """Answers requests.

    Args:
        worlds: What is offered.
        sessions: Where episodes are kept.
        token: What every request but ``/health`` must bear.
        max_body: Most bytes of a request's body.
    """

    def __init__(self, worlds: Worlds, sessions: SessionTable, token: str, max_body: int) -> None:
        self._worlds, self._sessions = worlds, sessions
        self._authorization = b"Bearer " + token.encode("ascii")
        self._max_body = max_body
        # As many as can be at work at once: an engine that hangs holds nobody up but its own session.
        self._threads = anyio.CapacityLimiter(sessions.limit + 8)

    def asgi(self) -> Starlette:
        """Make the application."""
        routes = {
            ("GET", "/health"): self._health,
            ("GET", "/v1"): self._about,
            ("POST", "/v1/worlds"): self._describe,
            ("POST", "/v1/tasks"): self._tasks,
            ("POST", "/v1/task"): self._task,
            ("POST", "/v1/sessions"): self._open,
            ("DELETE", "/v1/sessions/{session}"): self._end,
            ("POST", "/v1/sessions/{session}/reset"): self._reset,
            ("POST", "/v1/sessions/{session}/step"): self._step,
            ("POST", "/v1/sessions/{session}/restore"): self._restore,
            ("GET", "/v1/sessions/{session}/snapshot"): self._snapshot,
            ("GET", "/v1/sessions/{session}/admissible"): self._admissible,
            ("GET", "/v1/sessions/{session}/provenance"): self._provenance,
            ("POST", "/v1/sessions/{session}/accepts"): self._accepts,
            ("POST", "/v1/sessions/{session}/oracle"): self._oracle,
        }
        return Starlette(
            routes=[
                Route(path, self._guarded(handler, open_to_all=path == "/health"), methods=[method])
                for (method, path), handler in routes.items()
            ],
            exception_handlers={HTTPException: _no_such_address},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep)
            yield
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(self._sessions.close)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(min(self._sessions.idle_seconds / 4, 10.0))
            await self._in_thread(self._sessions.sweep)

    def _guarded(
        self, handler: Callable[[Request], Awaitable[HttpAnswer]], *, open_to_all: bool
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            headers = {}
            try:
                if not open_to_all:
                    self._authorize(request)
                status, body = await handler(request)
            except Exception as error:
                told = describe_error(error)
                if told is None:
                    _log.exception("A request failed.")
                    message = f"The server failed ({type(error).__name__}); its log says more."
                    told = 500, {"error": {"type": "InternalError", "message": message}}
                if isinstance(error, RefusedError) and error.retry_after is not None:
                    headers["retry-after"] = str(error.retry_after)
                status, body = told[0], dump(told[1])
            return Response(body, status, headers, media_type="application/json")

        return answer

    def _authorize(self, request: Request) -> None:
        given = next((value for name, value in request.scope["headers"] if name == b"authorization"), b"")
        if not hmac.compare_digest(given, self._authorization):
            raise RefusedError(
                401,
                "Unauthorized",
                "The token is missing or wrong: send the one that the server was started with as "
                "'Authorization: Bearer TOKEN'.",
            )

    async def _read(self, request: Request, cls: type[Body]) -> Body:
        content = bytearray()
        try:
            with anyio.fail_after(_BODY_SECONDS):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > self._max_body:
                        raise RefusedError(
                            413, "TooLarge", f"The body is larger than the {self._max_body} bytes that are taken here."
                        )
        except TimeoutError:
            raise RefusedError(408, "TooSlow", f"The body was not whole within {_BODY_SECONDS:g} s.") from None
        except ClientDisconnect:
            raise RefusedError(400, "BadRequest", "The connection ended within the body.") from None
        try:
            return cls.model_validate(json.loads(content))
        except ValidationError as error:
            raise RefusedError(400, "BadRequest", f"The body is not right: {first_fault(error)}.") from None
        except (ValueError, RecursionError):
            raise RefusedError(400, "BadRequest", "The body is not JSON.") from None

    async def _in_thread(self, do: Callable[[], Any]) -> Any:
        return await anyio.to_thread.run_sync(do, limiter=self._threads)

    # What can be asked of the server.

    async def _health(self, request: Request) -> HttpAnswer:
        return 200, dump({"ok": True})

    async def _about(self, request: Request) -> HttpAnswer:
        from step_envs import __version__

        return 200, dump(
            {
                "protocol": PROTOCOL,
                "step_envs": __version__,
                "environments": self._worlds.ids,
                "sessions": len(self._sessions),
                "max_sessions": self._sessions.limit,
                "idle_seconds": self._sessions.idle_seconds,
                "max_body": self._max_body,
            }
        )

    async def _describe(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _WorldBody)
        return 200, dump(await self._in_thread(partial(self._worlds.describe, body.env, body.options)))

    async def _tasks(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _TasksBody)

        def select() -> HttpAnswer:
            default = self._worlds.describe(body.env, body.options)["default_split"]
            split = default if body.split is None else body.split
            ids = self._worlds.tasks(body.env, body.options).select(split, body.task_types)
            return 200, dump({"split": split, "ids": list(ids)})

        answer: HttpAnswer = await self._in_thread(select)
        return answer

    async def _task(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _TaskBody)

        def look_up() -> HttpAnswer:
            tasks, task_id = self._worlds.tasks(body.env, body.options), body.task_id
            split = tasks.split_of(task_id)
            return 200, dump({"split": split, "type": tasks.type_of(task_id), "max_steps": tasks.max_steps(task_id)})

        answer: HttpAnswer = await self._in_thread(look_up)
        return answer

    async def _open(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _OpenBody)
        make = partial(self._worlds.make, body.env, body.options)
        name = await self._in_thread(partial(self._sessions.open, body.key, make))
        return 201, dump({"session": name, "idle_seconds": self._sessions.idle_seconds})

    # What can be asked of a session.

    async def _end(self, request: Request) -> HttpAnswer:
        await self._in_thread(partial(self._sessions.end, request.path_params["session"]))
        return 200, dump({"closed": True})

    async def _use(self, request: Request, do: Callable[[EnvSession], HttpAnswer]) -> HttpAnswer:
        answer: HttpAnswer = await self._in_thread(partial(self._sessions.use, request.path_params["session"], do))
        return answer

    async def _reset(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _ResetBody)

        def reset(world: TextEnv) -> dict[str, Any]:
            return _told(world, *world.reset(seed=body.seed, options=body.options))

        content = (body.seed, body.options)
        return await self._use(request, lambda session: session.change("reset", body.call, content, reset))

    async def _step(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _StepBody)

        def step(world: TextEnv) -> dict[str, Any]:
            observation, reward, _, _, info = world.step(body.action)
            return _told(world, observation, info) | {"reward": reward}

        return await self._use(request, lambda session: session.change("step", body.call, body.action, step))

    async def _restore(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _RestoreBody)

        def restore(world: TextEnv) -> dict[str, Any]:
            return _told(world, *world.restore(body.snapshot.encode("utf-8", "replace")))

        return await self._use(request, lambda session: session.change("restore", body.call, body.snapshot, restore))

    async def _snapshot(self, request: Request) -> HttpAnswer:
        return await self._use(request, lambda s: (200, dump({"snapshot": s.world().snapshot().decode()})))

    async def _admissible(self, request: Request) -> HttpAnswer:
        return await self._use(request, lambda s: (200, dump({"admissible_actions": s.world().admissible_actions()})))

    async def _provenance(self, request: Request) -> HttpAnswer:
        return await self._use(request, lambda s: (200, dump({"provenance": s.world().provenance()})))

    async def _accepts(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _AcceptsBody)
        return await self._use(request, lambda s: (200, dump({"accepts": s.world().accepts(body.action)})))

    async def _oracle(self, request: Request) -> HttpAnswer:
        body = await self._read(request, _OracleBody)

        def ask(session: EnvSession) -> HttpAnswer:
            oracle = session.world().oracle
            answer: Any
            if body.question == "plan":
                snapshot = None if body.snapshot is None else body.snapshot.encode("utf-8", "replace")
                answer = oracle.plan(snapshot, after=body.after)
            elif body.question == "next_action":
                answer = oracle.next_action()
            elif body.question == "thought":
                answer = oracle.thought(body.action)
            else:
                answer = oracle.is_informative(body.action)
            return 200, dump({"answer": answer})

        return await self._use(request, ask)


def _told(world: TextEnv, observation: str, info: dict[str, Any]) -> dict[str, Any]:
    return {
        "observation": observation,
        "terminated": world.terminated,
        "truncated": world.truncated,
        "info": info,
    }


async def _no_such_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "This address takes another method." if error.status_code == 405 else "There is no such address here."
    body = dump({"error": {"type": "NotFound", "message": what}})
    return Response(body, error.status_code, error.headers, media_type="application/json")
