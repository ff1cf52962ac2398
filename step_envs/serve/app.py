"""The server's requests and answers: an ASGI application on starlette.

Everything that may take long happens in a thread of its own: what is asked of a session in that session's, what is asked of
a world in that world's. The event loop only reads, compares tokens and hands on, so that ``/health`` answers at once.
"""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from step_envs.core import TextEnv
from step_envs.serve import bodies
from step_envs.serve.bodies import BodyReader, check_json
from step_envs.serve.call_queue import CallQueue
from step_envs.serve.fault_log import FaultLog
from step_envs.serve.limits import Limits
from step_envs.serve.protocol import PROTOCOL, RefusedError, describe_error, dump
from step_envs.serve.sessions import EnvSession, HttpAnswer, SessionTable
from step_envs.serve.worlds import Worlds

_CLOSING_SECONDS = 2.0


class App:
    """Answers requests.

    Args:
        worlds: What is offered.
        sessions: Where episodes are kept.
        token: What every request but ``/health`` must bear.
        limits: How much is taken.
    """

    def __init__(self, worlds: Worlds, sessions: SessionTable, token: str, limits: Limits) -> None:
        self._worlds, self._sessions, self._limits = worlds, sessions, limits
        self._token = token.encode("ascii")
        self._bodies = BodyReader(limits)
        self._questions = {
            env_id: CallQueue(f"answers about {env_id}", limits.max_connections) for env_id in worlds.ids
        }
        self._faults = FaultLog()

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

    def give_up(self) -> None:
        """Answer every request under way that the server is shutting down."""
        error = RefusedError(503, "Busy", "The server is shutting down.", retry_after=5)
        self._sessions.give_up(error)
        self._bodies.give_up(error)
        for queue in self._questions.values():
            queue.give_up(error)

    def close(self) -> None:
        """Close all sessions and answer no more."""
        self._sessions.close()
        self._bodies.close()
        for queue in self._questions.values():
            queue.stop()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep)
            yield
            tasks.cancel_scope.cancel()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(min(self._sessions.idle_seconds / 4, 10.0))
            await anyio.to_thread.run_sync(self._sessions.sweep, abandon_on_cancel=True)

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
                    self._faults.record(error)
                    message = f"The server failed ({type(error).__name__}); its log says more."
                    told = 500, {"error": {"type": "InternalError", "message": message}}
                if isinstance(error, RefusedError) and error.retry_after is not None:
                    headers["retry-after"] = str(error.retry_after)
                status, body = told[0], dump(told[1])
            return Response(body, status, headers, media_type="application/json")

        return answer

    def _authorize(self, request: Request) -> None:
        given = next((value for name, value in request.scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(b" "), self._token):
            raise RefusedError(
                401,
                "Unauthorized",
                "The token is missing or wrong: send the one that the server was started with as "
                "'Authorization: Bearer TOKEN'.",
            )
        if not request.state.connection.admit():
            raise RefusedError(
                503,
                "Busy",
                f"All {self._limits.max_connections} connections are in use: close some, send the requests of a session "
                "over one connection, or start the server with more sessions (--max-sessions).",
                retry_after=1,
            )

    async def _about_world(self, body: bodies.WorldBody, do: Callable[[], HttpAnswer]) -> HttpAnswer:
        answer: HttpAnswer = await _result(self._questions[self._worlds.name_of(body.env)].submit(do))
        return answer

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
                "max_body": self._limits.max_body,
                "max_snapshot": self._limits.max_snapshot,
                "max_queue": self._limits.max_queue,
            }
        )

    async def _describe(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.WorldBody)
        return await self._about_world(body, lambda: (200, dump(self._worlds.describe(body.env, body.options))))

    async def _tasks(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.TasksBody)

        def select() -> HttpAnswer:
            default = self._worlds.describe(body.env, body.options)["default_split"]
            split = default if body.split is None else body.split
            ids = self._worlds.tasks(body.env, body.options).select(split, body.task_types)
            return 200, dump({"split": split, "ids": list(ids)})

        return await self._about_world(body, select)

    async def _task(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.TaskBody)

        def look_up() -> HttpAnswer:
            tasks, task_id = self._worlds.tasks(body.env, body.options), body.task_id
            split = tasks.split_of(task_id)
            return 200, dump({"split": split, "type": tasks.type_of(task_id), "max_steps": tasks.max_steps(task_id)})

        return await self._about_world(body, look_up)

    async def _open(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.OpenBody)
        make = partial(self._worlds.make, body.env, body.options)
        name = await _result(self._sessions.open(body.key, make))
        return 201, dump({"session": name, "idle_seconds": self._sessions.idle_seconds})

    # What can be asked of a session.

    async def _end(self, request: Request) -> HttpAnswer:
        # A call that hangs keeps the environment from being closed, and nobody from going on.
        closed = asyncio.wrap_future(self._sessions.end(request.path_params["session"]))
        await asyncio.wait({closed}, timeout=_CLOSING_SECONDS)
        return 200, dump({"closed": True})

    async def _use(self, request: Request, do: Callable[[EnvSession], HttpAnswer]) -> HttpAnswer:
        answer: HttpAnswer = await _result(self._sessions.use(request.path_params["session"], do))
        return answer

    async def _reset(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.ResetBody)

        def reset(world: TextEnv) -> dict[str, Any]:
            return _told(world, *world.reset(seed=body.seed, options=body.options))

        return await self._use(
            request,
            lambda session: session.change(
                "reset", body.call, json.dumps([body.seed, body.options], sort_keys=True), reset
            ),
        )

    async def _step(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.StepBody)

        def step(world: TextEnv) -> dict[str, Any]:
            observation, reward, _, _, info = world.step(body.action)
            return _told(world, observation, info) | {"reward": reward}

        return await self._use(request, lambda session: session.change("step", body.call, body.action, step))

    async def _restore(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.RestoreBody)

        def restore(world: TextEnv) -> dict[str, Any]:
            check_json(body.snapshot)
            return _told(world, *world.restore(body.snapshot.encode("utf-8", "replace")))

        return await self._use(request, lambda session: session.change("restore", body.call, body.snapshot, restore))

    async def _snapshot(self, request: Request) -> HttpAnswer:
        return await self._use(request, lambda s: (200, dump({"snapshot": s.world().snapshot().decode()})))

    async def _admissible(self, request: Request) -> HttpAnswer:
        return await self._use(request, lambda s: (200, dump({"admissible_actions": s.world().admissible_actions()})))

    async def _provenance(self, request: Request) -> HttpAnswer:
        return await self._use(request, lambda s: (200, dump({"provenance": s.world().provenance()})))

    async def _accepts(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.AcceptsBody)
        return await self._use(request, lambda s: (200, dump({"accepts": s.world().accepts(body.action)})))

    async def _oracle(self, request: Request) -> HttpAnswer:
        body = await self._bodies.read(request, bodies.OracleBody)

        def ask(session: EnvSession) -> HttpAnswer:
            oracle = session.world().oracle
            answer: Any
            if body.question == "plan":
                snapshot = None
                if body.snapshot is not None:
                    check_json(body.snapshot)
                    snapshot = body.snapshot.encode("utf-8", "replace")
                answer = oracle.plan(snapshot, after=body.after)
            elif body.question == "next_action":
                answer = oracle.next_action()
            elif body.question == "thought":
                answer = oracle.thought(body.action)
            else:
                answer = oracle.is_informative(body.action)
            return 200, dump({"answer": answer})

        return await self._use(request, ask)


async def _result(future: "Future[Any]") -> Any:
    return await asyncio.wrap_future(future)


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
