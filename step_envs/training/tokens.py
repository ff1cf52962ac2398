"""Turn a conversation into token ids, with labels on exactly the tokens that the model itself generates in trained turns.

The obvious way, to tokenize each message and join the ids, gives other ids than a server does: tokens merge across
messages, and some templates rewrite earlier messages. So the template lays out the text, and labels are found by
position in it.

There are two modes. If a template only ever appends to its text, the whole *conversation* is one sample: before every
reply stand exactly the ids that a server would give the model. If a template rewrites the history (Qwen3 removes
thoughts from earlier replies, gpt-oss ends the last reply in another way), or if tokens merge across the edge of a
reply, each trained reply becomes a sample of its own (*turns*): its prompt as a server would send it, and the reply. A
probe chooses the mode for every tokenizer and template; then every sample is checked against the template, reply by
reply.

Source of the algorithm: the loss of STeP (arXiv 2505.20023, equation 3), where the turns judged wrong carry no loss.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from step_envs.agents.local.chat_messages import read_messages, role_of, with_thought_apart
from step_envs.agents.local.chat_template import SHIELD, ChatTemplate
from step_envs.agents.local.continuation import Continuation, find_continuation
from step_envs.errors import TemplateError, unknown_name
from step_envs.trajectory import Trajectory

IGNORED = -100
"""Label of a token that is not trained on; torch and transformers use the same value."""

Mode = Literal["conversation", "turns"]
Thoughts = Literal["text", "section"]
"""How the thought of a reply is trained: as text, or in the section that the template has for thoughts."""

_LONGEST_CHARACTER = 8  # tokens: a character has at most four bytes, and some tokenizers put a mark before each

_PROBE = (
    {"role": "user", "content": "Your task is to find a coin."},
    {"role": "assistant", "content": "Thought: I look around first.\nAction: look"},
    {"role": "user", "content": "Observation: There is a box here."},
    {"role": "assistant", "content": "Thought: It may be in the box.\nAction: open box"},
    {"role": "user", "content": "Observation: There is a coin in the box."},
    {"role": "assistant", "content": "Thought: I take it.\nAction: take coin"},
)


class Sample(TypedDict):
    """One row for a trainer; all three lists have the same length.

    Attributes:
        input_ids: Token ids.
        labels: The token's id if it is trained on, else -100.
        weights: Weight of the token in the loss, from 0 to 1; 0 if the label is -100.
    """

    input_ids: list[int]
    labels: list[int]
    weights: list[float]


class TemplateReport(NamedTuple):
    """How a tokenizer's conversations become samples.

    Attributes:
        mode: ``conversation``: one sample per conversation; ``turns``: one sample per trained turn.
        reason: A sentence that says why.
    """

    mode: Mode
    reason: str


class _NotOneSampleError(Exception):
    """The conversation cannot be one sample; the message says why."""


@dataclass(frozen=True)
class _TokenizedText:
    """A tokenized text: token ids, and the start and end of each token in the text."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


class TrajectoryEncoder:
    """Turns conversations into samples for one tokenizer.

    Args:
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        template_kwargs: More variables for the template, e.g. ``{"enable_thinking": False}``; serve the model with the
            same ones.
        thoughts: ``section`` puts the ``Thought:`` of a trained reply into the template's own section for thoughts, as a
            reasoning model writes it, and leaves earlier thoughts out, as they are when such a model plays. ``text``
            leaves replies as they are.

    Attributes:
        report: The mode that the probe chose, and why.
        fell_back: Number of conversations that had to be encoded turn by turn although the probe chose ``conversation``.

    Raises:
        TemplateError: The tokenizer is not a fast one, has no chat template, or its template can be used in neither mode.
        UnknownNameError: ``thoughts`` is neither of the two.
    """

    def __init__(
        self, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None, *, thoughts: Thoughts = "text"
    ) -> None:
        if thoughts not in get_args(Thoughts):
            raise unknown_name("way to write thoughts", thoughts, get_args(Thoughts))
        self.tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer, template_kwargs)
        self._in_section = thoughts == "section"
        if self._in_section and self._template.section is None:
            raise TemplateError(
                f"The chat template of {self._template.name} has no section for thoughts: switch thoughts on "
                '(template_kwargs), or leave them text (thoughts="text").'
            )
        if not getattr(tokenizer, "is_fast", False):
            raise TemplateError("Exact masks need a fast tokenizer, one that knows where in the text its tokens are.")
        self._special_ids = {
            number for number, token in tokenizer.added_tokens_decoder.items() if getattr(token, "special", False)
        }
        self.fell_back = 0
        self.report = self._probe()

    def encode(self, messages: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> list[Sample]:
        """Turn a conversation into samples.

        Args:
            messages: ``role``, ``content`` and ``loss`` (0 to 1) of every turn, as from ``Trajectory.messages()``, or
                ``from`` and ``value`` as in ShareGPT; a missing ``loss`` is 0. ``reasoning_content`` and ``tool_calls``
                are encoded as the template writes them.

        Returns:
            One sample in the mode ``conversation``, else one per trained turn; no sample if no turn is trained on.

        Raises:
            TemplateError: The template refuses the conversation, changes a reply, or does not say where a reply ends.
            ValueError: A loss is not from 0 to 1, or lies on a turn that is not the assistant's.
        """
        messages = read_messages(messages)
        weights = [_loss_of(message, index) for index, message in enumerate(messages)]
        if not any(weights):
            return []
        if self._in_section:
            return [
                self._encode_turn(self._template.shield(with_thought_apart(messages[: index + 1])), index, weight)
                for index, weight in enumerate(weights)
                if weight
            ]
        shielded = self._template.shield(messages)
        if self.report.mode == "conversation":
            try:
                return [self._encode_conversation(shielded, weights)]
            except _NotOneSampleError:
                self.fell_back += 1
        return [self._encode_turn(shielded, index, weight) for index, weight in enumerate(weights) if weight]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token; a character of several tokens is the text of the last of them."""
        texts: list[str] = []
        context: list[int] = []
        held: list[int] = []
        for number in ids:
            held.append(number)
            # Decode it together with the token before, because some tokenizers write a space only between tokens.
            text = self._decoded(context + held)
            if text.endswith("\ufffd") and len(held) < _LONGEST_CHARACTER:
                texts.append("")
                continue
            texts.append(text.removeprefix(self._decoded(context)))
            context, held = held[-1:], []
        return texts

    def length(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Count the tokens of a conversation that ends with a reply, in the mode that needs more tokens."""
        shielded = self._template.shield(with_thought_apart(messages) if self._in_section else messages)
        reply = find_continuation(self._template, shielded, len(shielded) - 1)
        return max(
            len(self._tokenize(text).ids) for text in (self._template.render(shielded), reply.prompt + reply.text)
        )

    def _probe(self) -> TemplateReport:
        try:
            return self._try_modes(_PROBE)
        except TemplateError:
            # Some templates of reasoning models accept only replies that contain a thought.
            thinking = [
                message | {"content": f"<think>\n{message['content'].replace(chr(10), chr(10) + '</think>' + chr(10))}"}
                if message["role"] == "assistant"
                else message
                for message in _PROBE
            ]
            try:
                return self._try_modes(thinking)
            except TemplateError:
                pass
            raise

    def _try_modes(self, probe: Sequence[Mapping[str, str]]) -> TemplateReport:
        if self._in_section:
            for index in range(1, len(probe), 2):
                self._encode_turn(self._template.shield(with_thought_apart(probe[: index + 1])), index, 1.0)
            return TemplateReport(
                "turns",
                "One sample for each trained turn: its thought is in the section that the template has for thoughts.",
            )
        messages = self._template.shield(probe)
        try:
            self._encode_conversation(messages, [float(message["role"] == "assistant") for message in messages])
        except _NotOneSampleError as error:
            for index in range(1, len(messages), 2):
                self._encode_turn(messages, index, 1.0)
            return TemplateReport("turns", f"One sample for each trained turn: {error}.")
        return TemplateReport(
            "conversation", "One sample for a conversation: the template only adds to what it laid out."
        )

    def _encode_conversation(self, messages: list[dict[str, Any]], weights: list[float]) -> Sample:
        whole = self._template.render(messages)
        replies: list[tuple[Continuation, float]] = []
        for index, message in enumerate(messages):
            # No prompt asks for a reply at the very beginning, but a reply may stand there as context.
            if message["role"] != "assistant" or (index == 0 and not weights[0]):
                continue
            reply = find_continuation(self._template, messages, index)
            if not reply.as_rendered:
                raise _NotOneSampleError(
                    "the template shows a past reply in another form than the generation prompt asks for"
                )
            if not whole.startswith(reply.prompt + reply.text):
                raise _NotOneSampleError("the template rewrites the history")
            replies.append((reply, weights[index]))
        text = self._tokenize(whole)
        labels, by_token = [IGNORED] * len(text.ids), [0.0] * len(text.ids)
        edges = [
            (self._token_at(text, len(reply.prompt)), self._token_at(text, len(reply.prompt) + len(reply.text)))
            for reply, _ in replies
        ]
        self._check_prompts(
            whole, text, [(start, len(reply.prompt)) for (start, _), (reply, _) in zip(edges, replies, strict=True)]
        )
        for (start, end), (_, weight) in zip(edges, replies, strict=True):
            if weight:
                labels[start:end] = text.ids[start:end]
                by_token[start:end] = [weight] * (end - start)
        return self._remove_shields(whole, text, labels, by_token)

    def _encode_turn(self, messages: list[dict[str, Any]], index: int, weight: float) -> Sample:
        reply = find_continuation(self._template, messages, index)
        prompt, whole = self._tokenize(reply.prompt), self._tokenize(reply.prompt + reply.text)
        start = len(prompt.ids)
        if whole.ids[:start] == prompt.ids:
            labels = [IGNORED] * start + whole.ids[start:]
            return self._remove_shields(
                reply.prompt + reply.text, whole, labels, [0.0] * start + [weight] * (len(labels) - start)
            )
        before = self._remove_shields(reply.prompt, prompt, [IGNORED] * start, [0.0] * start)
        written = self._tokenize_reply_alone(reply.text)
        return Sample(
            input_ids=before["input_ids"] + written,
            labels=before["labels"] + written,
            weights=before["weights"] + [weight] * len(written),
        )

    def _tokenize_reply_alone(self, text: str) -> list[int]:
        """Tokenize a reply on its own, if its first token would merge with the last token of the prompt.

        Some tokenizers put a space of their own before a text, but not in the middle of one. So the reply is tokenized
        behind a short other text, and the tokens of that text are removed.
        """
        for before in ("\n", ":", "", ")", "x"):
            lead, both = self._tokenize(before), self._tokenize(before + text)
            cut = len(lead.ids)
            if both.ids[:cut] != lead.ids:
                continue
            bare = self._remove_shields(before + text, both, both.ids, [1.0] * len(both.ids))["input_ids"][cut:]
            # Without text before it, there may be such a space. It shows if the tokens are decoded behind other tokens.
            other = self._tokenize(")").ids
            if before or self._decoded(other + bare) == self._decoded(other) + text.replace(SHIELD, ""):
                return bare
        raise TemplateError(
            "The tokenizer merges the beginning of a reply with the prompt, and cannot write the reply on its own: "
            f"{text[:60]!r}."
        )

    def _decoded(self, ids: list[int]) -> str:
        decoded = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(decoded, str)
        return decoded

    def _tokenize(self, text: str) -> _TokenizedText:
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        offsets = encoded["offset_mapping"]
        return _TokenizedText(encoded["input_ids"], [start for start, _ in offsets], [end for _, end in offsets])

    def _token_at(self, text: _TokenizedText, position: int) -> int:
        """Return the index of the token that begins at a position in the text."""
        token = bisect_left(text.starts, position)
        if token and text.ends[token - 1] > position:
            raise _NotOneSampleError("a token reaches across the edge of a reply")
        return token

    def _check_prompts(self, whole: str, text: _TokenizedText, edges: list[tuple[int, int]]) -> None:
        """Check that each prompt, tokenized alone as a server does, has the same ids as within the conversation.

        Special tokens cut a text into parts that are tokenized independently, so it is enough to start at the last one.
        """
        anchors, tails = [], []
        anchor = 0
        token = 0
        for edge, position in edges:
            while token < edge:
                if text.ids[token] in self._special_ids:
                    anchor = token
                token += 1
            anchors.append(anchor)
            tails.append(whole[text.starts[anchor] if text.starts else 0 : position])
        if not tails:
            return
        encoded = self.tokenizer(tails, add_special_tokens=False, return_attention_mask=False, verbose=False)[
            "input_ids"
        ]
        for (edge, _), start, ids in zip(edges, anchors, encoded, strict=True):
            if ids != text.ids[start:edge]:
                raise _NotOneSampleError("the prompt on its own has other tokens than within the conversation")

    def _remove_shields(self, whole: str, text: _TokenizedText, labels: list[int], weights: list[float]) -> Sample:
        """Remove the tokens of the characters that kept text from being read as special tokens."""
        if SHIELD not in whole:
            return Sample(input_ids=text.ids, labels=labels, weights=weights)
        kept = []
        for token, (start, end) in enumerate(zip(text.starts, text.ends, strict=True)):
            if SHIELD not in whole[start:end]:
                kept.append(token)
            elif whole[start:end] != SHIELD:
                raise TemplateError(
                    f"The tokenizer cannot keep text that looks like a special token apart, near {whole[start:end]!r}."
                )
        return Sample(
            input_ids=[text.ids[token] for token in kept],
            labels=[labels[token] for token in kept],
            weights=[weights[token] for token in kept],
        )


_encoders: dict[tuple[int, str], TrajectoryEncoder] = {}
_MOST_ENCODERS = 16  # each keeps its tokenizer in memory


def tokenize_trajectory(
    trajectory_or_messages: Trajectory | Sequence[Mapping[str, Any]] | Mapping[str, Any],
    tokenizer: Any,
    *,
    template_kwargs: Mapping[str, Any] | None = None,
    thoughts: Thoughts = "text",
) -> list[Sample]:
    """Turn a trajectory into ids, labels and weights for a trainer.

    Exactly the tokens that the model itself generates in turns with a loss have labels, including the end-of-turn
    token. Text in the conversation that looks like a special token of the template stays text.

    Args:
        trajectory_or_messages: A trajectory; or messages with ``role``, ``content`` and ``loss`` (0 to 1), or ShareGPT's
            ``from``, ``value`` and ``loss``; or a row that holds them under ``messages`` or ``conversations``.
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        template_kwargs: More variables for the template, e.g. ``{"enable_thinking": False}``; serve the model with the
            same ones.
        thoughts: ``section`` writes the thought of a reply into the template's own section; see ``TrajectoryEncoder``.

    Returns:
        One sample if the template allows it, else one per trained turn; see ``TrajectoryEncoder``. No sample if no turn is
        trained on.

    Raises:
        TemplateError: The template or tokenizer cannot be used, or not with this conversation; the message says why.
        ValueError: A loss is not from 0 to 1, or lies on a turn that is not the assistant's.
    """
    messages = (
        trajectory_or_messages.messages() if isinstance(trajectory_or_messages, Trajectory) else trajectory_or_messages
    )
    return encoder_for(tokenizer, template_kwargs, thoughts=thoughts).encode(messages)


def encoder_for(
    tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None, *, thoughts: Thoughts = "text"
) -> TrajectoryEncoder:
    """Return the encoder of a tokenizer; the same one as long as its chat template and its special tokens do not change."""
    parts = (
        getattr(tokenizer, "chat_template", None),
        sorted((template_kwargs or {}).items()),
        getattr(tokenizer, "special_tokens_map", None),
        len(tokenizer) if hasattr(tokenizer, "__len__") else 0,
        thoughts,
    )
    # An encoder keeps its tokenizer alive, so no other tokenizer can get the same id while the encoder is in this table.
    key = id(tokenizer), repr(parts)
    if key not in _encoders:
        encoder = TrajectoryEncoder(tokenizer, template_kwargs, thoughts=thoughts)
        while len(_encoders) >= _MOST_ENCODERS:
            del _encoders[next(iter(_encoders))]
        _encoders[key] = encoder
    return _encoders[key]


def _loss_of(message: Mapping[str, Any], index: int) -> float:
    weight = float(message.get("loss") or 0.0)
    if not 0 <= weight <= 1:
        raise ValueError(f"The loss of turn {index} is {weight:g}; it must be from 0 to 1.")
    if weight and role_of(message) != "assistant":
        raise ValueError(f"Turn {index} of role {role_of(message)!r} carries a loss; only the assistant's turns can.")
    return weight
