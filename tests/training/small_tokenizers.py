"""Small tokenizers of every kind the mask encoder must be right for, trained on a few words, and chat templates for them.

The published templates come with TRL; the hand-written ones lay conversations out as well-known model families do.
"""

import re
from functools import cache
from importlib.resources import files

import pytest

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")

KINDS = ("bytes", "bytes_bos", "metaspace_always", "metaspace_first", "metaspace_first_no_bos", "words")

HAND_WRITTEN = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2": "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ bos_token + '[INST] <<SYS>>\n' + m.content + '\n<</SYS>>\n\n' }}"
    "{% elif m.role == 'user' %}"
    "{{ (bos_token + '[INST] ' if loop.first or messages[loop.index0 - 1].role != 'system' else '') }}"
    "{{ m.content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}"
    "{% endfor %}",
    "zephyr": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "system_last": "{{ bos_token }}{% set first = 1 if messages[0].role == 'system' else 0 %}"
    "{% for m in messages[first:] %}"
    "{% if m.role == 'user' %}{{ '[INST] ' }}{% if loop.last and first %}{{ messages[0].content + '\n\n' }}{% endif %}"
    "{{ m.content + '[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    "generation_tags": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
}

_SPECIAL = re.compile(
    r"<\|[^|<>\s{}']+\|>|<\|turn>|<turn\|>|<｜[^｜<>{}']+｜>|<\|[A-Z_]+\|>|</?(?:start|end)_of_turn>|<bos>|<eos>|\[/?gMASK\]|<sop>"
)
_SOME_TEXT = [
    "Thought: it may be in the fridge\nAction: go to fridge 1",
    "Observation: You see a plate 1, a mug 2 and nothing else.",
    "user assistant system model\n\n\n <think> </think> Your task is to find a coin. look open box",
    "assistant\nThought: it may be in box 1",
    "é ü 漢字 🙂 👩‍🚀 \t  end of text",
]


def published_templates() -> list[str]:
    """Names of the chat templates that TRL ships as files, without those of models that read pictures or that diffuse."""
    pytest.importorskip("trl", reason="needs the extra train")
    names = sorted(
        file.name.removesuffix(".jinja")
        for file in files("trl").joinpath("chat_templates").iterdir()
        if file.name.endswith(".jinja")
    )
    return [name for name in names if not re.search(r"vl|idefics|llava|smolvlm|diffusion", name)]


def template_text(name: str) -> str:
    """The text of a template, hand-written or published."""
    if name in HAND_WRITTEN:
        return HAND_WRITTEN[name]
    return files("trl").joinpath("chat_templates", f"{name}.jinja").read_text(encoding="utf-8")


def make_tokenizer(kind: str, template: str, *, plain_headers: bool = False):
    """Make a fast tokenizer; what looks like a special token in any template is one, except with ``plain_headers``."""
    raw = tokenizers.Tokenizer.from_str(_trained(kind, plain_headers))
    unknown = {"unk_token": "<unk>"} if raw.token_to_id("<unk>") is not None else {}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", **unknown)
    tokenizer.chat_template = template_text(template)
    return tokenizer


@cache
def _trained(kind: str, plain_headers: bool) -> str:
    special = {"<s>", "</s>"}
    for name in () if plain_headers else (*HAND_WRITTEN, *published_templates()):
        special |= set(_SPECIAL.findall(template_text(name)))
    special = sorted(special)
    models, pre, decoders = tokenizers.models, tokenizers.pre_tokenizers, tokenizers.decoders
    if kind == "words":
        raw = tokenizers.Tokenizer(models.WordLevel(unk_token="<unk>"))
        raw.pre_tokenizer = pre.Sequence([pre.Split(tokenizers.Regex(r"\s"), "isolated"), pre.Punctuation()])
        raw.decoder = decoders.Fuse()
        trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=["<unk>", *special], vocab_size=4000)
        corpus = [*_SOME_TEXT, *(line for line in _SOME_TEXT for _ in range(2)), *map(chr, range(32, 127)), "\n"]
    elif kind.startswith("bytes"):
        raw = tokenizers.Tokenizer(models.BPE())
        raw.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            special_tokens=special, vocab_size=600, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
        )
        corpus = _SOME_TEXT * 3
    else:
        scheme = kind.removeprefix("metaspace_").removesuffix("_no_bos")
        raw = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        raw.pre_tokenizer = pre.Metaspace(prepend_scheme=scheme, split=False)
        raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        bytes_ = [f"<0x{number:02X}>" for number in range(256)]
        trainer = tokenizers.trainers.BpeTrainer(
            special_tokens=["<unk>", *special],
            vocab_size=900,
            initial_alphabet=[*map(chr, range(32, 127)), "\n"],
            show_progress=False,
        )
        corpus = _SOME_TEXT * 3
        raw.train_from_iterator(corpus, trainer)
        raw.add_tokens([])
        raw = _with_bytes(raw, bytes_)
    if not kind.startswith("metaspace"):
        raw.train_from_iterator(corpus, trainer)
    if kind in ("bytes_bos", "metaspace_always", "metaspace_first"):
        raw.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))]
        )
    return raw.to_str()


def _with_bytes(raw, names):
    """Add the 256 byte tokens that a byte fallback needs to a trained vocabulary."""
    import json

    state = json.loads(raw.to_str())
    vocabulary = state["model"]["vocab"]
    for name in names:
        vocabulary.setdefault(name, len(vocabulary))
    return tokenizers.Tokenizer.from_str(json.dumps(state))
