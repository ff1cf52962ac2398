"""How a model is asked for an answer of a given shape: the ladder of answer formats, the parse, and the one re-ask.

Servers differ in what they do with ``response_format``: some keep to a JSON schema, some only to JSON, some refuse either,
and some accept it and pay no heed. So what comes back is always parsed and never trusted, and the most exacting format that
was found to work is remembered for each endpoint and model.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from step_envs.endpoint import Answer, ChatModel
from step_envs.errors import RequestRefusedError, first_fault
from step_envs.trajectory import Usage

FORMATS = ("json_schema", "json_object", "text")
"""The rungs, the most exacting first."""

_NOT_UNDERSTOOD = (400, 415, 422)
_THINKING = re.compile(r"\A.*?</think>|\A\s*<think>.*\Z", re.DOTALL)
_LONGEST_SHOWN = 2000


class WireVerdict(BaseModel):
    """A verdict as a model writes it; further keys are passed over, wrong types are not."""

    model_config = ConfigDict(extra="ignore", strict=True)

    status: Literal["ok", "error", "unknown"]
    error: str | None = None
    reason: str | None = None
    reflection: str | None = None
    corrected_action: str | None = None


class WireWords(BaseModel):
    """The words for a correction whose action is known already."""

    model_config = ConfigDict(extra="ignore", strict=True)

    error: str
    reason: str
    reflection: str


Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Shape]):
    """What came of asking.

    Attributes:
        value: The answer, or None.
        problem: Why there is none.
        usage: What it cost, re-ask included.
    """

    value: Shape | None
    problem: str
    usage: Usage


def ask_for(
    chat: ChatModel,
    messages: Sequence[dict[str, str]],
    shape: type[Shape],
    check: Callable[[Shape], str | None] = lambda value: None,
) -> Outcome[Shape]:
    """Ask for an answer of a shape; ask once more, with what was wrong, if it cannot be used.

    Args:
        chat: Who is asked.
        messages: The question.
        shape: What is wanted.
        check: Says what else is wrong with an answer of that shape; None where nothing is.

    Raises:
        EndpointError: See ``Gateway.ask``.
    """
    usage, problem = Usage(), ""
    for _ in range(2):
        answer, rung = _send(chat, messages, shape)
        usage += answer.usage
        if answer.finish == "refusal":
            return Outcome(None, f"The model refused to answer: {answer.text[:200]}", usage)
        value, found = read(answer.text, shape)
        wrong = found if value is None else check(value)
        if value is not None and wrong is None:
            return Outcome(value, "", usage)
        problem = wrong or ""
        if answer.finish == "length":
            problem = f"It was cut off before it was whole. {problem}"
        if answer.finish == "stop" and rung < len(FORMATS) - 1 and not _is_json(answer.text):
            # The server took the format and paid no heed to it. (One that was cut off may have been heeding it.)
            chat.gateway.formats[chat.endpoint.base_url, chat.model] = len(FORMATS) - 1
        messages = [
            *messages,
            {"role": "assistant", "content": answer.text[:_LONGEST_SHOWN] or "(nothing)"},
            {
                "role": "user",
                "content": f"This answer cannot be used. {problem} Answer again, with the JSON object alone.",
            },
        ]
    return Outcome(None, f"No usable answer, even after asking again: {problem}", usage)


def read(text: str, shape: type[Shape]) -> tuple[Shape | None, str]:
    """Find the first JSON object in a text that is of a shape.

    Args:
        text: What a model wrote; what it thought aloud in ``<think>`` is passed over.
        shape: What is wanted.

    Returns:
        The object, or None and what is wrong in one sentence.
    """
    problem = "It holds no JSON object."
    for found in _objects(_THINKING.sub("", text)):
        try:
            return shape.model_validate(found), ""
        except ValidationError as error:
            problem = f"The JSON object is not right: {first_fault(error)}."
    return None, problem


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield found
        start = text.find("{", end)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _send(chat: ChatModel, messages: Sequence[dict[str, str]], shape: type[BaseModel]) -> tuple[Answer, int]:
    formats, who = chat.gateway.formats, (chat.endpoint.base_url, chat.model)
    rung = formats.get(who, 0)
    while True:
        try:
            answer = chat.ask(messages, response_format=_response_format(rung, shape))
        except RequestRefusedError as error:
            # Refused for another reason, it is refused on every rung, and then nothing is remembered.
            if error.status not in _NOT_UNDERSTOOD or rung == len(FORMATS) - 1:
                raise
            rung += 1
        else:
            if not answer.usage.cached:
                formats[who] = max(rung, formats.get(who, 0))
            return answer, rung


@cache
def _response_format(rung: int, shape: type[BaseModel]) -> dict[str, Any] | None:
    kind = FORMATS[rung]
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    properties = {
        name: {key: value for key, value in field.items() if key not in ("title", "default")}
        for name, field in shape.model_json_schema()["properties"].items()
    }
    # Strict schemas want every key named as required and no other key.
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
