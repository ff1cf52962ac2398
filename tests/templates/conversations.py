"""Conversations that every template is tried with; each of at least four replies, most with errors that carry no loss."""

import json

WORDS = "Thought: it may be in box {0}.\nAction: open box {0}"
INNER = "The coin was not in box {0}, so I try the next one."
TAGGED = f"<think>\n{INNER}\n</think>\n\n{WORDS}"
SPECIAL_TEXT = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>", "<think>", "[INST]", "<|user|>")

MASKED = (1.0, 0.0, 1.0, 0.0, 1.0)


def _conversation(reply, losses=MASKED, *, system=False, observation="Observation: box {0} is empty."):
    messages = [{"role": "system", "content": "You act in a text world.", "loss": 0.0}] if system else []
    for number, loss in enumerate(losses):
        messages.append({"role": "user", "content": observation.format(number), "loss": 0.0})
        messages.append({"role": "assistant", "loss": loss} | reply(number))
    return messages


def _tools():
    messages = []
    for number, loss in enumerate(MASKED):
        if number == 0:
            messages.append({"role": "user", "content": "Find the coin.", "loss": 0.0})
        call = {
            "id": f"call0000{number}",
            "type": "function",
            "function": {"name": "open_box", "arguments": json.dumps({"box": f"number {number}"})},
        }
        messages.append({"role": "assistant", "content": "", "tool_calls": [call], "loss": loss})
        if number < len(MASKED) - 1:
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call["id"],
                    "name": "open_box",
                    "content": f"Box {number} is empty.",
                    "loss": 0.0,
                }
            )
    return messages


def _plain(number):
    return {"content": WORDS.format(number)}


CONVERSATIONS = {
    "plain": _conversation(_plain),
    "system": _conversation(_plain, system=True),
    "last": _conversation(_plain, (0.0, 0.0, 0.0, 1.0)),
    "middle": _conversation(_plain, (0.0, 1.0, 0.0, 0.0)),
    "space": _conversation(lambda number: {"content": f"\n  {WORDS.format(number)} \n\n"}),
    "special": _conversation(
        _plain, observation="Observation: box {0} reads " + " and ".join(SPECIAL_TEXT) + "; no coin."
    ),
    "think": _conversation(lambda number: {"content": TAGGED.format(number)}),
    "reasoning": _conversation(
        lambda number: {"content": WORDS.format(number), "reasoning_content": INNER.format(number)}
    ),
    "tools": _tools(),
}
