"""A reply to the conversation: its text, its action, and what has to be recorded with it.

An agent may answer with a plain string. Whoever knows more about the answer (what it cost, who wrote it, whether it was cut
off) passes a ``Reply`` to ``env.step``, so that this knowledge reaches the record with the text it belongs to. Attributes
set on a wrapper before the step would do as well until two episodes or two wrappers share one.
"""

from dataclasses import dataclass
from typing import Literal

from step_envs.endpoint.chat_completion import Finish
from step_envs.replies import FORMATS, ReplyParts, ToolCall, read_reply
from step_envs.spaces import require_text
from step_envs.trajectory import TokenLogprob, Usage

ReplyKind = Literal["agent", "expert", "error", "correction"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, from whoever wrote it.

    Attributes:
        text: The whole reply, ``Thought: ...`` and ``Action: ...``.
        usage: What writing it cost; None if that is not known.
        shortened: Number of earlier observations that its writer saw only in shortened form.
        finish: Why the text ends where it does: ``stop`` (it is complete), ``length`` (the token limit cut it off),
            ``refusal`` (the model refused to answer), ``other``.
        kind: Who wrote it: ``agent``, ``expert`` (a golden reply), ``error`` (a reply that is known to be wrong),
            ``correction`` (a teacher's reply after an error).
        awaits_verdict: A teacher will judge it; until then its turn weighs 0 in training.
        tool_calls: Tool calls that the server returned beside the text, for ``reply_format="tool-calls"``.
        parts: Thought and action, if its writer knows them; then ``ReActWrapper`` writes the text itself, in its own
            format, and carries out exactly this action.
        logprobs: The sampled tokens of the text and their logprobs, for the record; see ``Turn.logprobs``.
    """

    text: str
    usage: Usage | None = None
    shortened: int = 0
    finish: Finish = "stop"
    kind: ReplyKind = "agent"
    awaits_verdict: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    parts: ReplyParts | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse wrong types here; otherwise they surface when the turn is recorded, after the action was carried out."""
        require_text(self.text, "The text of a reply")
        if not isinstance(self.usage, Usage | None):
            raise TypeError(f"The usage of a reply is a Usage or None, got {self.usage!r}.")

    @property
    def action(self) -> str | None:
        """The action in the text as a ReAct reply, whether or not the text was cut off; None if there is none."""
        return parse_action(self.text) if self.parts is None else self.parts.action or None


def react_reply(thought: str, action: str, *, kind: ReplyKind = "agent") -> Reply:
    """Write a thought and an action as a reply, in whatever format the chat will have.

    Args:
        thought: The thought; what would be read as an action in it is removed.
        action: The action, on one line.
        kind: Who wrote it.
    """
    parts = ReplyParts(thought, action)
    return Reply(FORMATS["react"].write(*parts), kind=kind, parts=parts)


def as_reply(reply: str | Reply) -> Reply:
    """Take a plain string as the reply of an agent of which nothing else is known.

    Raises:
        TypeError: It is neither a string nor a ``Reply``.
    """
    if isinstance(reply, Reply):
        return reply
    if not isinstance(reply, str):
        raise TypeError(f"A reply is a str, got {type(reply).__name__}: {reply!r}.")
    return Reply(reply)


def parse_action(reply: str) -> str | None:
    r"""Find the action in the text of a ReAct reply.

    The action is what follows the first ``Action:``, up to where the reply begins another field or to speak for somebody
    else, without surrounding white space; see ``step_envs.replies.read_reply``.

    Args:
        reply: ``Thought: ...`` and ``Action: ...``.

    Returns:
        The action; None if there is none or it is empty.

    Examples:
        >>> parse_action("Thought: it may be cold\\nAction: open fridge")
        'open fridge'
    """
    return read_reply(reply).action
