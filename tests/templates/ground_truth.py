"""What a model reads and writes in a conversation, by nothing but the template, the tokenizer and what is known of servers.

A server gives the model ``apply_chat_template(messages[:k], add_generation_prompt=True)``. The model's reply is what the
template lays out behind it, up to and with the token at which servers stop. That token is not in a template; a table
names it for each family of models. Nothing here uses the code that it is held against.
"""

import json
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """Models whose servers stop at the same tokens.

    Attributes:
        sign: Text that only templates of this family hold.
        stops: Tokens at which a server stops.
        eos: The end token of the tokenizer; not always one at which a reply ends.
        special: Pattern of further special tokens of these models.
    """

    sign: str
    stops: tuple[str, ...]
    eos: str = ""
    special: str = r"(?!)"


FAMILIES = (
    Family("<|return|>", ("<|return|>", "<|call|>")),
    Family("<|END_OF_TURN_TOKEN|>", ("<|END_OF_TURN_TOKEN|>",)),
    Family("<|eot_id|>", ("<|eot_id|>", "<|eom_id|>")),
    Family("<|eot|>", ("<|eot|>", "<|eom|>")),
    Family("<end_of_turn>", ("<end_of_turn>",), "<eos>"),
    Family("<turn|>", ("<turn|>", "<|tool_response>"), "<turn|>", r"<\|?[a-z_]+\|?>(?<=\|>)|<\|[a-z_]+>"),
    Family("[gMASK]", ("<|user|>", "<|observation|>"), "<|endoftext|>"),
    Family("<|im_end|>", ("<|im_end|>",)),
    Family("<|role_end|>", ("<|role_end|>",), special=r"</?role>"),
    Family("<|message_sep|>", ("<|message_sep|>",), "</s>"),
    Family("<|end_of_msg|>", ("<|end_of_msg|>",), special=r"(?<=<\|close\|>)(?:response|message)(?=<\|sep\|>)"),
    Family("<|assistant_end|>", ("<|assistant_end|>",)),
    Family("<SPECIAL_12>", ("<SPECIAL_12>",), special=r"<SPECIAL_\d+>"),
    Family("<end_of_sentence>", ("<end_of_sentence>",), special=r"<(?:beginning|end)_of_(?:sentence|document)>"),
    Family("[e~[", ("[e~[",), special=r"\[e~\[|\]~!?b\[?|\]<\]minimax\[>\["),
    Family("REKA", ("<sep>",), special=r"<sep>"),
    Family("</assistant>", ("</assistant>",), special=r"</?(?:assistant|user|system)>"),
    Family("<seed:eos>", ("<seed:eos>",), special=r"</?seed:\w+>"),
    Family("[|endofturn|]", ("[|endofturn|]",), special=r"\[\|\w+\|\]"),
    Family("<|endofturn|>", ("<|endofturn|>",)),
    Family("<|end_of_turn|>", ("<|end_of_turn|>",)),
    Family("<|end_of_text|>", ("<|end_of_text|>",)),
    Family("<｜end▁of▁sentence｜>", ("<｜end▁of▁sentence｜>",)),
    Family("<|eos|>", ("<|eos|>",)),
    Family("<|EOT|>", ("<|EOT|>",)),
    Family("<|end|>", ("<|end|>", "<|calls|>"), "<|endoftext|>"),
    Family("<|eom|>", ("<|eom|>",), "<|endoftext|>"),
    Family("eos_token", ("</s>",)),
    Family("<|endoftext|>", ("<|endoftext|>",)),
    Family("", (), "</s>"),  # nothing says where a reply ends
)

_SPECIAL = re.compile(
    r"<\|[^|<>\s{}'\"]+\|>|<\|turn>|<turn\|>|<｜[^｜<>{}']+｜>|</?(?:start|end)_of_turn>|<bos>|<eos>|\[/?gMASK\]|<sop>"
    r"|\[/?(?:SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS|ARGS|CALL_ID|THINK|IMG)\]"
)
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "parts")
_OPEN = re.compile(r"<think>\s*$")
_LEAD = re.compile(r"<\|START_(?:RESPONSE|TEXT)\|>\s*$")


class NoTruthError(Exception):
    """There is nothing right to train on; the message says why."""


@dataclass
class Truth:
    """Pairs of text: what may stand before a reply, and what the model may write behind it, with the stop token."""

    pairs: set[tuple[str, str]] = field(default_factory=set)


def family_of(template: str) -> Family:
    return next(family for family in FAMILIES if family.sign in template)


def special_tokens_of(template: str, family: Family) -> list[str]:
    """Return what a tokenizer of these models has as special tokens, among what the template holds."""
    found = set(_SPECIAL.findall(template))
    found |= {token for token in re.findall(family.special, template) if not token.isalpha()}
    return sorted(found | set(family.stops) | ({family.eos} if family.eos else set()))


def render(tokenizer, messages, *, prompt=False):
    """Render as a server does; the template's refusal is a NoTruthError."""
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    except Exception as error:
        as_text = [_with_arguments_as_text(message) for message in messages]
        if as_text != messages:
            # Some templates want the arguments of a call as the text of them, as OpenAI's interface has them.
            return render(tokenizer, as_text, prompt=prompt)
        raise NoTruthError(f"the template refuses the conversation: {type(error).__name__}: {error}") from error


def _with_arguments_as_text(message):
    calls = [
        call | {"function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"])}}
        for call in message.get("tool_calls", [])
        if isinstance(call["function"]["arguments"], dict)
    ]
    return message | {"tool_calls": calls} if calls else message


def forms_of(tokenizer, messages):
    """Return the conversation in the forms in which a server may hand it to the template.

    A server cuts thoughts out of replies and parses the arguments of tool calls, if it is told to.
    """
    bare = [{key: value for key, value in message.items() if key != "loss"} for message in messages]
    bare = [_with_parsed_arguments(message) for message in bare]
    forms = [[_tagged(message) for message in bare]]
    if any(_thought_of(message)[0] for message in bare):
        forms += [[_split(message, key) for message in bare] for key in _THOUGHT_KEYS]
    return forms


def truth_of(tokenizer, messages, index, family):
    """Return what may be trained on for the reply ``messages[index]``.

    Raises:
        NoTruthError: The template does not lay the reply out, or nothing says where it ends.
    """
    forms = forms_of(tokenizer, messages)
    thought, words = _thought_of(messages[index])
    calls = messages[index].get("tool_calls") or []
    truth, reasons = Truth(), []
    # The section that the template has for thoughts comes first: what is written there is not to be written elsewhere.
    sections = []
    for form in forms[1:]:
        try:
            sections.append(_pair(tokenizer, form, index, family, thought, words, calls))
        except NoTruthError as error:
            reasons.append(error)
    raw = None
    try:
        raw = _pair(tokenizer, forms[0], index, family, thought, words, calls, together=True)
    except NoTruthError as error:
        reasons.append(error)
    if sections:
        truth.pairs.update(sections)
        if raw and letters(raw[1]) in {letters(reply) for _, reply in sections}:
            truth.pairs.add(raw)
    elif raw:
        truth.pairs.add(raw)
    if not truth.pairs:
        raise reasons[-1]
    # Whatever the form of the last reply, the history may be in any of them.
    histories = set()
    for form in forms:
        try:
            histories.add(render(tokenizer, form[:index], prompt=True))
        except NoTruthError:
            continue
    ends = {prompt[-20:] for prompt, _ in truth.pairs}
    replies = {reply for _, reply in truth.pairs}
    truth.pairs |= {(prompt, reply) for prompt in histories if prompt[-20:] in ends for reply in replies}
    return truth


def _pair(tokenizer, form, index, family, thought, words, calls, *, together=False):
    prompt = render(tokenizer, form[:index], prompt=True)
    whole = render(tokenizer, form[: index + 1])
    needle = calls[0]["function"]["name"] if calls else words
    question = prompt[-50:]
    place = whole.rfind(question)
    if not whole.startswith(prompt) and place > 0 and needle in whole[place + len(question) :]:
        # What differs is far before the question (muse-glimmer describes its tools in prompts only).
        whole = prompt + whole[place + len(question) :]
    if whole.startswith(prompt):
        tail = whole[len(prompt) :]
        place = tail.rfind(needle)
        if place < 0:
            raise NoTruthError("the template does not show the reply unchanged")
        shown = tail.count(thought) if thought else 1
        if shown == 1:
            end = place + len(needle) if not calls else _end_of_call(tail, calls)
            reply = _stopped(tokenizer, form, index, family, tail, end)
            opened = len(re.findall(r"<think>", reply)) + bool(_OPEN.search(prompt))
            if opened > 1 and _OPEN.search(prompt) and reply.lstrip().startswith("<think>"):
                # The prompt has opened the thought, and the model goes on with it.
                return prompt, reply.lstrip().removeprefix("<think>").lstrip()
            if opened > 1 or reply.count("</think>") > 1:
                raise NoTruthError("the template opens a thought twice")
            if _OPEN.search(prompt) and "</think>" not in reply:
                raise NoTruthError("the prompt opens a thought, which the reply does not close")
            return prompt, reply
        if not together:
            raise NoTruthError("the template shows the thought not once")
    if not together or calls:
        raise NoTruthError("the template shows the reply in another form than its prompt asks for")
    place = whole.rfind(needle)
    if place < 0:
        raise NoTruthError("the template does not show the reply unchanged")
    before, after = whole[:place].rstrip(), whole[place + len(needle) :]
    reply = form[index]["content"].strip()
    # Behind an open or an empty thought in the reply's own tags, the reply is what the model says as it is.
    own = _OPEN.search(prompt) or prompt.rstrip().endswith("</think>") or reply in whole
    if thought and not own and thought in before[-len(thought) - 40 :]:
        raise NoTruthError("the template has another place for thoughts")
    if _LEAD.search(before) and not _LEAD.search(prompt):
        reply = _LEAD.search(before)[0] + reply
    if _OPEN.search(prompt):
        if not thought:
            raise NoTruthError("the prompt opens a thought, which the reply does not close")
        reply = reply.removeprefix("<think>").lstrip()
    end = _stopped(tokenizer, form, index, family, after, 0)
    return prompt, reply + end


def _stopped(tokenizer, form, index, family, tail, place):
    """Cut behind the first stop token after the words."""
    stops = [token for token in family.stops if token]
    if not stops:
        raise NoTruthError("nothing says where a reply ends")
    pattern = re.compile("|".join(map(re.escape, sorted(stops, key=len, reverse=True))))
    found = pattern.search(tail, place)
    if found is None:
        plain = [*form[:index], {"role": "assistant", "content": "-"}]
        shown = render(tokenizer, plain)
        role = "tool" if form[index].get("tool_calls") else "user"
        following = render(tokenizer, [*plain, {"role": role, "content": "-"}])
        header = pattern.match(following, len(shown)) if following.startswith(shown) else None
        if header is None:
            raise NoTruthError("nothing says where a reply ends")
        return tail + header[0]
    between = tail[place : found.start()]
    if letters(_SPECIAL.sub("", re.sub(family.special, "", between))) and not form[index].get("tool_calls"):
        raise NoTruthError(f"words stand between the reply and its end: {between!r}")
    return tail[: found.end()]


def _end_of_call(tail, calls):
    value = next(iter(json.loads(calls[-1]["function"]["arguments"]).values()))
    place = tail.rfind(value)
    if place < 0:
        raise NoTruthError("the template does not show the arguments of tool calls")
    return place + len(value)


def _with_parsed_arguments(message):
    if not message.get("tool_calls"):
        return message
    calls = []
    for call in message["tool_calls"]:
        function = call["function"]
        calls.append(call | {"function": function | {"arguments": json.loads(function["arguments"])}})
    return message | {"tool_calls": calls}


def _thought_of(message):
    content = message.get("content") or ""
    if message.get("reasoning_content"):
        return message["reasoning_content"].strip(), content.strip()
    found = re.fullmatch(r"\s*<think>(.*)</think>(.*)", content, re.DOTALL)
    return (found[1].strip(), found[2].strip()) if found else ("", content.strip())


def _tagged(message):
    """Return the message with its thought in the content."""
    if not message.get("reasoning_content"):
        return message
    rest = {key: value for key, value in message.items() if key != "reasoning_content"}
    return rest | {"content": f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"}


def _split(message, key):
    thought, words = _thought_of(message)
    if message["role"] != "assistant" or not thought:
        return message
    rest = {name: value for name, value in message.items() if name != "reasoning_content"}
    if key == "parts":
        parts = [{"type": "thinking", "thinking": thought}, {"type": "text", "text": words}]
        return rest | {"content": parts}
    return rest | {"content": words, key: thought}


def letters(text):
    """Return a text without white space, and without the sign that some tokenizers write for it."""
    return "".join(text.replace("▁", " ").split())
