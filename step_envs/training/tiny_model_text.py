"""Make the pretraining text of a tiny model: random play, and sequences whose end repeats their beginning.

Random play teaches how the world answers, but not what to do. The copying sequences teach the model to find a name that was
mentioned far back. Without them, it depends on the seed whether so small a model learns this during fine-tuning at all, and
this is a larger effect than any difference between two arms.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from step_envs.training.tokens import IGNORED, Sample
from step_envs.trajectory import Trajectory

_NUMBERS = (1, 1, 1, 1, 2, 3)  # about as frequent as in a household's names


def copying_texts(names: Sequence[str], count: int, *, seed: int = 0) -> Iterator[str]:
    """Write copying sequences: lists of keys and values that are asked for again, and spans that are repeated.

    Args:
        names: Words to use.
        count: Number of sequences.
        seed: Decides the sequences.
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
    """Make rows in which every token is trained on, for pretraining.

    Args:
        tokenizer: A tokenizer with a chat template.
        conversations: Whole conversations, which the template lays out.
        texts: More texts; each gets the tokenizer's end-of-text token.
        max_length: The most tokens of a row; a longer text continues in the next row.
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
            # The first token of a row cannot be predicted: nothing is before it.
            rows.append({"input_ids": part, "labels": [IGNORED, *part[1:]], "weights": [0.0] + [1.0] * (len(part) - 1)})
    return rows
