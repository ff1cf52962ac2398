"""The forms in which a reply can name its thought and its action, each under a name.

- ``react``: ``Thought: ...`` / ``Action: ...``, as in ETO's data. The default.
- ``action-tags``: ``<think>...</think><action>...</action>``, as verl-agent and RAGEN train it.
- ``tool-calls``: a tool call, as servers of OpenAI's interface return it.

A format is what the manual asks for, what a reply is read as, and how a teacher or the oracle writes one. All three are in
one class, so that the data of one run is in one format.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from typing_extensions import override

from step_envs.errors import unknown_name
from step_envs.replies.thoughts import Segment
from step_envs.replies.tool_calls import TOOL, find_tool_call, write_tool_call
from step_envs.replies.turn_ends import end_after_action, end_before_action, without_marks, without_opening

ReplyFormatName = Literal["react", "action-tags", "tool-calls"]

REACT_FORM = """\
Answer every observation with one thought and one action, in exactly this form:
Thought: why you take the next step
Action: the next step"""
"""How the manuals of the worlds ask for a ReAct reply."""

_LABEL = re.compile(r"Action:\s?")
_ANY_LABEL = re.compile(
    r"(?:\A|(?<=\n))[ \t>#~•+\-]{0,20}(?:\*[ \t])?(?:\d{1,3}[.)]\s)?(?P<found>[*_`\[(]{0,3}(?:next |my |final )?action"
    r"(?:[ \t]?\d{1,4})?[*_`\])]{0,3}[ \t]?[:：﹕=][*_`]{0,3})[ \t]?",
    re.IGNORECASE,
)
_TAG = re.compile(r"<\s{0,4}(?P<name>action|answer)\b[^<>]{0,80}>", re.IGNORECASE)
_END_TAG = re.compile(r"<\s{0,4}[/\\]\s{0,4}(?:action|answer)\b[^<>]{0,20}>", re.IGNORECASE)
_BULLET = re.compile(r"\A(?:[-•*+][ \t]+|\d{1,3}[.)][ \t]+|>[ \t]*)")
_FENCE = re.compile(r"\A```[\w-]{0,20}[ \t]*\n?")
_PAIRS = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "*": "*", "_": "_"}


@dataclass(frozen=True, slots=True)
class FormatReading:
    """What a format finds in the text of a reply.

    Attributes:
        content: The part of the reply that is its writer's own: what is kept and trained on.
        action: The action; None if there is none.
        complete: Something after the action ended it, so that a token limit cannot have cut it.
        found: What stands where the action's label should be, if it is something that is known, e.g. ``**Action:**``.
    """

    content: str
    action: str | None = None
    complete: bool = False
    found: str | None = None


class ReplyParts(NamedTuple):
    """Thought and action of a reply whose writer knows them, before they are written in a format."""

    thought: str
    action: str


class ReplyFormat(ABC):
    """One form of replies."""

    name: ClassVar[ReplyFormatName]

    instruction: ClassVar[str]
    """What the manual says about the form."""

    tools: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Tools that a model is offered beside the conversation, as the API of OpenAI takes them."""

    expects: ClassVar[str]
    """What the format message says that a reply must contain."""

    @abstractmethod
    def read(self, segments: tuple[Segment, ...], *, tolerant: bool) -> FormatReading:
        """Read a reply.

        Args:
            segments: The reply, taken apart into what is said and what is thought.
            tolerant: Also take an action whose label or form is a common variant of the right one.
        """

    @abstractmethod
    def write(self, thought: str, action: str) -> str:
        """Write a reply that ``read`` reads back.

        Args:
            thought: Any text; it is put on one line, without marks of any chat template or format.
            action: The action, on one line.
        """

    def manual(self, manual: str) -> str:
        """Return a world's manual with the form of this format in place of the ReAct form."""
        if REACT_FORM in manual:
            return manual.replace(REACT_FORM, self.instruction)
        return f"{manual}\n\n{self.instruction}"

    def format_error(self, format_error: str) -> str:
        """Return the format message of a world in terms of this format."""
        head, found, _ = format_error.partition("The input must contain")
        return f"{head}The input must contain {self.expects}" if found else format_error


class ReactFormat(ReplyFormat):
    """``Thought: ...`` / ``Action: ...``."""

    name = "react"
    instruction = REACT_FORM
    expects = "'Action: '"

    @override
    def read(self, segments: tuple[Segment, ...], *, tolerant: bool) -> FormatReading:
        said = without_opening(said_in(segments))
        label = _LABEL.search(said)
        variant = _ANY_LABEL.search(said)
        if tolerant and variant is not None and (label is None or variant.start("found") <= label.start()):
            label = variant
        # A thought that goes on with an observation before its first action has invented it. The action after that answers
        # something that nobody observed, and a server that stops at "Observation:" would not have returned it at all.
        end = end_before_action(said if label is None else said[: label.start()])
        if end is not None or label is None:
            found = variant["found"].strip() if variant is not None and end is None else _other_form(said, end)
            return FormatReading(said if end is None else said[:end].rstrip(), found=found)
        body = said[label.end() :]
        end = end_after_action(body)
        action = body if end is None else body[:end]
        content = said if end is None else said[: label.end()] + action.rstrip()
        if tolerant:
            content, action = said[: label.end()] + action.rstrip(), plain_action(action)
        elif (found := _decoration(said, label, action.strip())) is not None:
            return FormatReading(content, found=found)
        return FormatReading(content, action.strip() or None, end is not None)

    @override
    def write(self, thought: str, action: str) -> str:
        return f"Thought: {clean_thought(thought)}\nAction: {action}"

    @override
    def manual(self, manual: str) -> str:
        """Return the manual as it is: the worlds' own manuals ask for ReAct replies."""
        return manual

    @override
    def format_error(self, format_error: str) -> str:
        """Return the format message as it is."""
        return format_error


class ActionTagsFormat(ReplyFormat):
    """``<think>...</think><action>...</action>``, also with ``<answer>``.

    The ``<think>`` right before the action is part of the format: it is the reply's visible thought, recorded and trained
    like the ``Thought:`` of ReAct. Every other thought (another spelling, an earlier block, one after the action) is taken
    out as always.
    """

    name = "action-tags"
    instruction = """\
Answer every observation with one thought and one action, in exactly this form:
<think>why you take the next step</think>
<action>the next step</action>"""
    expects = "'<action>...</action>'"

    @override
    def read(self, segments: tuple[Segment, ...], *, tolerant: bool) -> FormatReading:
        at = next((i for i, one in enumerate(segments) if one.mark is None and _TAG.search(one.text)), None)
        if at is None:
            said = without_opening(said_in(segments))
            end = end_before_action(said)
            label = None if end is not None else _ANY_LABEL.search(said)
            return FormatReading(
                said if end is None else said[:end].rstrip(), found=None if label is None else label["found"].strip()
            )
        said = segments[at].text
        tag = _TAG.search(said)
        assert tag is not None
        before = without_opening("".join(one.text for one in segments[:at] if one.mark is None) + said[: tag.start()])
        end = end_before_action(before)
        if end is not None:
            return FormatReading(before[:end].rstrip())
        thought = ""
        if at and segments[at - 1].mark == "think" and not said[: tag.start()].strip():
            before, thought = said[: tag.start()], f"<think>{segments[at - 1].text}</think>"
        body = said[tag.end() :]
        closing = _END_TAG.search(body)
        action = body if closing is None else body[: closing.start()]
        end = end_after_action(action)
        # A server that stops at "</action>" does not return it, so a missing end is not held against the reply.
        action = (action if end is None else action[:end]).strip()
        if tolerant:
            action = plain_action(action)
        name = tag["name"].lower()
        content = f"{thought}{before}{said[tag.start() : tag.end()]}{action}</{name}>".strip()
        return FormatReading(content, action or None, closing is not None or end is not None)

    @override
    def write(self, thought: str, action: str) -> str:
        return f"<think>{clean_thought(thought)}</think>\n<action>{action}</action>"


class ToolCallsFormat(ReplyFormat):
    """A tool call: as data beside the reply, or as text in the form of any family of models.

    It is recorded as text in one form, ``<tool_call>{"name": "act", "arguments": {"action": ...}}</tool_call>``, after what
    the reply said before the call.
    """

    name = "tool-calls"
    tools = (TOOL,)
    instruction = """\
Answer every observation with one thought and then one call of the function act, whose only argument is action:
why you take the next step
<tool_call>
{"name": "act", "arguments": {"action": "the next step"}}
</tool_call>"""
    expects = "a call of the function 'act' with the argument 'action'"

    @override
    def read(self, segments: tuple[Segment, ...], *, tolerant: bool) -> FormatReading:
        said = without_opening(said_in(segments))
        call = find_tool_call(said)
        before = said if call is None else call.before
        end = end_before_action(before)
        if end is not None:
            return FormatReading(before[:end].rstrip())
        if call is None:
            label = _ANY_LABEL.search(said)
            return FormatReading(said, found=None if label is None else label["found"].strip())
        if call.action is None:
            return FormatReading(said)
        return FormatReading(self.with_call(call.before, call.action), call.action, call.complete)

    @override
    def write(self, thought: str, action: str) -> str:
        return self.with_call(clean_thought(thought), action)

    @staticmethod
    def with_call(before: str, action: str) -> str:
        """Write a call after a text."""
        return f"{before}\n{write_tool_call(action)}".lstrip("\n")


FORMATS: dict[str, ReplyFormat] = {one.name: one for one in (ReactFormat(), ActionTagsFormat(), ToolCallsFormat())}
"""Name of each format -> the format."""


def reply_format(name: str) -> ReplyFormat:
    """Return the format of a name.

    Raises:
        UnknownNameError: There is no such format.
    """
    if name not in FORMATS:
        raise unknown_name("reply format", name, get_args(ReplyFormatName))
    return FORMATS[name]


def said_in(segments: tuple[Segment, ...]) -> str:
    """Return what is said, without the thoughts."""
    said = "".join(one.text for one in segments if one.mark is None)
    return said if len(segments) == 1 else said.strip()


def clean_thought(thought: str) -> str:
    """Put a thought on one line, without anything that a reader of replies or a chat template would act on."""
    plain = " ".join(without_marks(thought).replace("Action:", "action").split())
    return _END_TAG.sub(" ", _TAG.sub(" ", plain)).replace("<tool_call>", " ").strip()


def visible_thought(content: str) -> str:
    """Return the part of a recorded reply that comes before its action, whatever the format."""
    for mark in ("Action:", "<action>", "<answer>", "<tool_call>"):
        head, found, _ = content.partition(mark)
        if found:
            return head
    return content


def plain_action(written: str) -> str:
    """Remove what people and models put around an action: fences, quotes, bold type, a bullet, a final period.

    Only the first line is the action, unless a bracket that it opens is closed later.
    """
    text = written.strip().lstrip("*_").lstrip() if written.strip().startswith(("**", "__")) else written.strip()
    fence = _FENCE.match(text)
    if fence is not None:
        text = text[fence.end() :].partition("```")[0].strip()
    lines = text.splitlines() or [""]
    while len(lines) > 1 and lines[0].count("[") > lines[0].count("]") and "]" in lines[1]:
        lines[:2] = [f"{lines[0]}\n{lines[1]}"]
    text = _BULLET.sub("", lines[0].strip())
    while True:
        before = text
        if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
            text = text[1:-1].strip()
        text = text.removesuffix("**").removesuffix("`").rstrip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
        if text == before:
            return text


def _decoration(said: str, label: re.Match[str], action: str) -> str | None:
    """Return what is known to be wrong around an action that ETO's reading would take as part of it."""
    line = said[max(said.rfind("\n", 0, label.start()) + 1, label.start() - 40) : label.start()].strip()
    for mark in ("**", "__", "*", "_", "`"):
        if line.endswith(mark) and mark in action:
            return f"{mark}Action:{mark if action.startswith(mark) else ''}"
    if action.startswith("```") or action.endswith("\n```"):
        return "Action: ```"
    if len(action) > 2 and _PAIRS.get(action[0]) == action[-1]:
        return f"Action: {action[:2] if action.startswith(('**', '__')) else action[0]}"
    tag = _TAG.match(action)
    return None if tag is None else f"Action: {tag[0]}"


def _other_form(said: str, end: int | None) -> str | None:
    own = said if end is None else said[:end]
    tag = _TAG.search(own)
    if tag is not None:
        return tag[0]
    if own.lstrip().startswith("{"):
        return "a JSON object"
    return "a tool call" if "<tool_call>" in own or "[TOOL_CALLS]" in own else None
