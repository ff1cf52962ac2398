"""A checkpoint in this process: the model, its tokenizer, and what is needed to talk to it.

Checkpoints differ in what they call their cache, which tokens end a turn, and how long a prompt may be, and their
configurations do not always say so. What can be found out by asking the model or its chat template is not read from there.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from step_envs.agents.local.cache import CacheShape, shape_of
from step_envs.agents.local.chat_template import SHIELD, ChatTemplate
from step_envs.agents.local.checkpoint import check_checkpoint, checkpoint_folder, load_tokenizer
from step_envs.agents.local.continuation import find_continuation
from step_envs.agents.local.library_messages import quiet_loading
from step_envs.errors import DataError, TemplateError
from step_envs.replies import ends_in_thought, is_over
from step_envs.trajectory import TokenLogprob

_LONGEST = 1 << 20  # a tokenizer that knows no limit reports a number far above this

_THOUGHT_MARK = re.compile(r"think|thought|reason|channel|<\|message|inner_", re.IGNORECASE)

_PRIVATE = re.compile("[\ue000-\ue00f]")

_ASKED = (
    {"role": "user", "content": "Your task is to find a coin."},
    {"role": "assistant", "content": "Thought: I look around.\nAction: look"},
    {"role": "user", "content": "Observation: There is a box here."},
)


class LocalModel:
    """A language model and its tokenizer.

    Args:
        name: What the model is called in records and messages.
        model: A causal language model of transformers, on its device; also one that PEFT or ``torch.compile`` has wrapped.
        tokenizer: Its tokenizer.
        template_kwargs: Further variables for the chat template; see ``ChatTemplate``.

    Attributes:
        context: Most tokens that the model was made to read; None if the checkpoint does not say.
        stops: Token ids that end a reply.
        begins_in_thought: The chat template opens a thought in the prompt.
        cache: Shape of its attention cache; None if the model keeps its memory in another form.
        filler: Token id for padding.

    Raises:
        TemplateError: The tokenizer cannot turn a conversation into text.
        DataError: The model cannot write a reply token by token.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None) -> None:
        # A compiled model says nothing of what it takes.
        model = getattr(model, "_orig_mod", model)
        self.name, self.tokenizer, self._model = name, tokenizer, model
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        if not getattr(self.tokenizer, "is_fast", False):
            raise TemplateError(f"The tokenizer of {name} is not a fast one: save it as tokenizer.json.")
        self._template = ChatTemplate(self.tokenizer, template_kwargs)
        # Switches off truncation and padding that tokenizer.json may ask for, which would cut or pad every prompt.
        self.tokenizer("", truncation=False, padding=False)
        self._encode: Callable[..., Any] = self.tokenizer.backend_tokenizer.encode
        self._ends: dict[int, bool] = {}
        self._thought_marks = {
            number
            for number in self.tokenizer.all_special_ids
            if _THOUGHT_MARK.search(str(self.tokenizer.convert_ids_to_tokens(number)))
        }
        self.context = context_of(model.config, self.tokenizer)
        self.stops = self._stops()
        # Templates of reasoning models open a thought in the prompt, so that a reply holds only the end of it.
        opened = self._template.render(_ASKED, prompt=True).rpartition(_ASKED[-1]["content"])[2]
        self.begins_in_thought = ends_in_thought(opened)
        self._takes = set(inspect.signature(_inside(model, name).forward).parameters)
        # Models without attention call it by another name.
        self._cache_name = "past_key_values" if "past_key_values" in self._takes else "cache_params"
        self.filler = self.tokenizer.pad_token_id or 0
        self.cache = self._probe()

    @classmethod
    def load(cls, name: str, device: torch.device, dtype: torch.dtype, *, download: bool = False) -> Self:
        """Load a checkpoint.

        Args:
            name: Folder of a checkpoint, or name of one in the Hugging Face cache.
            device: Device of the weights.
            dtype: Number type of the weights.
            download: Download the checkpoint if it is not on this machine.

        Raises:
            DataError: The checkpoint does not exist or cannot be read.
            TemplateError: Its tokenizer cannot turn a conversation into text.
        """
        folder = checkpoint_folder(name, download=download)
        check_checkpoint(folder)
        try:
            with quiet_loading():
                tokenizer: Any = load_tokenizer(folder)
                model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, local_files_only=True)
        # Weights that end early, and packages for quantized weights that are not there, raise errors of many kinds.
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, SafetensorError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise DataError(
                f"{name} cannot be read as a checkpoint (config.json, weights, tokenizer): {first}"
            ) from error
        return cls(name, model.to(device).eval(), tokenizer)

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Turn a conversation into the token ids that the model continues from.

        Text in it that looks like a special token stays text.

        Raises:
            TemplateError: The template refuses the conversation.
        """
        text = self._template.render(self._template.shield(messages), prompt=True)
        encoded = self._encode(text, add_special_tokens=False)
        ids: list[int] = encoded.ids
        if SHIELD not in text:
            return ids
        return [
            number for number, (start, end) in zip(ids, encoded.offsets, strict=True) if SHIELD not in text[start:end]
        ]

    def text(self, ids: Sequence[int]) -> str:
        """Decode token ids, without special tokens; where some of them mark a thought, with all of them."""
        marks = any(number in self._thought_marks for number in ids)
        text = self.tokenizer.decode(ids, skip_special_tokens=not marks, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        # Characters with which chat templates are handled here; in a conversation they would be refused.
        return _PRIVATE.sub("\ufffd", text)

    def token_texts(self, ids: Sequence[int], logprobs: Sequence[float]) -> tuple[TokenLogprob, ...] | None:
        """Return the text of each token with its logprob, tokens that are parts of one character joined.

        Args:
            ids: Token ids of a reply.
            logprobs: The logprob of each; more of them, as of the token that ended the reply, are left out.

        Returns:
            The tokens, whose texts together are ``text(ids)``; None where a token leaves no trace in that text.
        """
        tokens: list[TokenLogprob] = []
        said, total = "", 0.0
        for end, logprob in zip(range(1, len(ids) + 1), logprobs, strict=False):
            text, total = self.text(ids[:end]), total + logprob
            if end < len(ids) and text.endswith("\ufffd"):
                continue  # the first part of a character
            if len(text) <= len(said) or not text.startswith(said):
                return None
            tokens.append((text[len(said) :], total))
            said, total = text, 0.0
        return tuple(tokens)

    def completes(self, reply: list[int]) -> bool:
        """Return True if the last token of a reply ended its action, although it did not end the reply."""
        # Decoding the whole reply after every token would be slow. Whatever ends an action ends in one of these characters.
        if reply[-1] not in self._ends:
            self._ends[reply[-1]] = any(letter in ":：>]" for letter in self.text(reply[-1:]))
        if not self._ends[reply[-1]]:
            return False
        text = self.text(reply)
        return is_over(f"<think>{text}" if self.begins_in_thought else text)

    def __call__(self, cache: Any, **inputs: Any) -> tuple[torch.Tensor, Any]:
        """Run the model on those of the inputs that it accepts.

        Args:
            cache: What the model has read so far; None if nothing.
            **inputs: ``input_ids``, ``attention_mask``, ``position_ids``, each ``[rows, tokens]``, and others.

        Returns:
            The logits, ``[rows, tokens, vocabulary]``, and the cache to continue with.
        """
        inputs |= {self._cache_name: cache, "use_cache": True}
        if self._cache_name == "cache_params" and cache is not None:
            # The mask hides padding in a prompt. Here the prompt has been read, and a reply has no padding.
            inputs["attention_mask"] = None
        out = self._model(**{name: value for name, value in inputs.items() if name in self._takes})
        return out.logits, getattr(out, self._cache_name, None)

    def _stops(self) -> frozenset[int]:
        ends = [self.tokenizer.eos_token_id]
        for config in (self._model.config, self._model.generation_config):
            named = getattr(config, "eos_token_id", None)
            ends += named if isinstance(named, list) else [named]
        try:
            # Chat models end a turn with another token than a text, and not all of their configurations say so.
            ends.append(
                self._encode(find_continuation(self._template, _ASKED, 1).text, add_special_tokens=False).ids[-1]
            )
        except TemplateError:
            if not any(number is not None for number in ends):
                raise
        return frozenset(number for number in ends if number is not None)

    def _probe(self) -> CacheShape | None:
        with torch.inference_mode():
            _, cache = self(None, input_ids=torch.tensor([[self.filler]], device=self.device))
        if cache is None:
            raise DataError(
                f"{self.name} does not return what it remembers of a conversation (its cache), and without that a reply "
                "cannot be written token by token: use a model that does, with use_cache=True."
            )
        return shape_of(cache)


def _inside(model: Any, name: str) -> Any:
    """Return the model inside PEFT's, whose own ``forward`` does not say what it takes."""
    config = getattr(model, "active_peft_config", None)
    if config is None:
        return model
    if config.is_prompt_learning:
        raise DataError(
            f"{name} is tuned by virtual tokens ({config.peft_type.value}), with which token ids and cache do not agree: "
            "use LoRA or another kind of adapter."
        )
    return model.get_base_model()


def context_of(config: Any, tokenizer: Any) -> int | None:
    """Return the most tokens that a model was made to read; None if neither configuration nor tokenizer says."""
    limits = [getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length]
    known = [limit for limit in limits if limit is not None and 0 < limit < _LONGEST]
    return min(known, default=None)
