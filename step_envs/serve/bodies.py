"""The bodies of requests: what fields they have, and how they are read within bounds of time, size and depth.

Small bodies are parsed at once. Larger ones are parsed by a thread, because a body can be made so that parsing it takes
many times as long as parsing an honest one, and the event loop serves everybody.
"""

import asyncio
import json
from typing import Annotated, Any, Literal, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request

from step_envs.errors import first_fault
from step_envs.serve.call_queue import CallQueue
from step_envs.serve.limits import DEEPEST_JSON, LARGEST_BODY, LONGEST_PLAN_QUESTION, MOST_VALUES, Limits
from step_envs.serve.protocol import RefusedError

_SMALL = 4096

Body = TypeVar("Body", bound="BodyModel")


class BodyModel(BaseModel):
    """A body; fields that it does not name are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class WorldBody(BodyModel):
    """Names an environment."""

    env: str = Field(max_length=200)
    options: dict[str, Any] = Field(default_factory=dict)


class TasksBody(WorldBody):
    """Asks for tasks."""

    split: str | None = None
    task_types: list[str] | None = None


class TaskBody(WorldBody):
    """Asks about one task."""

    task_id: str


class OpenBody(WorldBody):
    """Opens a session."""

    key: str | None = Field(None, max_length=200)


class ResetBody(BodyModel):
    """Begins an episode."""

    call: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)


class StepBody(BodyModel):
    """Carries out an action."""

    call: int | None = Field(None, ge=1)
    action: str


class RestoreBody(BodyModel):
    """Goes back to a snapshot."""

    call: int | None = Field(None, ge=1)
    snapshot: str


class AcceptsBody(BodyModel):
    """Asks whether an action would be understood."""

    action: str


class OracleBody(BodyModel):
    """Asks the oracle."""

    question: Literal["plan", "next_action", "thought", "is_informative"]
    action: str = ""
    snapshot: str | None = None
    after: Annotated[list[str], Field(max_length=LONGEST_PLAN_QUESTION)] = Field(default_factory=list)


class BodyReader:
    """Reads bodies.

    Args:
        limits: Those of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = CallQueue("the reader of large bodies", limits.max_connections)

    async def read(self, request: Request, model: type[Body]) -> Body:
        """Read the body of a request.

        Raises:
            RefusedError: It is too large, too slow, no JSON, nested too deeply, or not what ``model`` describes.
        """
        holds_snapshot = "snapshot" in model.model_fields
        content = await self._receive(request, self._limits.max_snapshot if holds_snapshot else self._limits.max_body)
        if len(content) <= _SMALL:
            return _parse(content, model)
        body: Body = await asyncio.wrap_future(self._parser.submit(lambda: _parse(content, model)))
        return body

    def give_up(self, error: Exception) -> None:
        """Answer every request whose body is still being parsed with an error."""
        self._parser.give_up(error)

    def close(self) -> None:
        """Read no more."""
        self._parser.stop()

    async def _receive(self, request: Request, limit: int) -> bytes:
        too_large = RefusedError(413, "TooLarge", f"The body is larger than the {limit} bytes that are taken here.")
        announced = request.headers.get("content-length", "")
        # The number of digits first: Python refuses to read a number of thousands of digits.
        if len(announced) > 18 or (announced.isdigit() and int(announced) > limit):
            raise too_large
        content = bytearray()
        seconds = self._limits.body_seconds
        try:
            with anyio.fail_after(seconds):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > limit:
                        raise too_large
        except TimeoutError:
            raise RefusedError(408, "TooSlow", f"The body was not whole within {seconds:g} s.") from None
        except ClientDisconnect:
            raise RefusedError(400, "BadRequest", "The connection ended within the body.") from None
        return bytes(content)


def check_json(text: str) -> None:
    """Refuse a JSON text that takes much more memory than it has characters, or that is nested too deeply.

    What is no JSON at all passes: whoever reads the text says so.

    Raises:
        RefusedError: It does.
    """
    if text.count("[") + text.count("{") + text.count(",") > MOST_VALUES:
        raise _too_many_values()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    _check_depth(value)


def _parse(content: bytes, model: type[Body]) -> Body:
    try:
        if (
            len(content) > LARGEST_BODY
            and content.count(b"[") + content.count(b"{") + content.count(b",") > MOST_VALUES
        ):
            raise _too_many_values()
        value = json.loads(content)
        _check_depth(value)
        return model.model_validate(value)
    except ValidationError as error:
        raise RefusedError(400, "BadRequest", f"The body is not right: {first_fault(error)}.") from None
    except (ValueError, RecursionError):
        raise RefusedError(400, "BadRequest", "The body is not JSON.") from None


def _too_many_values() -> RefusedError:
    return RefusedError(413, "TooLarge", f"The JSON text has more than the {MOST_VALUES:,} values that are taken here.")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise RefusedError(
        400,
        "BadRequest",
        f"Lists and objects are nested more deeply than the {DEEPEST_JSON} levels that are taken here.",
    )
