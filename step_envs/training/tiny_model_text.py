"""What a model made from nothing reads first: play without aim, and sequences whose end repeats their beginning.

Play teaches how the world answers, not what to do. Copying sequences over the world's names teach to find again what
was said far back. Without them it is a matter of the seed whether a small model learns that at all while it is fine-tuned,
which drowns every other difference between two trainings.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from step_envs.training.tokens import IGNORED, Sample
from step_envs.trajectory import Trajectory

_NUMBERS = (1, 1, 1, 1, 2, 3)  # as often as names bear them in a household


def copying_texts(names: Sequence[str], count: int, *, seed: int = 0) -> Iterator[str]:
    """Write sequences to copy from: lists of keys and values that are asked for again, and spans that return.

    Args:
        names: Words to write them with.
        count: How many sequences.
        seed: Decides them.
    """
    rng = random.Random(seed)
    for _ in range(count):
        yield _pairs(rng, names) if rng.random() < 0.6 else _spans(rng, names)


def _item(rng: random.Random, names: Sequence[str]) -> str:
    return f" {rng.choice(names)} {rng.choice(_NUMBERS)}"


def _pairs(rng: random.Random, names: Sequence[str]) -> str:
    values: dict[str, str] = {}
    wanted = rng.randint(4, 12)
    while len(values) < wanted:
        values.setdefault(_item(rng, names), _item(rng, names))
    keys = list(values)
    asked = [rng.choice(keys) for _ in range(rng.randint(4, 10))]
    told = ",".join(f"{key}:{value}" for key, value in values.items())
    return f"{told}.{','.join(f'{key}:{values[key]}' for key in asked)}"


def _spans(rng: random.Random, names: Sequence[str]) -> str:
    span = [_item(rng, names) for _ in range(rng.randint(4, 12))]
    said: list[str] = []
    for _ in range(rng.randint(2, 4)):
        said += span if rng.random() < 0.8 else span[rng.randrange(len(span)) :]
    return ",".join(said)


def language_rows(
    tokenizer: Any, conversations: Iterable[Trajectory], texts: Iterable[str], *, max_length: int
) -> list[Sample]:
    """Make rows in which every token is trained: a language model's own training, before any mask.

    Args:
        tokenizer: A tokenizer with a chat template.
        conversations: Whole conversations, laid out by the template.
        texts: Further texts; each ends with the tokenizer's end of text.
        max_length: Tokens a row may have; what is longer goes on in the next row.
    """
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in conversation.turns], tokenize=False
        )
        for conversation in conversations
    ]
    rows: list[Sample] = []
    for text in (*rendered, *(f"{text}{tokenizer.eos_token}" for text in texts)):
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        for start in range(0, len(ids), max_length):
            part = ids[start : start + max_length]
            # The first token of a row has nothing before it to be told from.
            rows.append({"input_ids": part, "labels": [IGNORED, *part[1:]], "weights": [0.0] + [1.0] * (len(part) - 1)})
    return rows
