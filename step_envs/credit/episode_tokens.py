"""Turn an episode into token ids, with the place at which a model has read each reply.

What a model predicts at a place must not depend on what follows. In a causal model it does not, as long as the ids before
the place stay the same. But many chat templates rewrite earlier messages when later ones arrive (Qwen3 removes thoughts),
and tokens can merge across messages. So every reply is laid out with exactly the conversation before it, as a server would
send it, and nothing behind it. Where the ids of one reply are the beginning of those of the next, both share one sample,
because the model computes the same at that place. So a template that only appends gives one sample for an episode, one that
rewrites the history gives one for each reply, and nobody has to know which of the two it is.

Where tokens merge across the edge between a prompt and a reply, the text is tokenized as a whole, as it stands in the next
prompt; fine-tuning (``training.tokens``) has to keep the two apart there, and an estimator only reads.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from step_envs.agents.local.chat_template import SHIELD, ChatTemplate
from step_envs.agents.local.continuation import find_continuation
from step_envs.agents.window import Window
from step_envs.errors import TemplateError
from step_envs.trajectory import Trajectory

Messages = Sequence[dict[str, str]]


class ReplySample(NamedTuple):
    """A text that a model reads, and where in it replies end.

    Attributes:
        ids: Token ids.
        places: Indices of tokens: the last one before the first reply, and the last one of every reply, in order.
    """

    ids: list[int]
    places: list[int]


def acting_replies(trajectory: Trajectory) -> list[int]:
    """List the places of the replies in an episode, without those that belong to the instructions ("OK")."""
    return [
        index for index, turn in enumerate(trajectory.turns) if turn.role == "assistant" and turn.kind != "instruction"
    ]


class EpisodeEncoder:
    """Turns episodes into samples for one tokenizer.

    Args:
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        context: The most tokens of a sample; None sets no limit. In a longer conversation the oldest observations are
            shortened, as they are for an agent (``agents.window``), never the task and never a reply.

    Raises:
        TemplateError: The tokenizer is not a fast one, or has no chat template.
    """

    def __init__(self, tokenizer: Any, context: int | None = None) -> None:
        self.context = context
        self._template = ChatTemplate(tokenizer)
        if not getattr(tokenizer, "is_fast", False):
            raise TemplateError("Exact places of replies need a fast tokenizer: save it as tokenizer.json.")
        # Switches off truncation and padding that tokenizer.json may ask for. Afterwards threads may share the tokenizer.
        tokenizer("", truncation=False, padding=False)
        self._encode = tokenizer.backend_tokenizer.encode

    def encode(self, trajectory: Trajectory) -> list[ReplySample] | None:
        """Turn an episode into samples.

        Returns:
            Samples with one place more than the episode has replies, in order. None if a reply does not fit into the
            context even with all earlier observations shortened, or if there is no reply.

        Raises:
            TemplateError: The template refuses the conversation, changes a reply, or does not say where a reply ends.
        """
        samples: list[ReplySample] = []
        for ids in self._readings(trajectory):
            if ids is None:
                return None
            before = samples[-1].ids if samples else []
            if samples and ids[: len(before)] == before:
                samples[-1] = ReplySample(ids, [*samples[-1].places, len(ids) - 1])
            else:
                samples.append(ReplySample(ids, [len(ids) - 1]))
        return samples or None

    def _readings(self, trajectory: Trajectory) -> Iterator[list[int] | None]:
        """Yield what a model has read before the first reply, and at the end of each; None if it does not fit."""
        messages = [{"role": turn.role, "content": turn.content} for turn in trajectory.turns]
        window = Window(self.context, lambda shown: len(self._read(shown)[1]))
        for number, index in enumerate(acting_replies(trajectory)):
            shown = window.fit(messages[: index + 1])
            if shown is None:
                yield None
                return
            prompt, whole = self._read(shown)
            if number == 0:
                yield prompt
            yield whole

    def _read(self, messages: Messages) -> tuple[list[int], list[int]]:
        """Tokenize the prompt of the last message, a reply, and the prompt together with the reply."""
        shielded = self._template.shield(messages)
        reply = find_continuation(self._template, shielded, len(shielded) - 1)
        return self._tokenize(reply.prompt), self._tokenize(reply.prompt + reply.text)

    def _tokenize(self, text: str) -> list[int]:
        encoded = self._encode(text, add_special_tokens=False)
        if SHIELD not in text:
            return list(encoded.ids)
        # The shield keeps text from being read as a special token; it is no text of the conversation.
        kept = []
        for number, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            if SHIELD not in text[start:end]:
                kept.append(number)
            elif text[start:end] != SHIELD:
                raise TemplateError(
                    f"The tokenizer cannot keep text that looks like a special token apart, near {text[start:end]!r}."
                )
        return kept
