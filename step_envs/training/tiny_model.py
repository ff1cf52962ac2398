"""Make a tiny causal language model with random weights: the original model of an experiment that downloads none.

It is an ordinary checkpoint (Llama architecture, fast tokenizer, chat template), so all later steps treat it like any other
model. A usual tokenizer would split "the fridge 1" into several tokens, and so small a model would have to learn spelling
first. So every name and number of the world is one token, and so is every frequent phrase between two names. This makes a
conversation about half as long, and each decision of the agent about one token. All other text is written in bytes.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from step_envs.errors import missing_package

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIAL = (PAD, END, USER, ASSISTANT, SYSTEM)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

_WORD = r" ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # as in GPT-2, without digits, which come before it
_PHRASES = 160


class TinyModelSize(BaseModel):
    """Size of a tiny model.

    Attributes:
        vocabulary: Number of tokens, including the 256 bytes and the special tokens.
        width: Width of the hidden states.
        layers: Number of layers.
        heads: Number of attention heads; a divisor of the width.
        context: Longest conversation, in tokens.
        seed: Seed of the random weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocabulary: int = Field(1024, ge=300)
    width: int = Field(96, ge=8)
    layers: int = Field(3, ge=1)
    heads: int = Field(3, ge=1)
    context: int = Field(1024, ge=64)
    seed: int = 0


def learn_tokenizer(texts: Iterable[str], names: Iterable[str], vocabulary: int = 1024) -> Any:
    """Learn a tokenizer from text.

    Args:
        texts: Text whose words and phrases become tokens; all other text is written byte by byte.
        names: Words that become tokens of their own and are never part of a longer token.
        vocabulary: The most tokens.

    Returns:
        A fast tokenizer of transformers, with ``CHAT_TEMPLATE``.

    Raises:
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise missing_package(error.name or "tokenizers", "A tokenizer", "train") from error
    texts = list(texts)
    known = sorted(set(names), key=lambda name: (-len(name), name))
    name = rf" ?\b(?:{'|'.join(map(re.escape, known))})\b| ?[0-9]+"
    phrases = _phrases(texts, name)
    # The longest phrase first, and only phrases that end at the end of a word.
    fixed = "|".join(re.escape(phrase) + (r"\b" if phrase[-1].isalnum() else "") for phrase in phrases)
    isolate = pre_tokenizers.Split(Regex(f"{name}|{fixed}|{_WORD}" if fixed else f"{name}|{_WORD}"), "isolated")
    split = pre_tokenizers.Sequence([isolate, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    wanted = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    for word in (*known, *map(str, range(1, 10)), *phrases):
        wanted += [spelled(form)[0][0] for form in ((word,) if word in phrases else (f" {word}", word))]
    wanted += [word for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if count > 1]
    tokens = list(dict.fromkeys(wanted))[:vocabulary]
    # Without merges, a piece of text is one token if it is in the vocabulary, and bytes if it is not.
    tokenizer = Tokenizer(
        models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[], ignore_merges=True)
    )
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _phrases(texts: Iterable[str], name: str) -> list[str]:
    """Find the phrases between two names that save the most words if they become one token; the longest first."""
    counts = Counter(part for text in texts for part in re.split(name, text) if len(part.split()) > 1)
    saved = {phrase: count * (len(phrase.split()) - 1) for phrase, count in counts.items() if count > 1}
    chosen = sorted(saved, key=lambda phrase: (-saved[phrase], phrase))[:_PHRASES]
    return sorted(chosen, key=lambda phrase: (-len(phrase), phrase))


def make_tiny_model(tokenizer: Any, size: TinyModelSize, out: Path) -> Path:
    """Make a checkpoint with random weights.

    Args:
        tokenizer: The tokenizer, which is saved with the model.
        size: Size of the model.
        out: Folder of the checkpoint.

    Returns:
        The folder.

    Raises:
        ValueError: The number of heads does not divide the width.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    try:
        from transformers import LlamaConfig, LlamaForCausalLM, set_seed
    except ImportError as error:
        raise missing_package(error.name or "transformers", "A model", "train") from error
    if size.width % size.heads:
        raise ValueError(f"{size.heads} heads do not divide a width of {size.width}.")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        # SwiGLU's usual 8/3, in whole multiples of 16.
        intermediate_size=size.width * 8 // 48 * 16,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    set_seed(size.seed)
    model = LlamaForCausalLM(config)
    _compose_names(tokenizer, model)
    tokenizer.model_max_length = size.context
    tokenizer.save_pretrained(str(out))
    model.save_pretrained(str(out))
    return out


def _compose_names(tokenizer: Any, model: Any) -> None:
    """Begin the embedding of a numbered name ("pencil 1") as the sum of those of its name and its number.

    Else the model would have to learn for each of them from its episodes alone that the "pencil" of a task is found where a
    "pencil 1" is.
    """
    import torch

    vocabulary: dict[str, int] = tokenizer.get_vocab()
    weights = model.get_input_embeddings().weight
    with torch.no_grad():
        for token, place in vocabulary.items():
            name, _, number = token.rpartition("Ġ")
            parts = [vocabulary.get(name), vocabulary.get(f"Ġ{number}")]
            if number.isdecimal() and None not in parts:
                weights[place] = weights[parts].sum(0)
