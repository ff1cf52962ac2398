"""Holds masks against what a server would send and what the replies say."""

import itertools

from step_envs.training.tokens import IGNORED, tokenize_trajectory

PLAIN = "Thought: it may be in box {}.\nAction: open box {}"
THINKING = "<think>\nIt may be in box {}.\n</think>\nAction: open box {}"


def conversation(replies, losses=None, *, observation="Observation: box {} is empty."):
    losses = losses or [1.0] * len(replies)
    messages = []
    for number, (reply, loss) in enumerate(zip(replies, losses, strict=True)):
        messages.append({"role": "user", "content": observation.format(number), "loss": 0.0})
        messages.append({"role": "assistant", "content": reply, "loss": loss})
    return messages


def prompt_ids(tokenizer, messages, index):
    """What a server gives the model before the reply ``messages[index]``, by the library's own way."""
    before = [{"role": message["role"], "content": message["content"]} for message in messages[:index]]
    return tokenizer.apply_chat_template(before, add_generation_prompt=True, tokenize=True)["input_ids"]


def trained_runs(sample):
    """The runs of labelled tokens: (where it begins, its ids)."""
    runs = []
    for labelled, group in itertools.groupby(enumerate(sample["labels"]), lambda pair: pair[1] != IGNORED):
        if labelled:
            pairs = list(group)
            runs.append((pairs[0][0], [label for _, label in pairs]))
    return runs


def letters(text):
    return "".join(text.split())


def check(tokenizer, messages, *, decodes=True):
    """Hold every sample against what a server would send and what the reply says."""
    samples = tokenize_trajectory(messages, tokenizer)
    runs = [(sample, *run) for sample in samples for run in trained_runs(sample)]
    trained = [index for index, message in enumerate(messages) if message["loss"]]
    assert len(runs) == len(trained)
    for (sample, start, ids), index in zip(runs, trained, strict=True):
        assert sample["input_ids"][:start] == prompt_ids(tokenizer, messages, index)
        assert sample["input_ids"][start : start + len(ids)] == ids
        assert set(sample["weights"][start : start + len(ids)]) == {messages[index]["loss"]}
        special = [number for number in ids if number in tokenizer.added_tokens_decoder]
        assert special[-1] == ids[-1], "the reply ends with the token that ends a turn"
        # gpt-oss and muse have the model name a channel first, which takes special tokens of its own.
        assert len(special) == 1 or ids.index(special[-2]) < len(ids) - len(special) - 3
        if decodes:
            text = tokenizer.decode(ids[:-1], skip_special_tokens=False)
            reply = messages[index]["content"]
            # A thought that the prompt has opened, or that the template puts there, is not the reply's.
            assert letters(text).endswith(letters(reply).removeprefix("<think>"))
    for sample in samples:
        assert len(sample["input_ids"]) == len(sample["labels"]) == len(sample["weights"])
        assert [label != IGNORED for label in sample["labels"]] == [weight > 0 for weight in sample["weights"]]
    return samples
