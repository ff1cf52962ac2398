"""What a model reads and what it writes, as its chat template lays a conversation out.

A template is a program: it may trim what is said, rewrite the history, open a thought of its own before a reply, or end the
last reply in another way than the ones before. So nothing is assumed of it. For every reply it is asked what the prompt is
and what the conversation is once the reply is there; the difference is what the model would have had to generate.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from step_envs.errors import TemplateError

SHIELD = "\ue000"
"""A character of no meaning that keeps text of a conversation from being read as a special token; taken out again."""

_MARK = "\ue001"
"""A character of no meaning that stands for the words of a reply, to see where a template puts them."""

_OPEN_THOUGHT = re.compile(r"<think>\s*$")
_THOUGHT = ("<think>", "</think>")  # written by models themselves, also where a tokenizer has special tokens for them

_PLAIN = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
)


class Continuation(NamedTuple):
    """One reply as text: what the model reads before it, and what it generates.

    Attributes:
        prompt: All that stands before the reply, the generation prompt included.
        text: What is generated, to the end-of-turn token and not beyond.
        as_rendered: The template itself puts the one after the other; otherwise the two were put together from the
            generation prompt and the reply's own words, for the template shows replies of the past in another form.
    """

    prompt: str
    text: str
    as_rendered: bool


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        template_kwargs: Further variables for the template, e.g. ``{"enable_thinking": False}``; use the same ones when
            the model is served.

    Raises:
        TemplateError: The tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateError(
                f"The tokenizer {_name(tokenizer)} has no chat template: set tokenizer.chat_template to the one the model "
                "was trained with, or use the tokenizer of the model's chat version."
            )
        self.tokenizer = tokenizer
        self._kwargs = dict(template_kwargs or {})
        added = list(tokenizer.added_tokens_decoder.values())
        special = {str(token) for token in added if getattr(token, "special", False)} | set(
            tokenizer.all_special_tokens
        )
        special |= self._laid_out({str(token) for token in added} - special - set(_THOUGHT))
        self._pattern = _any_of(special)
        self._in_replies = _any_of(special - set(_THOUGHT))

    def shield(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
        """Give the messages as the template wants them, with text that looks like a special token marked as text.

        Raises:
            TemplateError: A message is not text, cannot be shielded, or holds the character that shields.
        """
        shielded = []
        for index, message in enumerate(messages):
            role, content = message.get("role"), message.get("content")
            if not isinstance(role, str) or not isinstance(content, str):
                raise TemplateError(
                    f"Message {index} must have a role and a content that are text, got {role!r} and {_short(content)}: "
                    "write what was said, tool calls too, as text."
                )
            try:
                content.encode()
            except UnicodeEncodeError as error:
                raise TemplateError(
                    f"Message {index} holds half a character ({content[error.start]!r} at place {error.start}), which no "
                    "tokenizer can write: take it out."
                ) from error
            pattern = self._in_replies if role == "assistant" else self._pattern
            if SHIELD in content:
                raise TemplateError(
                    f"A message holds the private character {SHIELD!r}, which has no meaning: take it out."
                )
            while found := pattern.search(content):
                if len(found[0]) == 1:
                    raise TemplateError(
                        f"The character {found[0]!r} in a message is a special token of {_name(self.tokenizer)} and "
                        "cannot be kept as text: take it out."
                    )
                content = content[: found.start() + 1] + SHIELD + content[found.start() + 1 :]
            shielded.append({"role": role, "content": content})
        return shielded

    def render(self, messages: Sequence[Mapping[str, str]], *, prompt: bool = False) -> str:
        """Lay a conversation out as text; ``prompt`` adds what asks for the next reply.

        Raises:
            TemplateError: The template refuses the conversation.
        """
        from jinja2 import TemplateError as JinjaError

        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompt, **self._kwargs
            )
        # A template is a program of somebody else: what it cannot do with these messages is said, whatever it trips over.
        except (JinjaError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
            raise TemplateError(
                f"The chat template of {_name(self.tokenizer)} refuses a conversation of the roles {roles}: {error}. "
                'Templates without a system role want trajectories of the style "eto".'
            ) from error
        assert isinstance(text, str)
        return text

    def continuation(self, messages: Sequence[Mapping[str, str]], index: int) -> Continuation:
        """Find what a model reads before the reply ``messages[index]``, and what it generates.

        Raises:
            TemplateError: The template does not say, or nothing stands before the reply.
        """
        if index == 0:
            raise TemplateError(
                "The conversation begins with a reply, which nothing asks for: put a turn of the user before it, or give "
                "it no loss."
            )
        reply = messages[index]["content"].strip()
        prompt = self.render(messages[:index], prompt=True)
        whole = self.render(messages[: index + 1])
        if whole.startswith(prompt):
            return Continuation(prompt, self._generated(messages, index, prompt, whole, reply), True)
        return Continuation(prompt, self._by_hand(messages, index, prompt, whole, reply), False)

    def _laid_out(self, tokens: set[str]) -> set[str]:
        """Find those of the tokens that the template itself puts around turns: not all tokenizers call these special."""
        if not tokens:
            return set()
        try:
            text = self.render(_PLAIN, prompt=True)
        except TemplateError:
            return set()
        return {token for token in tokens if token in text}

    def _generated(self, messages: Sequence[Mapping[str, str]], index: int, prompt: str, whole: str, reply: str) -> str:
        """Cut what stands behind a prompt right after the token that ends the turn, and see that the reply is all in it."""
        text = whole[len(prompt) :]
        if _OPEN_THOUGHT.search(prompt):
            # The prompt has begun the thought; the reply goes on behind its opening.
            reply = reply.removeprefix("<think>").lstrip()
        place = len(text) - len(text.lstrip())
        if text.startswith(reply, place):
            end = self._pattern.search(text, place + len(reply))
            if end and not text[place + len(reply) : end.start()].strip() and not text[end.end() :].strip():
                return text[: end.end()]
        # The template puts something before the reply, or more than one token behind it.
        before, behind = self._around(messages, index, prompt, reply)
        before, said = before.rstrip(), _said(reply)
        thought = _untagged(reply[: len(reply) - len(said)])
        middle = text[len(before) : len(text) - len(behind)]
        if (
            not text.startswith(before)
            or not text.endswith(behind)
            or middle.strip() != said
            or thought not in _untagged(before)
        ):
            raise TemplateError(
                f"The chat template of {_name(self.tokenizer)} changes a reply: {_short(reply)} becomes {_short(text)}."
            )
        return text[: len(text) - len(behind)] + self._ending(messages, index, behind)

    def _by_hand(self, messages: Sequence[Mapping[str, str]], index: int, prompt: str, whole: str, reply: str) -> str:
        words = reply
        if _OPEN_THOUGHT.search(prompt):
            # The prompt has begun the thought, so the model goes on inside it and closes it itself.
            if not reply.startswith("<think>") or "</think>" not in reply:
                raise TemplateError(
                    f"The chat template of {_name(self.tokenizer)} opens a thought before every reply, which the reply "
                    f"{_short(reply)} does not close: switch thoughts off (template_kwargs, often "
                    '{"enable_thinking": False}) or put the reply\'s thought into <think>...</think>.'
                )
            words = reply.removeprefix("<think>").lstrip()
        _, behind = self._around(messages, index, "", reply)
        if not whole.removesuffix(behind).rstrip().endswith(_said(reply)):
            raise TemplateError(f"The chat template of {_name(self.tokenizer)} leaves a reply out: {_short(reply)}.")
        return words + self._ending(messages, index, behind)

    def _around(self, messages: Sequence[Mapping[str, str]], index: int, prompt: str, reply: str) -> tuple[str, str]:
        """Find what the template puts around the words of a reply: seen from one whose place cannot be mistaken."""
        # With the white space before it, which not all templates take away.
        written = messages[index]["content"].rstrip()
        marked = written[: len(written) - len(_said(written))] + _MARK
        shown = self.render([*messages[:index], {"role": "assistant", "content": marked}])
        if not shown.startswith(prompt) or shown.count(_MARK) != 1:
            raise TemplateError(
                f"The chat template of {_name(self.tokenizer)} does not show a reply once and whole: {_short(reply)}."
            )
        before, _, behind = shown[len(prompt) :].partition(_MARK)
        return before, behind

    def _ending(self, messages: Sequence[Mapping[str, str]], index: int, behind: str) -> str:
        """Give what is generated behind the words of a reply: white space and the token that ends the turn."""
        end = self._pattern.search(behind)
        if end is None:
            behind += self._header_behind(messages, index)
            end = self._pattern.search(behind)
        if end is None:
            raise TemplateError(
                f"The chat template of {_name(self.tokenizer)} puts no special token behind a reply, so a model would "
                "never learn to stop: make the text that ends a turn a special token, or use another template."
            )
        if behind[: end.start()].strip():
            raise TemplateError(
                f"The chat template of {_name(self.tokenizer)} adds words behind a reply: {_short(behind[: end.start()])}."
            )
        return behind[: end.end()]

    def _header_behind(self, messages: Sequence[Mapping[str, str]], index: int) -> str:
        """Give the special token that begins the next turn, where nothing else ends this one (GLM): there it stops."""
        # Seen behind a plain reply, for a thought may be taken out as soon as another turn follows.
        plain = [*messages[:index], {"role": "assistant", "content": "-"}]
        shown, following = self.render(plain), self.render([*plain, {"role": "user", "content": "-"}])
        token = self._pattern.match(following, len(shown)) if following.startswith(shown) else None
        return token[0] if token else ""


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Give what finds the tokens in a text, the longest first."""
    ordered = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")


def _said(reply: str) -> str:
    """Give the part of a reply behind its thought."""
    return reply.rpartition("</think>")[2].strip()


def _untagged(thought: str) -> str:
    """Give a thought without the marks around it, which templates set in their own way."""
    for tag in _THOUGHT:
        thought = thought.replace(tag, "")
    return thought.strip()


def _short(what: object) -> str:
    text = what if isinstance(what, str) else repr(what)
    shown = text if len(text) <= 60 else text[:57] + "..."
    return repr(shown) if isinstance(what, str) else shown


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
