"""Thoughts are taken out of what a model writes, however its family marks them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_envs.replies import ends_in_thought, split_thoughts, without_thoughts

SAID = "Thought: it may be cold.\nAction: open fridge 1"
THOUGHT = "Hm. Action: go to desk 1\nObservation: gold."

PAIRS = [
    ("<think>", "</think>"),
    ("<THINK>\n", "\n</THINK>\n\n"),
    ("< think >", "</ think >"),
    ('<think budget="3">', "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<SCRATCH_PAD>", "</SCRATCH_PAD>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<antThinking>", "</antThinking>"),
    ("<thought_process>", "</thought_process>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<unused94>thought\n", "<unused95>"),
    ("＜think＞", "＜/think＞"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("[think]", "[/think]"),
    ("[Start thinking]\n", "\n[End thinking]\n"),
    ("<|think|>", "<|/think|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|start_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<｜begin▁of▁thought｜>", "<｜end▁of▁thought｜>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|end|><|start|>assistant <|channel|> final<|message|>"),
    ("<|channel>thought\n", "<channel|>"),
    ('<details type="reasoning" done="true">\n', "</details>\n"),
    ("```thinking\n", "\n```\n"),
    ("Here is my thought process: ", "\nHere is my response: "),
    ("Thinking...\n", "\n...done thinking.\n\n"),
]
FAMILIES = ("</details>", "```", "<channel|>", "<unused95>")
ONLY_END = [pair for pair in PAIRS if pair[1].strip() not in FAMILIES and "ere " not in pair[0]]
ONLY_END = [pair for pair in ONLY_END if not pair[0].startswith("Thinking...")]


@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_every_spelling_of_a_thought_is_taken_out(begin: str, end: str) -> None:
    parts = split_thoughts(f"{begin}{THOUGHT}{end}{SAID}")
    assert (parts.said, parts.thought, parts.unfinished) == (SAID, THOUGHT, False)


@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_a_thought_without_an_end_is_the_rest_of_the_text(begin: str, end: str) -> None:
    assert ends_in_thought(begin + THOUGHT)
    assert without_thoughts(begin + THOUGHT) == ""


@pytest.mark.parametrize(("begin", "end"), ONLY_END)
def test_a_thought_whose_beginning_is_in_the_prompt(begin: str, end: str) -> None:
    parts = split_thoughts(f"{THOUGHT}{end}{SAID}")
    assert (parts.said, parts.unfinished) == (SAID, False)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>a <think>b</think> c</think>{SAID}",
        f"<think>I must use <think> tags.</think>{SAID}",
        f"<thinking>a<reflection>b</reflection>c</thinking>{SAID}",
        f"<think>a</thinking>{SAID}",
        f"<think>a</think><reasoning>b</reasoning>{SAID}",
        f"<seed:think>a<seed:cot_budget_reflect>b</seed:cot_budget_reflect>c</seed:think>{SAID}",
        f"<think/>{SAID}",
        f"<think></think>\n\n{SAID}",
        f"{SAID}\n<think>Was that right?</think>",
        f"analysisWe need to look.assistantfinal{SAID}",
        f"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>{SAID}",
        f"<|think|>a<|end|>{SAID}",
    ],
)
def test_nested_mentioned_mismatched_and_empty_thoughts(text: str) -> None:
    assert split_thoughts(text).said == SAID
    assert not ends_in_thought(text)


@pytest.mark.parametrize(
    "text",
    [
        SAID,
        "Action: search[thinking]",
        "Action: click[think]",
        "Action: click[thinking cap]",
        "Thought: an analysis of it.\nAction: look",
        "analysis of the room.\nAction: look",
        "Thought: it weighs < 3 or > 5.\nAction: look",
        "  two spaces  ",
        "",
        "</details>\n```\nAction: look\n```",
    ],
)
def test_a_text_without_thoughts_stays_as_it_is(text: str) -> None:
    assert without_thoughts(text) == text


@given(st.lists(st.sampled_from([*(mark for pair in PAIRS for mark in pair), "a", "\n", SAID]), max_size=12))
def test_nothing_is_invented_and_nothing_is_left_to_take_out(pieces: list[str]) -> None:
    parts = split_thoughts("".join(pieces))
    assert len(parts.said) <= len("".join(pieces))
    if parts.unfinished:
        assert ends_in_thought("".join(pieces))


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    parts = split_thoughts(text)
    assert parts.thought or parts.said in (text, text.strip())
