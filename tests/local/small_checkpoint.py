"""A checkpoint of a few thousand numbers, random or made to say what a test needs, and chat environments to ask it in."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{{ m.content if m.role != 'assistant' or loop.last else m.content.split('Action:')[-1] }}{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Leaves the thoughts out of all replies but the last, as templates of models that think do."""

_WORDS = [
    "Thought: I look around first.\nAction: look",
    "Observation: You are in the hall. There is a box. A coin lies here. Nothing happens. Done.",
    "user assistant system You tidy a house. Put the coin into the box. go left go right take coin put coin in box",
]


def make_tokenizer(template: str | None = CHATML) -> Any:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<pad>", "</s>", "<|im_start|>", "<|im_end|>"],
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_WORDS * 3, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", pad_token="<pad>")
    tokenizer.chat_template = template
    return tokenizer


def make_checkpoint(folder: Path, *, template: str | None = CHATML, seed: int = 0, **changes: Any) -> Path:
    tokenizer = make_tokenizer(template)
    torch.manual_seed(seed)
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.3,
    }
    kind = changes.pop("kind", "Llama")
    settings = getattr(transformers, f"{kind}Config")(**(config | changes))
    model = getattr(transformers, f"{kind}ForCausalLM")(settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plain_greedy(folder: Path, messages: list[dict[str, str]], tokens: int) -> list[int]:
    """What the model says when it reads everything anew for each token, alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    start = len(ids)
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    with torch.inference_mode():
        while len(ids) - start < tokens:
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token in ends:
                break
            ids.append(token)
    return ids[start:]
