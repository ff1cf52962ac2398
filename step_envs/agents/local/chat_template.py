"""What a model reads and what it writes, according to its chat template.

Training has to know which part of the rendered text a model would have generated. Searching for the reply in the text, the
obvious way, fails because a template is a program: it may trim a reply, rewrite the history, open a thought of its own
before a reply, or end the last reply in another way than earlier ones. So nothing is assumed. For every reply the template
renders the prompt and the conversation with the reply; the difference is what the model would have generated.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from step_envs.errors import TemplateError

SHIELD = "\ue000"
"""A private character that is put into text that looks like a special token, so that it stays text; removed again later."""

_MARK = "\ue001"
"""A private character that takes the place of a reply, to see where a template puts it."""

_OPEN_THOUGHT = re.compile(r"<think>\s*$")
_THOUGHT = ("<think>", "</think>")  # models write these themselves, even if the tokenizer has special tokens for them

_PLAIN = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
)


class Continuation(NamedTuple):
    """One reply as text: what the model reads before it, and what it generates.

    Attributes:
        prompt: Everything before the reply, the generation prompt included.
        text: What the model generates, up to and including the end-of-turn token.
        as_rendered: The template renders the one directly after the other. If not, the two were put together from the
            generation prompt and the reply's own words, because the template shows past replies in another form.
    """

    prompt: str
    text: str
    as_rendered: bool


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        template_kwargs: Further variables for the template, e.g. ``{"enable_thinking": False}``. Use the same ones when
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
        special |= self._tokens_around_turns({str(token) for token in added} - special - set(_THOUGHT))
        self._pattern = _pattern_of(special)
        self._in_replies = _pattern_of(special - set(_THOUGHT))

    def shield(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
        """Return the messages with every text that looks like a special token marked as text.

        Raises:
            TemplateError: A message is not text, cannot be shielded, or holds the shielding character.
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
        """Render a conversation as text.

        Args:
            messages: ``role`` and ``content``.
            prompt: Add the generation prompt, which asks for the next reply.

        Raises:
            TemplateError: The template refuses the conversation.
        """
        from jinja2 import TemplateError as JinjaError

        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompt, **self._kwargs
            )
        # A template is somebody else's program: whatever error it ends in, the conversation is what it cannot render.
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
            TemplateError: The template does not show the reply unchanged and whole, or the conversation begins with it.
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
        return Continuation(prompt, self._put_together(messages, index, prompt, whole, reply), False)

    def _tokens_around_turns(self, tokens: set[str]) -> set[str]:
        """Find the tokens that the template itself puts around turns; not every tokenizer marks them as special."""
        if not tokens:
            return set()
        try:
            text = self.render(_PLAIN, prompt=True)
        except TemplateError:
            return set()
        return {token for token in tokens if token in text}

    def _generated(self, messages: Sequence[Mapping[str, str]], index: int, prompt: str, whole: str, reply: str) -> str:
        """Cut the text after a prompt behind the token that ends the turn, and check that it holds the whole reply."""
        text = whole[len(prompt) :]
        if _OPEN_THOUGHT.search(prompt):
            # The prompt opens the thought already; the reply continues after the opening tag.
            reply = reply.removeprefix("<think>").lstrip()
        place = len(text) - len(text.lstrip())
        if text.startswith(reply, place):
            end = self._pattern.search(text, place + len(reply))
            if end and not text[place + len(reply) : end.start()].strip() and not text[end.end() :].strip():
                return text[: end.end()]
        # The template puts something before the reply, or more than one token after it.
        before, behind = self._around(messages, index, prompt, reply)
        before, said = before.rstrip(), _words_of(reply)
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

    def _put_together(
        self, messages: Sequence[Mapping[str, str]], index: int, prompt: str, whole: str, reply: str
    ) -> str:
        words = reply
        if _OPEN_THOUGHT.search(prompt):
            # The prompt opens the thought already, so the model continues inside it and closes it itself.
            if not reply.startswith("<think>") or "</think>" not in reply:
                raise TemplateError(
                    f"The chat template of {_name(self.tokenizer)} opens a thought before every reply, which the reply "
                    f"{_short(reply)} does not close: switch thoughts off (template_kwargs, often "
                    '{"enable_thinking": False}) or put the reply\'s thought into <think>...</think>.'
                )
            words = reply.removeprefix("<think>").lstrip()
        _, behind = self._around(messages, index, "", reply)
        if not whole.removesuffix(behind).rstrip().endswith(_words_of(reply)):
            raise TemplateError(f"The chat template of {_name(self.tokenizer)} leaves a reply out: {_short(reply)}.")
        return words + self._ending(messages, index, behind)

    def _around(self, messages: Sequence[Mapping[str, str]], index: int, prompt: str, reply: str) -> tuple[str, str]:
        """Find what the template puts around the words of a reply, by rendering a mark in their place."""
        # White space before the words stays, because not every template strips it.
        written = messages[index]["content"].rstrip()
        marked = written[: len(written) - len(_words_of(written))] + _MARK
        shown = self.render([*messages[:index], {"role": "assistant", "content": marked}])
        if not shown.startswith(prompt) or shown.count(_MARK) != 1:
            raise TemplateError(
                f"The chat template of {_name(self.tokenizer)} does not show a reply once and whole: {_short(reply)}."
            )
        before, _, behind = shown[len(prompt) :].partition(_MARK)
        return before, behind

    def _ending(self, messages: Sequence[Mapping[str, str]], index: int, behind: str) -> str:
        """Return what is generated after the words of a reply: white space and the token that ends the turn."""
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
        """Return the special token that begins the next turn, for templates in which nothing else ends this one (GLM)."""
        # Found after a plain reply, because a thought may be removed as soon as another turn follows.
        plain = [*messages[:index], {"role": "assistant", "content": "-"}]
        shown, following = self.render(plain), self.render([*plain, {"role": "user", "content": "-"}])
        token = self._pattern.match(following, len(shown)) if following.startswith(shown) else None
        return token[0] if token else ""


def _pattern_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds the tokens in a text, the longest first."""
    ordered = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")


def _words_of(reply: str) -> str:
    """Return the part of a reply after its thought."""
    return reply.rpartition("</think>")[2].strip()


def _untagged(thought: str) -> str:
    """Return a thought without its tags, which every template places in its own way."""
    for tag in _THOUGHT:
        thought = thought.replace(tag, "")
    return thought.strip()


def _short(what: object) -> str:
    text = what if isinstance(what, str) else repr(what)
    shown = text if len(text) <= 60 else text[:57] + "..."
    return repr(shown) if isinstance(what, str) else shown


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
