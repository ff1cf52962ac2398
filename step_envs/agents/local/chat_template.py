"""What a chat template makes of a conversation: the text that a model reads.

Two things make this more than one call. Text of a world or a reply can look like a special token of the template; a
tokenizer would take it for one, and an observation could end the turn. So such text is marked as text before it is laid
out. And a thought can have a section of its own in the template; written into the reply instead, it would come behind an
empty section, which no model was trained on. So it is found out once how the template takes a thought.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from step_envs.agents.local.chat_messages import THOUGHT, Message, plain_message, split_tags
from step_envs.errors import TemplateError

SHIELD = "\ue000"
"""A private character that is put into text that looks like a special token, so that it stays text; removed again later."""

MARK = "\ue001"
"""A private character that takes the place of a text, to see where a template puts it."""

_THOUGHT_MARK = "\ue002"
_THOUGHT_TAGS = (
    "<think>",
    "</think>",
)  # models write these themselves, even if the tokenizer has special tokens for them

_PLAIN = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
)


class ThoughtSection(NamedTuple):
    """How a template writes the thought of a reply apart from its words.

    Attributes:
        form: How it takes the thought: in the ``field`` ``reasoning_content``, or as a ``part`` of the content.
        closing: What it writes between the thought and the words.
        opened_by_prompt: The generation prompt ends within the section, so that every reply begins with a thought.
    """

    form: Literal["field", "part"]
    closing: str
    opened_by_prompt: bool


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        template_kwargs: Further variables for the template, e.g. ``{"enable_thinking": False}`` or the ``tools`` that the
            prompt describes. Use the same ones when the model is served.

    Attributes:
        name: Name of the tokenizer, for errors.
        special: Pattern of the special tokens and of the other tokens that the template puts around turns.
        section: How the template writes thoughts; None if it has no section for them.
        endings: What ends a reply, by what the template shows behind it; filled while replies are looked at.

    Raises:
        TemplateError: The tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None) -> None:
        self.name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateError(
                f"The tokenizer {self.name} has no chat template: set tokenizer.chat_template to the one the model "
                "was trained with, or use the tokenizer of the model's chat version."
            )
        self.tokenizer = tokenizer
        self._kwargs = dict(template_kwargs or {})
        self.section: ThoughtSection | None = None
        self.endings: dict[str, str] = {}
        added = list(tokenizer.added_tokens_decoder.values())
        special = {str(token) for token in added if getattr(token, "special", False)} | set(
            tokenizer.all_special_tokens
        )
        special |= self._tokens_around_turns({str(token) for token in added} - special - set(_THOUGHT_TAGS))
        # Some tokenizers keep white space as added tokens (Gemma has 62 of them); it is text wherever it stands.
        special = {token for token in special if token.strip()}
        self.special = _pattern_of(special)
        self._in_replies = _pattern_of(special - set(_THOUGHT_TAGS))
        self.section = self._find_section()

    def shield(self, messages: Sequence[Mapping[str, Any]]) -> list[Message]:
        """Return the messages in one form, with every text that looks like a special token marked as text.

        If the template has a section for thoughts, a thought in tags at the beginning of a reply is put there.

        Raises:
            TemplateError: A message cannot be read or shielded, or holds the shielding character.
        """
        shielded = []
        for index, message in enumerate(messages):
            plain = plain_message(message, index)
            of_reply = plain["role"] == "assistant"
            if of_reply and self.section is not None and THOUGHT not in plain:
                thought, words = split_tags(plain["content"]) or ("", plain["content"])
                plain["content"] = words
                if thought:
                    plain[THOUGHT] = thought
            pattern = self._in_replies if of_reply else self.special
            role = plain.pop("role")
            shielded.append({"role": role} | {key: self._shielded(plain[key], pattern, index) for key in plain})
        return shielded

    def render(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool = False) -> str:
        """Render a conversation as text.

        Args:
            messages: What ``shield`` returned.
            prompt: Add the generation prompt, which asks for the next reply.

        Raises:
            TemplateError: The template refuses the conversation.
        """
        form = self.section.form if self.section is not None else "field"
        shown = [_in_form(message, form) for message in messages]
        try:
            return self._apply(shown, prompt)
        except TemplateError as error:
            if not any("tool_calls" in message for message in shown):
                raise
            # Most templates write the arguments of a call themselves; the others want the text of them.
            try:
                return self._apply([_with_arguments_as_text(message) for message in shown], prompt)
            except TemplateError:
                raise error from None

    def _apply(self, messages: list[Message], prompt: bool) -> str:
        from jinja2 import TemplateError as JinjaError

        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompt, **self._kwargs
            )
        # A template is somebody else's program: whatever error it ends in, the conversation is what it cannot render.
        except (JinjaError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            roles = dict.fromkeys(message["role"] for message in messages)
            hint = "Give it the variables that it needs with template_kwargs."
            if "system" in roles:
                hint = 'Templates without a system role want trajectories of the style "eto".'
            elif "tool" in roles:
                hint = "Use the template of a model that calls tools, or write calls and their answers as text."
            raise TemplateError(
                f"The chat template of {self.name} refuses a conversation of the roles {', '.join(roles)}: {error}. {hint}"
            ) from error
        assert isinstance(text, str)
        # Where nothing was marked, it is the text of somebody who wrote about this character.
        if "\\ue000" in text and SHIELD in json.dumps(messages, ensure_ascii=False, default=str):
            raise TemplateError(
                f"The chat template of {self.name} escapes characters in tool calls, so that text which looks like a "
                "special token cannot be kept as text: take it out of the call."
            )
        return text

    def _shielded(self, value: Any, pattern: re.Pattern[str], index: int) -> Any:
        """Return a value with the texts in it shielded, however deep they stand."""
        if isinstance(value, str):
            return self._shielded_text(value, pattern, index)
        if isinstance(value, Mapping):
            return {
                self._shielded(key, pattern, index): self._shielded(inner, pattern, index)
                for key, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._shielded(inner, pattern, index) for inner in value]
        return value

    def _shielded_text(self, text: str, pattern: re.Pattern[str], index: int) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TemplateError(
                f"Message {index} holds half a character ({text[error.start]!r} at place {error.start}), which no "
                "tokenizer can write: take it out."
            ) from error
        if SHIELD in text:
            raise TemplateError(f"A message holds the private character {SHIELD!r}, which has no meaning: take it out.")
        while found := pattern.search(text):
            if len(found[0]) == 1:
                raise TemplateError(
                    f"The character {found[0]!r} in a message is a special token of {self.name} and "
                    "cannot be kept as text: take it out."
                )
            text = text[: found.start() + 1] + SHIELD + text[found.start() + 1 :]
        return text

    def _tokens_around_turns(self, tokens: set[str]) -> set[str]:
        """Find the tokens that the template itself puts around turns; not every tokenizer marks them as special."""
        # A word can be an added token as well. It stays a word, because a server reads it as that token, too.
        tokens = {token for token in tokens if not token.replace(" ", "").isalnum()}
        if not tokens:
            return set()
        try:
            text = self.render(_PLAIN, prompt=True)
        except TemplateError:
            return set()
        return {token for token in tokens if token in text}

    def _find_section(self) -> ThoughtSection | None:
        """Find out how the template takes the thought of a reply, by rendering one."""
        asked: list[Message] = [{"role": "user", "content": MARK}]
        try:
            # What stands before the question does not matter: some templates describe tools in prompts only.
            prompt = self.render(asked, prompt=True).partition(MARK)[2]
            plain = self.render([*asked, {"role": "assistant", "content": MARK}]).partition(MARK)[2]
        except TemplateError:
            return None
        reply = {"role": "assistant", "content": MARK, THOUGHT: _THOUGHT_MARK}
        forms: tuple[Literal["field", "part"], ...] = ("field", "part")
        for form in forms:
            try:
                shown = self._apply([*asked, _in_form(reply, form)], False).partition(MARK)[2]
            except TemplateError:
                continue
            before, _, rest = shown.partition(_THOUGHT_MARK)
            closing, words, behind = rest.partition(MARK)
            # A template that knows no parts prints the list of them. One whose prompt ends the thought wants none.
            if not words or _THOUGHT_MARK in rest or behind != plain.partition(MARK)[2]:
                continue
            if not before.startswith(prompt.rstrip()):
                continue
            # What a template shows of a reply without a thought tells whether the thought is a choice of the model.
            optional = plain.startswith(prompt) and plain[len(prompt) :].lstrip().startswith(MARK)
            return ThoughtSection(form, closing, before.rstrip() == prompt.rstrip() and not optional)
        return None


def _in_form(message: Mapping[str, Any], form: Literal["field", "part"]) -> Message:
    """Return a message with its thought where the template takes it."""
    if THOUGHT not in message:
        return dict(message)
    if form == "field":
        # transformers knows the third name of the field, thinking, by the first.
        return {**message, "reasoning": message[THOUGHT]}
    parts = [{"type": "thinking", "thinking": message[THOUGHT]}, {"type": "text", "text": message["content"]}]
    return {key: value for key, value in message.items() if key != THOUGHT} | {"content": parts}


def _with_arguments_as_text(message: Message) -> Message:
    if "tool_calls" not in message:
        return message
    calls = [
        call
        | {"function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False)}}
        for call in message["tool_calls"]
    ]
    return message | {"tool_calls": calls}


def _pattern_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds the tokens in a text, the longest first."""
    ordered = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
