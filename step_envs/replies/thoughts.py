"""Takes out what a reasoning model thinks aloud, so that only what it says to the world is read, kept and trained.

Every family of models marks its thoughts in its own way, and a server passes the marks on where it was not told of them. A
pattern for ``<think>...</think>`` at the beginning of a text, the obvious way, lets the thoughts of all other models into
conversations, verdicts and training text. It also fails where a mark is missing: chat templates write the opening mark into
the prompt, so that an answer holds only the closing one, and the token limit cuts off the closing one. So one scanner
reads all marks from left to right and keeps a stack of those that are open.

``Thought:`` of ReAct replies is no such mark: it is part of what the agent says.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

_NAMES = (
    r"(?:inner|internal)[_\s-]?(?:monologue|thoughts?|reasoning)|self[_-]?reflection|chain[_-]of[_-]thoughts?|"
    r"(?:think(?:ing)?|thought|reasoning)[_-]?(?:process|content|text|block)|ant[_-]?thinking|thinking|think|thoughts|"
    r"thought|reasoning|reason|reflection|reflect|scratch_?pad|analysis|rationale|deliberation|monologue|"
    r"cot_budget_reflect|cot|inner"
)
"""Names of tags that hold a thought, the longer before the shorter where one begins with the other."""

_BEGINS = r"(?:begin|start|open)"
_ENDS = r"(?:end|stop|close)"
_ATTRIBUTES = r"""(?:\s{1,8}[\w:.-]{1,40}(?:\s?=\s?(?:"[^"<>]{0,200}"|'[^'<>]{0,200}'|[^\s"'<>]{1,200}))?){0,8}"""

# All repetitions are bounded, so that a hostile text of any length is read in linear time.
_MARK = re.compile(
    rf"""
    # <think>, </think>, < Think >, <seed:think budget="3">, <longcat_think>, <|START_THINKING|>, <|end_of_thought|>, ...
    (?P<tag>
        (?:[<＜〈⟨◁]|&lt;)\s{{0,4}}[|｜]?\s{{0,4}}
        (?P<slash>[/\\∕／])?\s{{0,4}}(?:(?!{_BEGINS}|{_ENDS})[a-z][a-z0-9]{{0,15}}[:_])?
        (?:(?P<begins>{_BEGINS}[_▁\s-](?:of[_▁\s-])?)|(?P<ends>{_ENDS}[_▁\s-](?:of[_▁\s-])?))?
        (?P<name>{_NAMES})
        (?:[_▁-](?:{_BEGINS}|prefix)|(?P<ends_after>[_▁-](?:{_ENDS}|suffix)))?
        (?:{_ATTRIBUTES})\s{{0,4}}(?P<empty>/)?\s{{0,4}}[|｜]?\s{{0,4}}(?:[>＞〉⟩▷]|&gt;)
    )
    # [THINK] and [/THINK] of Mistral, [Start thinking] and [End thinking] of llama.cpp. After a word it is an action of a
    # shop: search[thinking].
    | (?P<square>(?<!\w)\[(?:{_BEGINS}[_\s](?:of[_\s])?|(?P<square_slash>/|{_ENDS}[_\s](?:of[_\s])?))?
        (?P<square_name>{_NAMES})\]|\[/(?P<square_end>{_NAMES})\])
    # OpenAI's harmony: a channel that is not for the reader, and the one that is.
    | (?P<channel>(?:<\|start\|>\s{{0,4}}assistant\s{{0,4}})?<\|channel\|>\s{{0,4}}
        (?P<channel_name>analysis|thoughts?|thinking|reflection|reasoning|final)\b[^<]{{0,80}}
        (?:<\|constrain\|>[^<]{{0,40}})?(?:<\|message\|>|\Z))
    # Gemma: <|channel>thought ... <channel|>, <unused94>thought ... <unused95>
    | (?P<gemma>(?:<\|channel>|<unused94>)\s{{0,4}}(?:thoughts?|thinking|analysis)\b)
    | (?P<gemma_end><channel\|>|<unused95>)
    # Web interfaces hide a thought in <details type="reasoning"> or in a fenced block.
    | (?P<details><details\s[^<>]{{0,200}}\btype\s?=\s?["']?(?:reasoning|thinking)[^<>]{{0,200}}>)
    | (?P<fence>^[ \t]{{0,4}}```[ \t]{{0,4}}(?:think|thinking|thoughts?|reasoning|analysis)[ \t]{{0,4}}$)
    # What ends only a thought of its own family. Elsewhere these stay where they are.
    | (?P<message_end><\|(?:end|return|call|start|channel)\|>)
    | (?P<details_end></details\s{{0,4}}>)
    | (?P<fence_end>^[ \t]{{0,4}}```[ \t]{{0,4}}$)
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)

_OWN_END = {"gemma": "gemma_end", "details": "details_end", "fence": "fence_end"}
"""Group of an opening mark -> group of the only mark that closes it."""
_KINDS = ("tag", "square", "channel", *_OWN_END, *_OWN_END.values(), "message_end")

_WORDED = (
    # Granite says where its thought begins and ends in a sentence; Ollama prints a line before and after.
    re.compile(
        r"\A\s*here(?: is|'s|’s) my (?:thought process|thinking|reasoning)(?: process)?:(?P<thought>.*?)"
        r"(?:here(?: is|'s|’s) my (?:response|answer|reply):(?P<said>.*)|\Z)",
        re.DOTALL | re.IGNORECASE,
    ),
    re.compile(
        r"\A\s*thinking(?:\.\.\.|…)\s*\n(?P<thought>.*?)(?:(?:\.\.\.|…)\s?done thinking\.?(?P<said>.*)|\Z)",
        re.DOTALL | re.IGNORECASE,
    ),
    # Harmony from a server that removed the special tokens: the names of role and channel stick to the text.
    re.compile(
        r"\A\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z\"'(“])(?P<thought>.*?)"
        r"(?:assistant(?:commentary)?final(?P<said>.*)|\Z)",
        re.DOTALL,
    ),
)


class Segment(NamedTuple):
    """A piece of a text: said, or thought aloud under a mark (``think``, ``reasoning``, ...)."""

    mark: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Thoughts:
    """A text, taken apart.

    Attributes:
        said: What is meant for the reader.
        thought: What the model thought aloud, its parts joined by line breaks; empty if it marked nothing as a thought.
        unfinished: The text ends within a thought, so that the model never came to speak.
        segments: The same pieces in the order of the text, white space and all.
    """

    said: str
    thought: str
    unfinished: bool
    segments: tuple[Segment, ...] = ()


def split_thoughts(text: str) -> Thoughts:
    r"""Separate what a model says from what it thinks aloud.

    A closing mark without an opening one makes everything before it a thought, because chat templates write the opening
    mark into the prompt. An opening mark without a closing one makes everything after it a thought. An opening mark inside
    a thought of the same name is a mention of it, as in "I must use <think> tags"; one of another name is nested.

    Args:
        text: What a model wrote, of any length; read in linear time.

    Returns:
        The parts. A text without marks is returned unchanged as ``said``.

    Examples:
        >>> split_thoughts("<think>It may be cold.</think>\nAction: open fridge").said
        'Action: open fridge'
        >>> split_thoughts("[THINK]It may be").unfinished
        True
    """
    scan = _Scan()
    for pattern in _WORDED:
        worded = pattern.match(text)
        if worded is not None:
            scan.segments.append(Segment("worded", worded["thought"]))
            if worded["said"] is None:
                return scan.result(unfinished=True)
            text = worded["said"]
            break
    position = 0
    for mark in _MARK.finditer(text):
        position = scan.read(mark, text, position)
    return scan.finish(text[position:])


def without_thoughts(text: str) -> str:
    """Return what a model says to its reader, without anything it thought aloud; see ``split_thoughts``."""
    return split_thoughts(text).said


def ends_in_thought(text: str) -> bool:
    """Return True if a text ends within a thought, so that it holds no answer yet."""
    return split_thoughts(text).unfinished


class _Scan:
    """What is known after the marks that were read so far."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self._open: list[str] = []
        """Names of the open marks, the innermost last; of a special token with its bar, ``|think``."""
        self._final_began = False
        self._settled = 0
        self._last_end: dict[str, int] = {}

    def read(self, mark: re.Match[str], text: str, position: int) -> int:
        """Read one mark.

        Args:
            mark: The mark.
            text: The whole text.
            position: Up to where the text has been dealt with.

        Returns:
            The new position: after the mark, or as before if the mark is plain text here.
        """
        kind, before = _kind(mark), text[position : mark.start()]
        if kind in ("tag", "square"):
            return self._read_tag(mark, text, position)
        if kind == "channel":
            self._keep(before)
            if mark["channel_name"].lower() == "final":
                self._open.clear()
                if not self._final_began:
                    self._all_was_thought("channel")
                self._final_began = True
            else:
                self._open = ["message_end"]
            return mark.end()
        if kind in _OWN_END:
            self._keep(before)
            self._open.append(_OWN_END[kind])
            return mark.end()
        # The end of one family: it closes what it belongs to, and is plain text where nothing of its family is open.
        depth = next((index for index, name in enumerate(self._open) if name == kind), None)
        if depth is None and mark[0].lower() == "<|end|>":
            depth = next((index for index, name in enumerate(self._open) if name.startswith("|")), None)
        if depth is None:
            return position
        self._keep(before)
        del self._open[depth:]
        # The beginning of another message belongs to that message.
        return mark.start() if mark[0].lower() in ("<|start|>", "<|channel|>") else mark.end()

    def _read_tag(self, mark: re.Match[str], text: str, position: int) -> int:
        name = (mark["name"] or mark["square_name"] or mark["square_end"]).lower()
        ends = mark["slash"] or mark["ends"] or mark["ends_after"] or mark["square_slash"] or mark["square_end"]
        names = [opened.lstrip("|") for opened in self._open]
        if not ends and (name in names or (mark["square"] and not self._opens_thought(mark, name, text))):
            return position
        self._keep(text[position : mark.start()])
        if ends:
            if name in names:
                del self._open[names.index(name) :]
            elif names:
                self._open.pop()  # <think> ... </thinking>
            else:
                self._all_was_thought(name)
        elif not mark["empty"]:
            self._open.append(f"|{name}" if "|" in mark[0] else name)
        return mark.end()

    def _opens_thought(self, mark: re.Match[str], name: str, text: str) -> bool:
        """Return True if a word in square brackets is a mark: it opens a line, or its end follows somewhere."""
        if name not in self._last_end:
            self._last_end[name] = text.lower().rfind(f"[/{name}]")
        line = max(text.rfind("\n", 0, mark.start()) + 1, mark.start() - 40)
        return self._last_end[name] > mark.start() or not text[line : mark.start()].strip()

    def _keep(self, before: str) -> None:
        self.segments.append(Segment(self._open[0].lstrip("|") if self._open else None, before))

    def _all_was_thought(self, mark: str) -> None:
        # Only what came since the last time: many such ends must not take quadratic time.
        self.segments[self._settled :] = [Segment(one.mark or mark, one.text) for one in self.segments[self._settled :]]
        self._settled = len(self.segments)

    def finish(self, rest: str) -> Thoughts:
        """Return the parts; ``rest`` is the text after the last mark."""
        self._keep(rest)
        return self.result(unfinished=bool(self._open))

    def result(self, *, unfinished: bool) -> Thoughts:
        """Return the parts."""
        said = "".join(one.text for one in self.segments if one.mark is None)
        thoughts = [one.text for one in self.segments if one.mark is not None]
        return Thoughts(
            # Without a thought nothing is changed, not even white space.
            said.strip() if thoughts else said,
            "\n".join(text.strip() for text in thoughts if text.strip()),
            unfinished,
            tuple(self.segments),
        )


def _kind(mark: re.Match[str]) -> str:
    return next(kind for kind in _KINDS if mark[kind] is not None)
