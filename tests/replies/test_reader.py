"""One reader of replies: the action ends where the reply speaks for somebody else, and an unfinished reply holds none."""

from itertools import islice

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import step_envs
from step_envs.replies import FORMATS, ToolCall, read_reply, short_quote
from step_envs.wrappers import ReActWrapper, RecordTrajectory, Reply, parse_action

OWN = "Thought: ok.\nAction: search[red mug]"
ENDS = [
    "\n> go to fridge 1",
    "\n# Observation\nYou found gold.",
    "\nHuman: Observation: You found gold.\nAssistant: Thought: I win",
    "\nUser: next",
    "\nAssistant: x",
    "\nAI: x",
    "\nSystem: x",
    "\nEnvironment: x",
    "\nObs: x",
    "\nobservation 3: x",
    "\nObservation：x",
    "\n**Observation:** x",
    "\n> Observation: x",
    "\n- Tool: x",
    "\nTool response: x",
    "\nTask: buy a hat",
    "\nYour task is to: put a mug on a shelf.",
    "\nInstruction: x",
    "\nThought 2: x",
    "\nAction: look",
    "\n用户：x",
    "\nBeobachtung: x",
    "\r\nHuman: x",
    "\n\n### Instruction:\nx",
    "\n### Response",
    " ### Human: x",
    "\nuser\nx",
    "assistant\n\nThought: x",
    "\n---\nTask 2",
    " Observation: You found gold.",
    " USER: x",
    "\\nObservation: x",
    "\nUser> x",
]
MARKS = [
    "<|im_end|>",
    "<|im_start|>user\nx",
    "</s>",
    "<s>[INST] x [/INST]",
    "[/INST]",
    " [INST] x",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<end_of_turn>\n<start_of_turn>user",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<turn|>",
    "<|turn>user",
    "<|return|>",
    "<|call|>",
    "<|channel|>commentary",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>x",
    "<|END_OF_TURN_TOKEN|>",
    "<|eom_id|>",
    "[|endofturn|]",
    "<eoa>",
    "<reserved_106>",
    "<unused1>",
    "</action>",
    "</answer>",
    "<observation>x</observation>",
    "<tool_response>x</tool_response>",
    "<<SYS>>x",
    "<|im_en",
]


@pytest.mark.parametrize("rest", [*ENDS, *MARKS])
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_the_action_ends_where_the_reply_speaks_for_somebody_else(rest: str, finish: str) -> None:
    read = read_reply(OWN + rest, finish=finish)
    assert (read.content, read.action, read.unfinished) == (OWN, "search[red mug]", False)


@pytest.mark.parametrize(
    "action",
    [
        "search[user: manual]",
        "search[USER: manual for humans]",
        "click[size: 10 | wide]",
        "click[< prev]",
        "search[a < b and b > c]",
        "search[INST]",
        "click[thinking]",
        "search[two\nlines]",
        "click[<b>bold</b>]",
        "focus on substance: salt water",
    ],
)
def test_what_a_correct_action_may_hold_stays(action: str) -> None:
    assert parse_action(f"Thought: a\nAction: {action}") == action


@pytest.mark.parametrize("env_id", ["STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0"])
def test_every_admissible_action_is_read_back_in_every_format(env_id: str) -> None:
    env = gym.make(env_id)
    try:
        actions: set[str] = set()
        for task in islice(step_envs.list_tasks(env_id), 2):
            env.reset(options={"task_id": task})
            for _ in range(3):
                admissible = env.unwrapped.admissible_actions()  # type: ignore[attr-defined]
                actions |= set(admissible[:150])
                if env.step(admissible[-1])[2]:
                    break
    finally:
        env.close()
    assert len(actions) > 10
    for action in actions:
        for format in FORMATS.values():
            written = format.write("It may be: Action: so <|im_end|>", action)
            for tolerant in (False, True):
                read = read_reply(written, format, tolerant=tolerant)
                assert (read.action, read.content) == (action, written)
                assert read_reply(f"{written}<|im_end|>", format, finish="length", tolerant=tolerant).action == action


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        ("Thought: a\nObservation: The fridge is open.\nAction: take apple", "Thought: a"),
        ("Thought: a<|im_end|>\n<|im_start|>assistant\nAction: look", "Thought: a"),
        ("Thought: a\nHuman: go on\nAction: look", "Thought: a"),
        ("Observation: I am rich.\nAction: look", ""),
    ],
)
def test_an_action_after_an_invented_observation_is_none(reply: str, content: str) -> None:
    read = read_reply(reply)
    assert (read.content, read.action) == (content, None)


@pytest.mark.parametrize(
    "opening",
    [
        "<|im_start|>assistant\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Assistant: ",
        "<start_of_turn>model\n",
        "<|assistant|>\n",
        "### Response:\n",
        "<answer>\n",
        "assistant\n",
    ],
)
def test_the_opening_of_its_own_turn_is_no_part_of_a_reply(opening: str) -> None:
    read = read_reply(opening + OWN)
    assert (read.content, read.action) == (OWN, "search[red mug]")


@pytest.mark.parametrize(
    ("text", "finish", "content"),
    [
        (OWN, "length", OWN),
        (OWN, "refusal", OWN),
        (f"<think>{OWN}", "stop", ""),
        (f"<think>{OWN}", "length", ""),
        (f"{OWN}\n<think>or", "stop", OWN),
        ("", "length", ""),
    ],
)
def test_an_unfinished_reply_holds_no_action_and_weighs_nothing(text: str, finish: str, content: str) -> None:
    env = RecordTrajectory(ReActWrapper(gym.make("STeP-ALFWorld-v0")))
    env.reset(seed=0)
    observation, _, _, _, info = env.step(Reply(text, finish=finish))  # type: ignore[arg-type]
    turn = env.trajectory.turns[-2]
    assert (turn.content, turn.action, turn.loss, info["steps"]) == (content, None, 0.0, 1)
    assert observation == "Observation: Invalid format. The input must contains 'Action: '"


def test_thoughts_reach_no_conversation_whoever_acts() -> None:
    env = ReActWrapper(gym.make("STeP-ALFWorld-v0"))
    env.reset(seed=0)
    env.step("<think>Action: eat</think>Thought: so\nAction: look</s>Human: gold")
    assert env.messages[-2]["content"] == "Thought: so\nAction: look"
    env.step("")
    assert env.messages[-2]["content"] == ""
    assert "Invalid format" in env.messages[-1]["content"]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("**Action:** look", "**Action:**"),
        ("Thought: a\n**Action**: look", "**Action**:"),
        ("Action：look", "Action："),
        ("ACTION: look", "ACTION:"),
        ("`Action: look`", "`Action:"),
        ("Action: `look`", "Action: `"),
        ('Action: "look"', 'Action: "'),
        ("Action: “look”", "Action: “"),
        ("Action:**look**", "Action: **"),
        ("```\nAction: look\n```", "Action: ```"),
        ('{"thought": "a", "action": "look"}', "a JSON object"),
        ("Action:\n```\nlook\n```", "Action: ```"),
        ("action: look", "action:"),
        ("- Action 1: look", "Action 1:"),
        ("<action>look</action>", "<action>"),
        ("<tool_call>{}</tool_call>", "a tool call"),
        ("I look around.", None),
        ("", None),
    ],
)
def test_the_format_message_names_the_variant_that_was_found(reply: str, found: str | None) -> None:
    env = ReActWrapper(gym.make("STeP-ALFWorld-v0"))
    env.reset(seed=0)
    plain = "Observation: Invalid format. The input must contains 'Action: '"
    assert env.step(reply)[0] == (plain if found is None else f"{plain}, not {found!r}")


@pytest.mark.parametrize(
    "reply",
    [
        "**Action:** go to fridge 1",
        "**Thought:** a\n**Action**: `go to fridge 1`",
        "Action：go to fridge 1",
        "ACTION: go to fridge 1.",
        "Action:\n```text\ngo to fridge 1\n```",
        'Action: "go to fridge 1"',
        "Action: “go to fridge 1”",
        "- Action: - go to fridge 1",
        "Next action: **go to fridge 1**",
        "Action 1: go to fridge 1\n\nI wait.",
        "## Action: go to fridge 1\nObservation: x",
        "`Action: go to fridge 1`",
    ],
)
def test_a_tolerant_reader_takes_common_variants(reply: str) -> None:
    assert read_reply(reply, tolerant=True).action == "go to fridge 1"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("<think>x</think><action>look</action>", "<think>x</think><action>look</action>"),
        ("<think>x</think>\n<answer> look </answer>", "<think>x</think>\n<answer>look</answer>"),
        ("x</think><action>look</action>", "<think>x</think><action>look</action>"),
        ("<reasoning>x</reasoning><action>look</action><think>y</think>", "<action>look</action>"),
        ("<think>native</think>\n<think>x</think><action>look</action>", "<think>x</think><action>look</action>"),
        ("<think>x</think><action>look</action>\nObservation: gold", "<think>x</think><action>look</action>"),
        ("<think>x</think><action>look", "<think>x</think><action>look</action>"),
        ("<THINK>x</THINK><Action>look</Action><|im_end|>", "<think>x</think><Action>look</action>"),
    ],
)
def test_action_tags(text: str, content: str) -> None:
    read = read_reply(text, FORMATS["action-tags"])
    assert (read.content, read.action) == (content, "look")


def test_action_tags_that_were_cut_off() -> None:
    tags = FORMATS["action-tags"]
    assert read_reply("<think>x</think><action>look", tags, finish="length").action is None
    assert read_reply("<think>x</think><action>look</action>", tags, finish="length").action == "look"
    assert read_reply("<think>x <action>look</action>", tags).unfinished


CALLS = [
    '<tool_call>\n{"name": "act", "arguments": {"action": "look"}}\n</tool_call>',
    '<tool_call>{"name": "act", "arguments": "{\\"action\\": \\"look\\"}"}</tool_call>',
    '[TOOL_CALLS][{"name": "act", "arguments": {"action": "look"}}]',
    '[TOOL_CALLS]act[ARGS]{"action": "look"}',
    '<function=act>{"action": "look"}</function>',
    "<tool_call><function=act><parameter=action>\nlook\n</parameter></function></tool_call>",
    "<tool_call>act\n<arg_key>action</arg_key>\n<arg_value>look</arg_value>\n</tool_call>",
    '<|python_tag|>{"name": "act", "parameters": {"action": "look"}}',
    '<|channel|>commentary to=functions.act <|constrain|>json<|message|>{"action": "look"}<|call|>',
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.act:0<|tool_call_argument_begin|>"
    '{"action": "look"}<|tool_call_end|>',
    '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>act<｜tool▁sep｜>{"action": "look"}<｜tool▁call▁end｜>',
    '<|START_ACTION|>[{"tool_name": "act", "parameters": {"action": "look"}}]<|END_ACTION|>',
    '```json\n{"name": "act", "arguments": {"action": "look"}}\n```',
    '{"name": "act", "arguments": {"action": "look"}}',
    '[act(action="look")]',
]


@pytest.mark.parametrize("call", CALLS)
def test_tool_calls_written_as_text(call: str) -> None:
    tools = FORMATS["tool-calls"]
    read = read_reply(f"<think>hm</think>{call}", tools)
    assert (read.action, read.content) == ("look", tools.write("", "look"))
    read = read_reply(f"I look.\n{call}", tools)
    assert read.action == "look" or call.startswith("[act")


def test_tool_calls_as_data() -> None:
    tools, call = FORMATS["tool-calls"], ToolCall("act", '{"action": "look"}')
    read = read_reply("<think>a</think>I look.", tools, tool_calls=[call])
    assert (read.action, read.content) == ("look", tools.write("I look.", "look"))
    assert read_reply("", tools, tool_calls=[ToolCall("act", '{"action": "lo')], finish="length").action is None
    env = ReActWrapper(gym.make("STeP-ALFWorld-v0"), reply_format="tool-calls")
    env.reset(seed=0)
    assert '{"name": "act", "arguments": {"action": "the next step"}}' in env.messages[0]["content"]
    assert "Invalid" not in env.step(Reply("", tool_calls=(call,)))[0]
    assert env.step("I look.")[0].endswith("must contain a call of the function 'act' with the argument 'action'")


@pytest.mark.parametrize(
    ("action", "quote"),
    [
        ("search[red mug]\nHuman: Observation: You found gold.", "search[red mug]"),
        ("look<|im_end|>", "look"),
        ("<think>hm</think>look", "look"),
        ('say "hi"\x1b[31m', "say 'hi' [31m"),
        ("a" * 200, "a" * 76 + " ..."),
        ("look around " * 20, "look around " * 6 + "look ..."),
    ],
)
def test_a_quote_is_short_and_clean(action: str, quote: str) -> None:
    assert short_quote(action) == quote


@given(st.text(), st.text(alphabet=st.characters(categories=["L", "N"], include_characters=" "), min_size=1))
def test_what_a_format_writes_it_reads_back(thought: str, action: str) -> None:
    action = " ".join(action.split())
    for format in FORMATS.values():
        assert read_reply(format.write(thought, action), format).action == (action or None)


@given(st.text(), st.sampled_from(["stop", "length", "refusal", "other"]), st.booleans())
def test_every_text_can_be_read_and_a_content_is_read_alike_again(text: str, finish: str, tolerant: bool) -> None:
    for format in FORMATS.values():
        read = read_reply(text, format, finish=finish, tolerant=tolerant)
        again = read_reply(read.content, format, tolerant=tolerant)
        assert read.action is None or again.action == read.action
        assert len(short_quote(text)) <= 80
