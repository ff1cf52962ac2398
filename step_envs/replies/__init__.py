"""Reading what models write: thoughts taken out, formats by name, the action ended where the reply speaks for others.

Every text of a model goes through here before anything else looks at it, and only through here.

- ``reader.py``: ``read_reply``, the one reader of replies.
- ``thoughts.py``: what a model thinks aloud, in every spelling.
- ``turn_ends.py``: where a reply begins to speak for somebody else.
- ``formats.py``, ``tool_calls.py``: the forms in which a reply names its action.
- ``think_actions.py``: actions that only think.
- ``quotes.py``: the piece of a wrong action that a reflection may quote.
"""

from step_envs.replies.formats import FORMATS, ReplyFormat, ReplyFormatName, ReplyParts, reply_format, visible_thought
from step_envs.replies.quotes import short_quote
from step_envs.replies.reader import ReadReply, is_over, read_reply
from step_envs.replies.think_actions import THOUGHT_ANSWER, is_think_action
from step_envs.replies.thoughts import Thoughts, ends_in_thought, split_thoughts, without_thoughts
from step_envs.replies.tool_calls import TOOL, ToolCall, sent_calls

__all__ = [
    "FORMATS",
    "THOUGHT_ANSWER",
    "TOOL",
    "ReadReply",
    "ReplyFormat",
    "ReplyFormatName",
    "ReplyParts",
    "Thoughts",
    "ToolCall",
    "ends_in_thought",
    "is_over",
    "is_think_action",
    "read_reply",
    "reply_format",
    "sent_calls",
    "short_quote",
    "split_thoughts",
    "visible_thought",
    "without_thoughts",
]
