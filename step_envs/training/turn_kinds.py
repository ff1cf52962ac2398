"""Mark every token of a row with the kind of turn that it belongs to, so that training can be audited by kind.

Labels and weights say which tokens are trained, but not why: a token without a label may belong to an observation or to a
turn that was judged wrong. The encoder knows only weights. So the conversation is encoded a second time with a weight of
its own for each kind of turn, and the weights of that row are read as kinds. The row that is trained on is never touched.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from step_envs.errors import TemplateError
from step_envs.training.tokens import IGNORED, Sample, TrajectoryEncoder

KINDS = ("expert", "agent", "correction", "error")
"""Kinds of turns that training is audited by. A token has the code 1 + the place of its kind; 0 is no such turn."""

_SCALE = 8  # a power of two, so that code / 8 is an exact float


def encode_with_kinds(
    encoder: TrajectoryEncoder, messages: Sequence[Mapping[str, Any]]
) -> list[tuple[Sample, list[int]]]:
    """Encode a conversation, and find the kind of turn of every token.

    Args:
        encoder: The encoder of the tokenizer.
        messages: ``role``, ``content``, ``loss`` and ``kind`` of every turn.

    Returns:
        Each sample with one code per token. A turn without loss is marked where its tokens stand in the sample as the
        model would generate them; where a template needs one sample per trained turn, only trained turns are marked.
    """
    codes = [KINDS.index(one["kind"]) + 1 if one.get("kind") in KINDS else 0 for one in messages]
    plain = without_kinds(messages)
    samples = encoder.encode(plain)
    marked = {code for code in codes if code}
    if len(marked) == 1 and all(one["loss"] for one, code in zip(plain, codes, strict=True) if code):
        (code,) = marked
        return [(sample, [0 if label == IGNORED else code for label in sample["labels"]]) for sample in samples]
    trained = [code if one["loss"] else 0 for one, code in zip(plain, codes, strict=True)]
    fell_back = encoder.fell_back
    try:
        for wanted in (codes, trained):
            found = _encode_codes(encoder, plain, wanted)
            if [one["input_ids"] for one in found] == [one["input_ids"] for one in samples]:
                return [
                    (sample, [round(weight * _SCALE) for weight in other["weights"]])
                    for sample, other in zip(samples, found, strict=True)
                ]
    finally:
        encoder.fell_back = fell_back
    raise AssertionError("the same trained turns gave other rows")


def without_kinds(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages without their kinds, which a chat template must not see."""
    return [{name: value for name, value in one.items() if name != "kind"} for one in messages]


def _encode_codes(
    encoder: TrajectoryEncoder, messages: Sequence[Mapping[str, Any]], codes: Sequence[int]
) -> list[Sample]:
    coded = [{**message, "loss": code / _SCALE} for message, code in zip(messages, codes, strict=True)]
    try:
        return encoder.encode(coded)
    except TemplateError:
        # The template accepts a turn as context, but not as a reply to learn: the turn has no exact tokens to mark.
        return []
