"""Reads a reply: the one place where the text of a model becomes a content to keep and an action to carry out.

In this order: thoughts are taken out, the format finds the action, the reply is cut where it begins to speak for somebody
else, and a reply that was not finished loses its action. The order matters: a thought can quote actions, and an action that
a token limit cut in the middle can be a different, legal action.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from step_envs.replies.formats import FORMATS, FormatReading, ReplyFormat, ToolCallsFormat
from step_envs.replies.thoughts import Segment, Thoughts, split_thoughts
from step_envs.replies.tool_calls import ToolCall
from step_envs.replies.turn_ends import end_before_action

_REACT = FORMATS["react"]


@dataclass(frozen=True, slots=True)
class ReadReply:
    """A reply, read.

    Attributes:
        content: What is kept of it: in the conversation, in the record, in training.
        action: The action to carry out; None if there is none.
        unfinished: The reply broke off (token limit, refusal, within a thought) before there was an action.
        found: What stands where the action's label should be, if it is known, e.g. ``ACTION:``; for the format message.
    """

    content: str
    action: str | None
    unfinished: bool = False
    found: str | None = None


def read_reply(
    text: str,
    format: ReplyFormat = _REACT,
    *,
    finish: str = "stop",
    tolerant: bool = False,
    tool_calls: Sequence[ToolCall] = (),
) -> ReadReply:
    r"""Read a reply.

    Args:
        text: What the model wrote.
        format: The format that it should have.
        finish: How it ended: ``stop``, ``length``, ``refusal`` or ``other``.
        tolerant: Also take actions in common variants of the format.
        tool_calls: Calls that the server returned beside the text; read by the format ``tool-calls``.

    Examples:
        >>> read_reply("Action: look<|im_end|>\n<|im_start|>user\nYou found gold.").content
        'Action: look'
        >>> read_reply("Thought: I loo", finish="length").unfinished
        True
    """
    parts = split_thoughts(text)
    found = _read_parts(parts, format, tolerant=tolerant, tool_calls=tool_calls)
    broke_off = parts.unfinished or finish == "refusal" or (finish == "length" and not found.complete)
    if broke_off:
        return ReadReply(found.content, None, unfinished=True)
    return ReadReply(found.content, found.action, found=found.found if found.action is None else None)


def _read_parts(
    parts: Thoughts, format: ReplyFormat, *, tolerant: bool, tool_calls: Sequence[ToolCall]
) -> FormatReading:
    if isinstance(format, ToolCallsFormat) and tool_calls:
        before = parts.said.strip()
        end = end_before_action(before)
        action = tool_calls[0].action
        before = before if end is None else before[:end].rstrip()
        if action is None:
            return FormatReading(before)
        return FormatReading(format.with_call(before, action), action, complete=True)
    return format.read(parts.segments or (Segment(None, parts.said),), tolerant=tolerant)


def is_over(text: str) -> bool:
    """Return True if a reply that is still being written has said all that counts, whatever its format.

    It has once its action is ended by something, or once it begins to speak for somebody else outside its thoughts.
    """
    parts = split_thoughts(text)
    if parts.unfinished:
        return False
    said = parts.said
    if "Action:" not in said and end_before_action(said) is not None:
        return True
    return any(format.read(parts.segments, tolerant=False).complete for format in FORMATS.values())
