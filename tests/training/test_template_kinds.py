"""Chat templates that nobody has written yet: masks are right for every kind of header, thought section and ending.

A template is put together from parts, so the text before a reply and the reply itself are known without rendering it.
"""

from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from mask_checks import letters, trained_runs
from small_tokenizers import make_tokenizer

from step_envs.errors import TemplateError
from step_envs.training.tokens import TrajectoryEncoder

pytestmark = pytest.mark.train

STOP, LATER = "<|stop|>", "<|endoftext|>"
SPECIAL = [
    "<|user|>",
    "<|end_user|>",
    "<|assistant|>",
    "<|say|>",
    "<|/say|>",
    "<|thought|>",
    "<|/thought|>",
    STOP,
    LATER,
]
SECTIONS = (("<think>\n", "\n</think>\n\n"), ("<think>", "</think>"), ("<|thought|>", "<|/thought|>"))


@dataclass(frozen=True)
class Kind:
    """The parts of a template.

    Attributes:
        user: Text around a turn of the user.
        header: Text before a reply; the generation prompt.
        before: Text directly before the words of a reply, which the model writes itself unless ``asked``.
        asked: ``before`` belongs to the generation prompt.
        section: Text around a thought (``reasoning_content``); None if the template has no place for thoughts.
        empty: The section is written for replies without a thought too.
        kept: Thoughts of earlier replies stay.
        closed: Text between the words and the token that ends the turn.
        behind: Text behind the token that ends the turn.
        last: Text at the end of a conversation.
        trims: White space around the words is removed.
    """

    user: tuple[str, str]
    header: str
    before: str
    asked: bool
    section: tuple[str, str] | None
    empty: bool
    kept: bool
    closed: str
    behind: str
    last: str
    trims: bool

    def template(self) -> str:
        shown = "m.content | trim" if self.trims else "m.content"
        section = ""
        if self.section:
            written = f"{_quoted(self.section[0])} + (m.reasoning_content or '') + {_quoted(self.section[1])}"
            there = "true" if self.empty else "m.reasoning_content"
            section = f"{{% if {there} and ({str(self.kept).lower()} or loop.last) %}}{{{{ {written} }}}}{{% endif %}}"
        return (
            "{% for m in messages %}{% if m.role == 'user' %}"
            f"{{{{ {_quoted(self.user[0])} + m.content + {_quoted(self.user[1])} }}}}"
            f"{{% else %}}{{{{ {_quoted(self.header)} }}}}{section}"
            f"{{{{ {_quoted(self.before)} + ({shown}) + {_quoted(self.closed + STOP + self.behind)} }}}}"
            "{% endif %}{% endfor %}"
            f"{{% if add_generation_prompt %}}{{{{ {_quoted(self.header + self.before * self.asked)} }}}}"
            f"{{% else %}}{{{{ {_quoted(self.last)} }}}}{{% endif %}}"
        )

    def reply(self, message) -> str:
        """What a model writes behind the generation prompt."""
        words = message["content"].strip() if self.trims else message["content"]
        return self._thought(message, last=True) + self.before * (not self.asked) + words + self.closed + STOP

    def prompt(self, messages) -> str:
        """What a model reads before its reply to the messages."""
        text = ""
        for message in messages:
            if message["role"] == "user":
                text += self.user[0] + message["content"] + self.user[1]
            else:
                text += self.header + self._thought(message, last=False) + self.before * self.asked
                text += self.reply({"content": message["content"]}).removeprefix(self._thought({}, last=True))
                text += self.behind
        return text + self.header + self.before * self.asked

    def _thought(self, message, *, last: bool) -> str:
        thought = message.get("reasoning_content", "")
        if not self.section or not (thought or self.empty) or not (self.kept or last):
            return ""
        return self.section[0] + thought + self.section[1]


@st.composite
def kinds(draw):
    header = draw(st.sampled_from(["<|assistant|>\n", "<|assistant|>", "ASSISTANT:", ""]))
    section = draw(st.sampled_from([None, *SECTIONS]))
    closed = draw(st.sampled_from(["", "<|/say|>"]))
    return Kind(
        user=draw(
            st.sampled_from(
                [("<|user|>\n", "<|end_user|>\n"), ("<|user|>", ""), ("[INST] ", " [/INST]"), ("USER: ", "\n")]
            )
        ),
        header=header,
        before=draw(st.sampled_from(["", " ", "<|say|>", "to=user<|say|>"])),
        # A thought stands directly behind the header, so a prompt cannot hold what comes after the thought.
        asked=draw(st.booleans()) if section is None else False,
        section=section,
        empty=draw(st.booleans()),
        kept=draw(st.booleans()),
        closed=closed,
        behind=draw(st.sampled_from(["", "\n"])),
        # Phi-3 ends a conversation with a second token, at which no reply ends.
        last="" if closed else draw(st.sampled_from(["", "", LATER])),
        trims=draw(st.booleans()),
    )


LETTERS = st.text("ab Z.:\n<>|é漢", min_size=1, max_size=12)
SPACE = st.sampled_from(["", "", "", " ", "\n"])


@st.composite
def conversations(draw, thoughts: bool):
    messages = []
    for number in range(draw(st.integers(4, 5))):
        messages.append({"role": "user", "content": f"Observation: {draw(LETTERS).strip()} {number}", "loss": 0.0})
        words = f"Action: {draw(LETTERS).strip()} {number}"
        reply = {
            "role": "assistant",
            "content": draw(SPACE) + words + draw(SPACE),
            "loss": draw(st.sampled_from([0.0, 1.0])),
        }
        if thoughts and draw(st.booleans()):
            reply["reasoning_content"] = f"I think {draw(LETTERS).strip()} {number}"
        messages.append(reply)
    messages[-1]["loss"] = 1.0
    return messages


@given(st.sampled_from(["bytes_bos", "metaspace_first"]), kinds(), conversations(thoughts=False))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_labels_are_what_a_model_would_generate_for_templates_of_every_kind(tokens, kind, messages):
    assume(kind.header or kind.user[1])  # otherwise nothing says where a turn of the user ends
    check(tokens, kind, messages)


@given(st.sampled_from(["bytes_bos", "metaspace_first"]), kinds(), conversations(thoughts=True))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_thoughts_stand_in_the_section_of_the_template_or_are_refused(tokens, kind, messages):
    assume(kind.header or kind.user[1])
    assume(any(message.get("reasoning_content") for message in messages if message["loss"]))
    try:
        check(tokens, kind, messages)
    except TemplateError as error:
        # There is nothing to refuse where the template has a place for thoughts.
        assert kind.section is None, error


def check(tokens, kind, messages):
    tokenizer = _tokenizer(tokens)
    tokenizer.chat_template = kind.template()
    tokenizer.eos_token = kind.last or STOP
    bare = [{key: value for key, value in message.items() if key != "loss"} for message in messages]
    assert tokenizer.apply_chat_template(bare[:-1], tokenize=False, add_generation_prompt=True) == kind.prompt(
        bare[:-1]
    )
    runs = [
        (sample["input_ids"][:start], ids)
        for sample in TrajectoryEncoder(tokenizer).encode(messages)
        for start, ids in trained_runs(sample)
    ]
    trained = [index for index, message in enumerate(messages) if message["loss"]]
    assert len(runs) == len(trained)
    for (read, written), index in zip(runs, trained, strict=True):
        prompt, reply = kind.prompt(bare[:index]), kind.reply(bare[index])
        if kind.section is None and bare[index].get("reasoning_content"):
            assert letters(tokenizer.decode(written)).count(letters(bare[index]["reasoning_content"])) == 1
            continue
        asked, both = _ids(tokenizer, prompt), _ids(tokenizer, prompt + reply)
        if kind.section is not None or not any(message.get("reasoning_content") for message in bare):
            assert read == asked, (tokenizer.decode(read), prompt)
        if both[: len(asked)] == asked:
            assert written == both[len(asked) :], (tokenizer.decode(written), reply)
        else:
            # Tokens merge across the edge; a model reads the prompt alone, and its reply begins with a token of its own.
            assert letters(tokenizer.decode(written)) == letters(reply)


def _ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@cache
def _tokenizer(tokens):
    tokenizer = make_tokenizer(tokens, "chatml", plain_headers=True)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    return tokenizer


def _quoted(text: str) -> str:
    return "'" + text.replace("\n", "\\n") + "'"
