"""Asking a model for an answer of a given shape: the ladder of answer formats, the parser, and the one repetition.

Servers differ in what they do with ``response_format``: some follow a JSON schema, some only promise JSON, some refuse
both, and some accept the parameter and ignore it. So an answer is always parsed and never trusted, and the strictest format
that was found to work is remembered for each endpoint and model.
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
"""The steps of the ladder, the strictest first."""

_NOT_UNDERSTOOD = (400, 415, 422)
_THINKING = re.compile(r"\A.*?</think>|\A\s*<think>.*\Z", re.DOTALL)
_LONGEST_SHOWN = 2000


class _WrittenByModel(BaseModel):
    """Keys that were not asked for are ignored; values of a wrong type are not."""

    model_config = ConfigDict(extra="ignore", strict=True)


class VerdictFields(_WrittenByModel):
    """The fields of a verdict, as a model is asked to write them."""

    status: Literal["ok", "error", "unknown"]
    error: str | None = None
    reason: str | None = None
    reflection: str | None = None
    corrected_action: str | None = None


class ExplanationFields(_WrittenByModel):
    """The words for a correction whose action is known already, as a model is asked to write them."""

    error: str
    reason: str
    reflection: str


def explanation(said: VerdictFields | ExplanationFields) -> str:
    """Return the words for what was wrong, why, and what to do instead, as one text."""
    return " ".join(text for text in (said.error, said.reason, said.reflection) if text)


Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class StructuredAnswer(Generic[Shape]):
    """What a model answered to the question for a shape.

    Attributes:
        value: The answer; None if there is none that can be used.
        problem: Why there is none.
        usage: What it cost, the repetition included; None if the endpoint gave no answer.
    """

    value: Shape | None
    problem: str
    usage: Usage | None


def ask_for(
    chat: ChatModel,
    messages: Sequence[dict[str, str]],
    shape: type[Shape],
    check: Callable[[Shape], str | None] = lambda value: None,
) -> StructuredAnswer[Shape]:
    """Ask for an answer of a shape; ask once more, and say what was wrong, if it cannot be used.

    Args:
        chat: The model.
        messages: The question.
        shape: What is wanted.
        check: Returns what else is wrong with an answer of that shape; None if nothing is.

    Raises:
        EndpointError: The endpoint gave no answer; see ``Gateway.ask``.
    """
    usage, problem = Usage(), ""
    for _ in range(2):
        answer, rung = _send(chat, messages, shape)
        usage += answer.usage
        if answer.finish == "refusal":
            return StructuredAnswer(None, f"The model refused to answer: {answer.text[:200]}", usage)
        value, found = read(answer.text, shape)
        wrong = found if value is None else check(value)
        if value is not None and wrong is None:
            return StructuredAnswer(value, "", usage)
        problem = wrong or ""
        if answer.finish == "length":
            problem = f"It was cut off before it was whole. {problem}"
        if answer.finish == "stop" and rung < len(FORMATS) - 1 and not _is_json(answer.text):
            # The server accepted the format and ignored it. (An answer that was cut off says nothing about that.)
            chat.gateway.formats[chat.endpoint.base_url, chat.model] = len(FORMATS) - 1
        messages = [
            *messages,
            {"role": "assistant", "content": answer.text[:_LONGEST_SHOWN] or "(nothing)"},
            {
                "role": "user",
                "content": f"This answer cannot be used. {problem} Answer again, with the JSON object alone.",
            },
        ]
    return StructuredAnswer(None, f"No usable answer, even after asking again: {problem}", usage)


def read(text: str, shape: type[Shape]) -> tuple[Shape | None, str]:
    """Find the first JSON object of a shape in a text.

    Args:
        text: What a model wrote; what it thought aloud in ``<think>`` is skipped.
        shape: What is wanted.

    Returns:
        The object and an empty string, or None and a sentence that says what is wrong.
    """
    problem = "It holds no JSON object."
    for found in _json_objects(_THINKING.sub("", text)):
        try:
            return shape.model_validate(found), ""
        except ValidationError as error:
            problem = f"The JSON object is not right: {first_fault(error)}."
    return None, problem


def _json_objects(text: str) -> Iterator[dict[str, Any]]:
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
            # A request that is refused for another reason is refused in every format, and then nothing is remembered.
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
    # In strict mode servers demand that every key is listed as required and that no other key is allowed.
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
