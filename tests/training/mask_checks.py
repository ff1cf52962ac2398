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


def prompt_ids(tokenizer, messages, index, *, thoughts_apart=False):
    """What a server gives the model before the reply ``messages[index]``, by the library's own way.

    ``thoughts_apart``: as a server that takes thoughts out of replies gets them back, in a field of their own.
    """
    before = [{"role": message["role"], "content": message["content"]} for message in messages[:index]]
    for message in before:
        thought, words = thought_and_words(message["content"])
        if thoughts_apart and thought and message["role"] == "assistant":
            message |= {"content": words, "reasoning_content": thought}
    return tokenizer.apply_chat_template(before, add_generation_prompt=True, tokenize=True)["input_ids"]


def thought_and_words(reply):
    """Split a reply that begins with a thought in tags; the thought is empty if there is none."""
    text = reply.strip()
    if not text.startswith("<think>"):
        return "", text
    thought, _, words = text.removeprefix("<think>").partition("</think>")
    return thought.strip(), words.strip()


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
        assert sample["input_ids"][:start] in (
            prompt_ids(tokenizer, messages, index),
            prompt_ids(tokenizer, messages, index, thoughts_apart=True),
        )
        assert sample["input_ids"][start : start + len(ids)] == ids
        assert set(sample["weights"][start : start + len(ids)]) == {messages[index]["loss"]}
        added = {number for number, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
        special = [at for at, number in enumerate(ids) if number in added]
        assert special[-1] == len(ids) - 1, "the reply ends with the token that ends a turn"
        ending = len(ids)
        while ending - 1 in special:
            ending -= 1
        inside = [at for at in special if at < ending]
        thought, words = map(letters, thought_and_words(messages[index]["content"]))
        if decodes:
            text = letters(tokenizer.decode(ids[:ending], skip_special_tokens=False))
            assert text.endswith(words)
            assert thought in text[: len(text) - len(words)]
            # gpt-oss and muse have the model name a channel before the words, which takes special tokens of its own.
            behind = letters(tokenizer.decode(ids[inside[-1] + 1 : ending] if inside else ids[:ending]))
            assert behind.endswith(words)
    for sample in samples:
        assert len(sample["input_ids"]) == len(sample["labels"]) == len(sample["weights"])
        assert [label != IGNORED for label in sample["labels"]] == [weight > 0 for weight in sample["weights"]]
    return samples
