"""Asking a model for an answer of a given shape: the ladder of answer formats, the parser, and the one repetition.

Servers differ in what they do with ``response_format``: some follow a JSON schema, some only promise JSON, some refuse
both, and some accept the parameter and ignore it. So an answer is always parsed and never trusted, and the strictest format
that was found to work is remembered for each endpoint and model. ``json_answers.py`` finds the object in what was written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from step_envs.endpoint import Answer, AskedModel
from step_envs.errors import RequestRefusedError, first_fault
from step_envs.replies import split_thoughts, without_thoughts
from step_envs.trajectory import ERROR_CATEGORIES, ErrorCategory, Usage
from step_envs.wrappers.teachers.json_answers import find_object, is_json

FORMATS = ("json_schema", "json_object", "text")
"""The steps of the ladder, the strictest first."""

_NOT_UNDERSTOOD = (400, 404, 405, 415, 422, 500, 501)
_NOT_THE_FORMAT = ("quota", "key", "model", "moderation")
"""Kinds of refusals that no other format would change."""
_LONGEST_SHOWN = 2000


def _said(text: str) -> str:
    """Take thoughts out of a field: its text becomes a turn that is trained."""
    thoughts = split_thoughts(text)
    if thoughts.unfinished:
        raise ValueError("it ends within a thought")
    return thoughts.said


def _plain_word(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _known_category(value: Any) -> ErrorCategory | None:
    """Read a category; None for every other value, because a verdict is as good without one."""
    word = _plain_word(value)
    return word if isinstance(word, str) and word in ERROR_CATEGORIES else None


Said = Annotated[str, AfterValidator(_said)]


class _WrittenByModel(BaseModel):
    """Keys that were not asked for are ignored; values of a wrong type are not."""

    model_config = ConfigDict(extra="ignore", strict=True)


class VerdictFields(_WrittenByModel):
    """The fields of a verdict, as a model is asked to write them."""

    status: Annotated[Literal["ok", "error", "unknown"], BeforeValidator(_plain_word)]
    error: Said | None = None
    reason: Said | None = None
    reflection: Said | None = None
    corrected_action: Said | None = None
    category: Annotated[ErrorCategory | None, BeforeValidator(_known_category)] = None


class ExplanationFields(_WrittenByModel):
    """The words for a correction whose action is known already, as a model is asked to write them."""

    error: Said
    reason: Said
    reflection: Said


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
    chat: AskedModel,
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
        # Some servers put the whole answer where others put the thoughts. An agent's action is never read from there.
        text = answer.text if answer.text.strip() else answer.thought
        value, found = read(text, shape, cut_off=answer.finish == "length")
        wrong = found if value is None else check(value)
        if value is not None and wrong is None:
            return StructuredAnswer(value, "", usage)
        problem = wrong or ""
        if answer.finish == "length":
            problem = f"It was cut off before it was whole. {problem}"
        if answer.finish == "stop" and rung < len(FORMATS) - 1 and not is_json(text):
            # The server accepted the format and ignored it. (An answer that was cut off says nothing about that.)
            chat.answer_format = len(FORMATS) - 1
        messages = [
            *messages,
            {"role": "assistant", "content": without_thoughts(answer.text)[:_LONGEST_SHOWN] or "(nothing)"},
            {
                "role": "user",
                "content": f"This answer cannot be used. {problem} Answer again, with the JSON object alone.",
            },
        ]
    return StructuredAnswer(None, f"No usable answer, even after asking again: {problem}", usage)


def read(text: str, shape: type[Shape], *, cut_off: bool = False) -> tuple[Shape | None, str]:
    """Find the JSON object of a shape that a text gives as its answer: the last one.

    Args:
        text: What a model wrote; what it thought aloud is left out.
        shape: What is wanted.
        cut_off: The text ran out of room. Then an object with more text after it may not have been the last.

    Returns:
        The object and an empty string, or None and a sentence that says what is wrong.
    """
    required = [name for name, field in shape.model_fields.items() if field.is_required()]
    found = find_object(text, required)
    if found.value is None or (cut_off and found.followed):
        return None, found.problem or "It goes on after its JSON object."
    try:
        return shape.model_validate(found.value), ""
    except ValidationError as error:
        return None, f"The JSON object is not right: {first_fault(error)}."


def _send(chat: AskedModel, messages: Sequence[dict[str, str]], shape: type[BaseModel]) -> tuple[Answer, int]:
    rung = chat.answer_format
    while True:
        try:
            answer = chat.ask(messages, response_format=_response_format(rung, shape))
        except RequestRefusedError as error:
            # A request that is refused for another reason is refused in every format, and then nothing is remembered.
            if error.status not in _NOT_UNDERSTOOD or error.kind in _NOT_THE_FORMAT or rung == len(FORMATS) - 1:
                raise
            rung += 1
        else:
            if not answer.usage.cached:
                chat.answer_format = max(rung, chat.answer_format)
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
