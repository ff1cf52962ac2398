"""Finds what a model reads before a reply and what it generates, according to its chat template.

Searching for the reply in the rendered text, the obvious way, fails because a template is a program: it may trim a reply,
rewrite the history, put a section around the words, open a thought of its own before them, or end the last reply in another
way than earlier ones. So nothing is assumed. For every reply the template renders the prompt and the conversation with the
reply; the difference is what the model would have generated, up to the token at which a server stops.

Where a template shows a past reply in another form than its generation prompt asks for (the prompt opens a thought, and the
history has none), the reply is put together from the prompt and from what the template writes around the reply's words.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, NoReturn

from step_envs.agents.local.chat_messages import THOUGHT, Message, texts_of
from step_envs.agents.local.chat_template import MARK, SHIELD, ChatTemplate
from step_envs.errors import TemplateError

_OPEN, _CLOSE = "<think>", "</think>"
_CLOSING = "\n</think>\n\n"  # what most templates write between a thought and the words
_ENDS_OPEN = re.compile(r"(?:<[\w:]*think(?:ing)?[\w:]*>|\[THINK\]|<\|START_THINKING\|>)\s*\Z", re.IGNORECASE)
_ENDS_CLOSED = re.compile(
    r"(?:</[\w:]*think(?:ing)?[\w:]*>|\[/THINK\]|<\|END_THINKING\|>|<channel\|>)\s*\Z", re.IGNORECASE
)
_PIECE = re.compile(r"<[^<>\s]*>|\[[^\[\]\s]*\]|[^\s<\[]+|\S")  # a tag, or text without white space

Messages = Sequence[Mapping[str, Any]]


class Continuation(NamedTuple):
    """One reply as text: what the model reads before it, and what it generates.

    Attributes:
        prompt: Everything before the reply, the generation prompt included.
        text: What the model generates, up to and including the end-of-turn token.
        as_rendered: The template renders the one directly after the other. If not, the two were put together, because the
            template shows past replies in another form.
    """

    prompt: str
    text: str
    as_rendered: bool


def find_continuation(template: ChatTemplate, messages: Messages, index: int) -> Continuation:
    """Find what a model reads before the reply ``messages[index]``, and what it generates.

    Args:
        template: The chat template.
        messages: A conversation, as ``ChatTemplate.shield`` returns it.
        index: Place of the reply.

    Raises:
        TemplateError: The template does not show the reply unchanged and whole, or the conversation begins with it.
    """
    if index == 0:
        raise TemplateError(
            "The conversation begins with a reply, which nothing asks for: put a turn of the user before it, or give "
            "it no loss."
        )
    return _ShownReply(template, messages, index).continuation()


class _ShownReply:
    """A reply, and what a template shows of it."""

    def __init__(self, template: ChatTemplate, messages: Messages, index: int) -> None:
        self.template = template
        self.before, self.message = list(messages[:index]), dict(messages[index])
        self.content = self.message["content"].strip()
        self.words = self.content.rpartition(_CLOSE)[2].strip()
        # A thought in tags stays in the content if the template has no section for it.
        self.in_tags = self.content[: len(self.content) - len(self.words)]
        self.thought = self.message.get(THOUGHT, "")
        self.calls = self.message.get("tool_calls", [])
        self.prompt = template.render(self.before, prompt=True)
        section = template.section
        self.opened = bool(_ENDS_OPEN.search(self.prompt)) or (section is not None and section.opened_by_prompt)

    def continuation(self) -> Continuation:
        whole = self.template.render([*self.before, self.message])
        as_rendered = whole.startswith(self.prompt)
        if as_rendered:
            text = self._usual(whole[len(self.prompt) :])
            if text is not None:
                return Continuation(self.prompt, text, True)
        # What the template shows behind the message before the reply, so that a history that it rewrites does not matter.
        question = {**self.before[-1], "content": MARK}
        asked = self._behind_mark(self.template.render([*self.before[:-1], question], prompt=True))
        shown = self._behind_mark(self.template.render([*self.before[:-1], question, self.message]))
        if shown.startswith(asked) and not self._opens_again(shown[len(asked) :]):
            text = shown[len(asked) :]
            if self.calls:
                return Continuation(self.prompt, self._with_calls(text), as_rendered)
            before, behind = self._around(question)
            before = before[len(asked) :]
            text = self._with_words(text, before, behind)
            # White space alone is what the model writes only if it is asked in just this way.
            return Continuation(self.prompt, text if as_rendered or before.strip() else text.lstrip(), as_rendered)
        return Continuation(self.prompt, self._put_together(question, asked, shown), False)

    def _put_together(self, question: Message, asked: str, shown: str) -> str:
        """Write a reply behind a prompt that the template does not show before past replies.

        Args:
            question: The message before the reply, with a mark as its content.
            asked: What the template shows behind the mark in the prompt.
            shown: What it shows there in the conversation with the reply.
        """
        if self.calls:
            self._refuse(
                "shows a reply with tool calls in another form than its prompt asks for: switch thoughts on or off "
                "(template_kwargs), or write calls as text."
            )
        before, behind = self._around(question)
        if not shown.removesuffix(behind).rstrip().endswith(self.words):
            self._refuse_change(shown)
        if self.opened:
            return self._after_opening(behind)
        # The prompt ends a thought that past replies are shown without, or white space differs.
        ahead, inside = _apart(asked, before)
        if self.in_tags.startswith(_OPEN) and asked.rstrip().endswith(_CLOSE):
            # Behind an empty thought in the tags that the reply uses, the reply is what the model says without thinking.
            inside = self.in_tags
        elif self.thought or self.in_tags.startswith(_OPEN):
            self._refuse_closed_thought()
        elif ahead and not _ENDS_CLOSED.search(ahead):
            self._refuse(
                f"shows a past reply in another form than its prompt asks for ({_short(ahead)} stands before it): use "
                "another template."
            )
        return f"{inside.lstrip()}{self.words}{self._ending(behind)}"

    def _usual(self, text: str) -> str | None:
        """Cut the usual reply behind its end: the content, one token that ends it, and at most white space after that."""
        content = self.content
        if self.calls or self.thought or (self.opened and not self.in_tags) or self._opens_again(text):
            return None
        if self.opened and self.in_tags.startswith(_OPEN):
            # The prompt opens the thought already; the reply continues after the opening tag.
            content = content.removeprefix(_OPEN).lstrip()
        place = len(text) - len(text.lstrip())
        end = self.template.special.search(text, place + len(content)) if text.startswith(content, place) else None
        if end is None or text[place + len(content) : end.start()].strip() or text[end.end() :].strip():
            return None
        return text[: end.end()]

    def _with_words(self, text: str, before: str, behind: str) -> str:
        """Cut a reply behind its end, and check that the template shows all of it, with nothing in its words changed."""
        start = before.rstrip()
        inside = text[len(start) : len(text) - len(behind)]
        if not text.startswith(start) or not text.endswith(behind) or inside.strip() != self.words:
            self._refuse_change(text)
        if _untagged(self.in_tags) not in _untagged(before):
            self._refuse_change(text)
        if self.thought not in before:
            self._refuse(
                f"leaves the thought of a reply out ({_short(self.thought)}): take it out of the reply, switch thoughts on "
                "(template_kwargs), or use a template that shows them."
            )
        if self.in_tags.startswith(_OPEN) and _ENDS_CLOSED.search(before.rpartition(_OPEN)[0]):
            self._refuse_closed_thought()
        if self.opened and not self.in_tags and not self._closes(before):
            self._refuse_open_thought()
        return text[: len(text) - len(behind)] + self._ending(behind)

    def _with_calls(self, text: str) -> str:
        """Cut a reply with tool calls behind its end, and check that the template writes all of them."""
        written = text.replace(SHIELD, "")
        for call in self.calls:
            function = call["function"]
            for part in (function["name"], *texts_of(function.get("arguments"))):
                part = part.replace(SHIELD, "")
                if not any(form in written for form in _written_forms(part)):
                    self._refuse(
                        f"leaves {_short(part)} of a tool call out: use the template of a model that calls tools, or write "
                        "calls as text."
                    )
        for part in (self.words, self.thought, _untagged(self.in_tags)):
            if part not in text:
                self._refuse(f"leaves {_short(part)} beside a tool call out: take it out of the reply.")
        if self.opened and not self.in_tags and not self.thought and not self._closes(text):
            self._refuse_open_thought()
        plain: Message = {"role": "assistant", "content": MARK}
        behind = self.template.render([*self.before, plain]).partition(MARK)[2]
        if text.endswith(behind) and self.template.special.search(behind):
            return text[: len(text) - len(behind)] + self._ending(behind)
        run = _special_run(text, self.template.special)
        if run.strip():
            # Some models end a call in another way than a reply (gpt-oss: <|call|>).
            return text[: len(text) - len(run)] + self._end_within(run, None)
        if self.template.special.search(behind):
            self._refuse("puts no special token behind a tool call: use the tokenizer that belongs to it.")
        answer: Message = {"role": "tool", "content": "-", "name": self.calls[0]["function"]["name"]}
        if "id" in self.calls[0]:
            answer["tool_call_id"] = self.calls[0]["id"]
        return text + self._begins_next_turn(self.message, answer)

    def _after_opening(self, behind: str) -> str:
        """Write a reply behind a prompt that opens a thought: the thought, its end, the words."""
        section = self.template.section
        if self.thought:
            begin = f"{self.thought}{section.closing if section is not None else _CLOSING}"
        elif self.in_tags.startswith(_OPEN) and _CLOSE in self.in_tags:
            begin = self.in_tags.removeprefix(_OPEN).lstrip()
        else:
            self._refuse_open_thought()
        return f"{begin}{self.words}{self._ending(behind)}"

    def _around(self, question: Message) -> tuple[str, str]:
        """Return what the template shows from the question to the words of the reply, and what it shows behind them."""
        # White space before the words stays, because not every template strips it.
        written = self.message["content"].rstrip()
        marked = {**self.message, "content": written[: len(written) - len(self.words)] + MARK}
        shown = self._behind_mark(self.template.render([*self.before[:-1], question, marked]))
        if shown.count(MARK) != 1:
            self._refuse(
                f"does not show a reply once and whole: {_short(self.content)}. Use another template, or give the reply "
                "no loss."
            )
        before, _, behind = shown.partition(MARK)
        return before, behind

    def _behind_mark(self, shown: str) -> str:
        before, found, behind = shown.partition(MARK)
        if not found:
            self._refuse(
                f"does not show the message before a reply ({_short(before[-60:])}), so that nothing tells where the reply "
                "begins: use another template."
            )
        return behind

    def _opens_again(self, text: str) -> bool:
        """Return True if the template repeats the opening of a thought that the prompt has opened already."""
        return self.opened and self.in_tags.startswith(_OPEN) and text.lstrip().startswith(_OPEN)

    def _closes(self, before: str) -> bool:
        """Return True if a text ends a thought that the prompt has opened."""
        section = self.template.section
        closing = section.closing.strip() if section is not None else _CLOSE
        return (closing or _CLOSE) in before or _CLOSE in before

    def _ending(self, behind: str) -> str:
        """Return what is generated after the words of a reply: white space and the tokens that end the turn."""
        known = self.template.endings
        if behind not in known:
            plain, following = {"role": "assistant", "content": MARK}, {"role": "user", "content": "-"}
            if self.template.special.search(behind) is None:
                known[behind] = behind + self._begins_next_turn(plain, following)
            else:
                known[behind] = self._end_within(behind, self._behind(plain, following, MARK))
        return known[behind]

    def _begins_next_turn(self, reply: Mapping[str, Any], following: Mapping[str, Any]) -> str:
        """Return the token that begins the next turn, for templates in which nothing else ends this one (GLM)."""
        # Not after the reply itself, because a thought may be removed as soon as another turn follows.
        shown = self.template.render([*self.before, reply])
        after = self._try_render([*self.before, reply, following]) or ""
        behind = after[len(shown) :] if after.startswith(shown) else ""
        token = self.template.special.match(behind, len(behind) - len(behind.lstrip()))
        if token is None:
            self._refuse(
                "puts no special token behind a reply, so a model would "
                "never learn to stop: make the text that ends a turn a special token, or use another template."
            )
        return behind[: token.end()]

    def _behind(self, reply: Mapping[str, Any], following: Mapping[str, Any], end: str) -> str | None:
        """Return what the template shows behind the end of a reply if another turn follows; None if it refuses that."""
        shown = self._try_render([*self.before, reply, following])
        return None if shown is None or end not in shown else shown.rpartition(end)[2]

    def _end_within(self, behind: str, following: str | None) -> str:
        """Cut what stands behind a reply behind the token at which a server stops.

        Args:
            behind: Special tokens and the text between them, up to the end of what the template shows.
            following: The same if another turn follows the reply; None if that is not known.
        """
        special = self.template.special
        first, *more = special.finditer(behind)
        if behind[: first.start()].strip():
            self._refuse(
                f"adds words behind a reply: {_short(behind[: first.start()])}. Use a template that ends a reply with a "
                "special token."
            )
        # What only ends the whole conversation (phi-3's end of text) is not in front of another turn.
        shared = len(behind) if following is None else _common_length(behind, following, special)
        common = [token for token in (first, *more) if token.end() <= shared]
        if not more or not common:
            return behind[: first.end()]
        # A server stops at the end token of the tokenizer, or at the last of the tokens that stand together (Cohere has
        # two). White space between two tokens is not what a model writes after its end: phi-3 stops at the first.
        together = [common[0]]
        for token in common[1:]:
            if behind[together[-1].end() : token.start()].isspace():
                break
            together.append(token)
        for token in together:
            if token[0] == self.template.tokenizer.eos_token:
                return behind[: token.end()]
        if self._always_asks():
            # The tokens that follow belong to the next turn; the one that ends a turn of the user ends a reply, too.
            asked = self._behind_mark(self.template.render([{"role": "user", "content": MARK}], prompt=True))
            ends_user = special.match(asked, len(asked) - len(asked.lstrip()))
            same = [token for token in together if ends_user is not None and token[0] == ends_user[0]]
            return behind[: (same or together)[-1 if same else 0].end()]
        return behind[: together[-1].end()]

    def _always_asks(self) -> bool:
        """Return True if the template asks for the next reply even if it is told not to."""
        plain = [*self.before, {"role": "assistant", "content": "-"}]
        return (
            self.template.render(plain) == self.template.render(plain, prompt=True) != self.template.render(plain[:-1])
        )

    def _try_render(self, messages: Messages) -> str | None:
        """Render a conversation made up for a question about the template; None if the template refuses it."""
        try:
            return self.template.render(messages)
        except TemplateError:
            return None

    def _refuse(self, what: str) -> NoReturn:
        raise TemplateError(f"The chat template of {self.template.name} {what}")

    def _refuse_change(self, text: str) -> NoReturn:
        self._refuse(
            f"changes a reply: {_short(self.content)} becomes {_short(text)}. Use a template that writes replies as they "
            "are."
        )

    def _refuse_open_thought(self) -> NoReturn:
        self._refuse(
            f"opens a thought before every reply, which the reply {_short(self.content)} does not close: switch thoughts "
            'off (template_kwargs, often {"enable_thinking": False}), put the reply\'s thought into <think>...</think>, or '
            'have "Thought: ..." written there (thoughts="section").'
        )

    def _refuse_closed_thought(self) -> NoReturn:
        self._refuse(
            f"ends the thought before the reply, which begins with another one: {_short(self.content)}. Switch thoughts on "
            '(template_kwargs, often {"enable_thinking": True}), or take the thought out of the reply.'
        )


def _apart(asked: str, shown: str) -> tuple[str, str]:
    """Return where two texts part, whatever their white space: the rest of the first, and what only the second has.

    A past reply may begin with the end of the thought (DeepSeek-V3.2) that the prompt holds whole.
    """
    ahead, rest = _PIECE.findall(asked), _PIECE.findall(shown)
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ahead, rest, strict=False)))
    ahead, rest = ahead[length:], rest[length:]
    overlap = next((n for n in range(min(len(ahead), len(rest)), 0, -1) if ahead[-n:] == rest[:n]), 0)
    return "".join(ahead), "".join(rest[overlap:])


def _common_length(one: str, two: str, special: re.Pattern[str]) -> int:
    """Return the length of the beginning that two texts share, without part of a special token."""
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
    for text in (one, two):
        for token in special.finditer(text):
            if token.start() < length < token.end():
                length = token.start()
    return length


def _special_run(text: str, special: re.Pattern[str]) -> str:
    """Return the special tokens at the end of a text, with the white space between and behind them."""
    start = len(text)
    for token in reversed(list(special.finditer(text))):
        if text[token.end() : start].strip():
            break
        start = token.start()
    return text[start:]


def _written_forms(text: str) -> tuple[str, ...]:
    """Return the forms in which a template may write a text: as it is, or within JSON."""
    return text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _untagged(thought: str) -> str:
    """Return a thought without its tags, which every template places in its own way."""
    return thought.replace(_OPEN, "").replace(_CLOSE, "").strip()


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
