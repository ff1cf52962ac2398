"""Masks of replies with thoughts, tool calls and sections of the template, each in the way of a well-known model family."""

import pytest

pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")
pytest.importorskip("jinja2", reason="needs the extra train")

from mask_checks import PLAIN, THINKING, check, conversation, prompt_ids, trained_runs
from small_tokenizers import make_tokenizer

from step_envs.errors import TemplateError, UnknownNameError
from step_envs.training.tokens import TrajectoryEncoder, tokenize_trajectory

pytestmark = pytest.mark.train

HEADER = "{{ '<|im_start|>' + m.role + '\n' }}"
COHERE = (
    "{% for m in messages %}{{ '<|START_OF_TURN_TOKEN|>' }}{% if m.role == 'assistant' %}"
    "{{ '<|CHATBOT_TOKEN|><|START_RESPONSE|>' + m.content + '<|END_RESPONSE|>' }}"
    "{% else %}{{ '<|USER_TOKEN|>' + m.content }}{% endif %}{{ '<|END_OF_TURN_TOKEN|>' }}{% endfor %}"
)
COHERE_ASKS = "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}"
KIMI = (
    "{% for m in messages %}" + HEADER + "{% if m.role == 'assistant' %}"
    "{{ '<think>' + (m.reasoning_content or '') + '</think>' + m.content }}{% else %}{{ m.content }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NEMOTRON = (
    "{% for m in messages %}" + HEADER + "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n' }}{% endif %}"
    "{{ m.content.split('</think>')[-1].lstrip() if m.role == 'assistant' and not loop.last else m.content }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


def with_template(template, *marks):
    tokenizer = make_tokenizer("bytes", "chatml")
    tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    tokenizer.chat_template = template
    return tokenizer


def trained(messages, tokenizer, **options):
    """The trained text of every reply."""
    samples = tokenize_trajectory(messages, tokenizer, **options)
    return [tokenizer.decode(ids) for sample in samples for _, ids in trained_runs(sample)]


COHERE_MARKS = (
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
)


@pytest.mark.parametrize("eos", ["</s>", "<|END_OF_TURN_TOKEN|>"])
@pytest.mark.parametrize("asks", ["if asked", "always", "within the section"])
def test_a_section_of_the_reply_and_both_of_its_ends_are_trained(asks, eos):
    """Cohere's command-a and command-r7b; some of their templates ask for the next reply even if they are told not to."""
    asked = COHERE_ASKS + ("{{ '<|START_RESPONSE|>' }}" if asks == "within the section" else "")
    template = COHERE + (asked if asks == "always" else "{% if add_generation_prompt %}" + asked + "{% endif %}")
    tokenizer = with_template(template, *COHERE_MARKS)
    tokenizer.eos_token = eos
    begin = "" if asks == "within the section" else "<|START_RESPONSE|>"
    texts = trained(conversation([PLAIN.format(0, 0), PLAIN.format(1, 1)], [1.0, 0.5]), tokenizer)
    assert texts == [f"{begin}{PLAIN.format(number, number)}<|END_RESPONSE|><|END_OF_TURN_TOKEN|>" for number in (0, 1)]


def test_white_space_among_the_added_tokens_is_text():
    """Gemma 3 has 62 tokens of white space that are added and not special, and its template writes line breaks."""
    tokenizer = make_tokenizer("bytes", "gemma3")
    tokenizer.add_tokens(["\n", "\n\n", "\t", "  ", "\n\n\n"])
    check(tokenizer, conversation([PLAIN.format(0, 0), PLAIN.format(1, 1) + "\n\n\tand  more"]))


def test_a_word_among_the_added_tokens_is_text():
    tokenizer = make_tokenizer("bytes", "chatml")
    tokenizer.add_tokens(["user", "assistant"])
    messages = conversation([PLAIN.format(0, 0)], observation="Observation: the user {}")
    (sample,) = tokenize_trajectory(messages, tokenizer)
    assert sample["input_ids"][: trained_runs(sample)[0][0]] == prompt_ids(tokenizer, messages, 1)


@pytest.mark.parametrize("form", ["tags", "field"])
def test_a_thought_goes_into_the_section_that_the_template_has(form):
    """Kimi-K2-Thinking would write an empty section, and the tags of the reply behind it."""
    tokenizer = with_template(KIMI, "<think>", "</think>")
    messages = conversation([THINKING.format(0, 0), THINKING.format(1, 1)])
    if form == "field":
        for number, message in enumerate(messages[1::2]):
            message |= {"content": f"Action: open box {number}", "reasoning_content": f"It may be in box {number}."}
    assert trained(messages, tokenizer) == [
        f"<think>It may be in box {number}.</think>Action: open box {number}<|im_end|>" for number in (0, 1)
    ]
    (sample,) = tokenize_trajectory(messages, tokenizer)
    start = trained_runs(sample)[1][0]
    assert sample["input_ids"][:start] == prompt_ids(
        tokenizer, conversation([THINKING.format(0, 0), "-"]), 3, thoughts_apart=True
    )


def test_thoughts_of_gpt_oss_are_in_its_analysis_channel():
    (text,) = trained(conversation([THINKING.format(0, 0)]), make_tokenizer("bytes", "gptoss"))
    assert text == (
        "<|channel|>analysis<|message|>It may be in box 0.<|end|><|start|>assistant"
        "<|channel|>final<|message|>Action: open box 0<|return|>"
    )


def test_a_prompt_that_opens_a_thought_is_gone_on_with_or_refused():
    """Nemotron-Nano-v2 opens a thought in the prompt, and again in front of the reply."""
    tokenizer = with_template(NEMOTRON)
    thinking = conversation([THINKING.format(0, 0), THINKING.format(1, 1)])
    assert trained(thinking, tokenizer) == [
        f"It may be in box {number}.\n</think>\nAction: open box {number}<|im_end|>" for number in (0, 1)
    ]
    with pytest.raises(TemplateError, match=r"opens a thought before every reply.*does not close: switch thoughts off"):
        tokenize_trajectory(conversation([PLAIN.format(0, 0)]), tokenizer)


def test_a_thought_that_the_template_leaves_out_is_refused():
    messages = conversation(["Action: look"])
    messages[1]["reasoning_content"] = "I see nothing."
    with pytest.raises(TemplateError, match=r"leaves the thought of a reply out \('I see nothing\.'\): take it out of"):
        tokenize_trajectory(messages, make_tokenizer("bytes", "chatml"))


def test_thoughts_can_be_written_into_the_section_on_request():
    tokenizer = with_template(KIMI)
    messages = conversation([PLAIN.format(0, 0), PLAIN.format(1, 1)])
    assert trained(messages, tokenizer, thoughts="section") == [
        f"<think>it may be in box {number}.</think>Action: open box {number}<|im_end|>" for number in (0, 1)
    ]
    # In play, the thought of a reasoning model is taken out of its reply.
    second = tokenize_trajectory(messages, tokenizer, thoughts="section")[1]
    assert "it may be" not in tokenizer.decode(second["input_ids"][: trained_runs(second)[0][0]])
    assert TrajectoryEncoder(tokenizer, thoughts="section").report.mode == "turns"
    tags = [text.replace("Thought: ", "<think>").replace("\nAction: ", "</think><action>") for text in (PLAIN,)]
    assert trained(conversation([tags[0].format(0, 0) + "</action>"]), tokenizer, thoughts="section") == [
        "<think>it may be in box 0.</think><action>open box 0</action><|im_end|>"
    ]


def test_a_section_that_the_template_does_not_have_is_refused():
    tokenizer = make_tokenizer("bytes", "chatml")
    with pytest.raises(TemplateError, match=r"has no section for thoughts: switch thoughts on \(template_kwargs\)"):
        tokenize_trajectory(conversation([PLAIN.format(0, 0)]), tokenizer, thoughts="section")
    with pytest.raises(UnknownNameError, match=r"way to write thoughts.*'sections'.*'section'"):
        tokenize_trajectory(conversation(["a"]), tokenizer, thoughts="sections")


CALL = {"id": "call_1", "type": "function", "function": {"name": "act", "arguments": '{"action": "open box 1"}'}}


def call_messages():
    return [
        {"role": "user", "content": "Find a coin.", "loss": 0.0},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "loss": 1.0},
        {"role": "tool", "content": "The box is empty.", "tool_call_id": "call_1", "loss": 0.0},
        {"role": "assistant", "content": "Nothing.", "loss": 1.0},
    ]


def test_tool_calls_are_trained_as_the_template_writes_them():
    assert trained(call_messages(), make_tokenizer("bytes", "qwen2_5")) == [
        '<tool_call>\n{"name": "act", "arguments": {"action": "open box 1"}}\n</tool_call><|im_end|>',
        "Nothing.<|im_end|>",
    ]
    first, _ = trained(call_messages(), make_tokenizer("bytes", "gptoss"))
    assert first.endswith('<|message|>{"action": "open box 1"}<|call|>')
    first, _ = trained(call_messages(), make_tokenizer("bytes", "glm4moe"))
    assert first.endswith("</tool_call><|observation|>")


def test_arguments_are_given_as_text_to_a_template_that_wants_it():
    tokenizer = make_tokenizer("bytes", "chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "m.content +",
        "(m.tool_calls[0].function.name + m.tool_calls[0].function.arguments if m.tool_calls else m.content) +",
    )
    first, _ = trained(call_messages(), tokenizer)
    assert first == 'act{"action": "open box 1"}<|im_end|>'


def test_a_template_without_tool_calls_is_refused():
    with pytest.raises(
        TemplateError, match="leaves 'act' of a tool call out: use the template of a model that calls tools"
    ):
        tokenize_trajectory(call_messages(), make_tokenizer("bytes", "chatml"))


def test_special_text_in_a_tool_call_stays_text():
    tokenizer = make_tokenizer("bytes", "qwen2_5")
    messages = call_messages()
    messages[1]["tool_calls"] = [
        {"function": {"name": "act", "arguments": {"action": "say <|im_end|>", "list": ["<|im_start|>", 3]}}}
    ]
    sample = tokenize_trajectory(messages, tokenizer)[0]
    _, ids = trained_runs(sample)[0]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids.count(end) == 1 and ids[-1] == end
    assert "say <|im_end|>" in tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({"function": {}}, "A tool call of message 1 must name its function"),
        ("act", "A tool call of message 1 must name its function"),
        (
            {"function": {"name": "act", "arguments": "{open"}},
            "The arguments of the tool call 'act' in message 1 are not JSON",
        ),
    ],
)
def test_a_damaged_tool_call_is_refused_with_its_place(call, sentence):
    messages = call_messages()
    messages[1]["tool_calls"] = [call]
    with pytest.raises(TemplateError, match=sentence):
        tokenize_trajectory(messages, make_tokenizer("bytes", "qwen2_5"))


def test_rows_of_sharegpt_are_read():
    tokenizer = make_tokenizer("bytes", "chatml")
    messages = conversation([PLAIN.format(0, 0), PLAIN.format(1, 1)], [1.0, 0.0])
    speakers = {"user": "human", "assistant": "gpt"}
    rows = [{"from": speakers[one["role"]], "value": one["content"], "loss": one["loss"]} for one in messages]
    expected = tokenize_trajectory(messages, tokenizer)
    assert tokenize_trajectory(rows, tokenizer) == expected
    assert tokenize_trajectory({"id": "a", "conversations": rows}, tokenizer) == expected
    assert tokenize_trajectory({"messages": messages}, tokenizer) == expected


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"text": "a"}, "A row needs its conversation under 'messages' or 'conversations', and this one has 'text'"),
        (
            [{"from": "bing", "value": "a"}, {"from": "gpt", "value": "b", "loss": 1.0}],
            "Message 0 is from 'bing', which",
        ),
        ([{"from": "human"}, {"from": "gpt", "value": "b", "loss": 1.0}], "Message 0 is from 'human' and has no value"),
        (["a"], "Message 0 is 'a' and not a mapping with a role and a content"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place(rows, sentence):
    with pytest.raises(TemplateError, match=sentence):
        tokenize_trajectory(rows, make_tokenizer("bytes", "chatml"))
