r"""Finds where a reply stops being its writer's own and begins to speak for somebody else.

A model that is not stopped goes on after its action: it writes the end of its turn, opens the next one, and invents what
the world or a person would say. Nobody said what follows. Cutting at the next ``Observation:`` line, the obvious way,
misses all other ways to open a turn (``Human:``, ``### Instruction``, ``<|im_end|>``, ``[INST]``). The invented text is
then carried out as part of the action, quoted in reflections, and trained on. So every kind of opening is listed here,
once: marks of chat templates anywhere in the text, and labels of speakers and fields at the beginning of a line.

What a correct action can hold stays: ``search[user: manual]`` has its label in the middle of a line and inside brackets.
"""

import re

_COLON = "[:：﹕︰]"
_BREAK = r"[\n\r\v\f\x85\u2028\u2029]"
_LINE = rf"{_BREAK}[ \t>*_#`~+•|(\[<\"'\-]{{0,20}}"
"""A new line and what may stand before a label on it: a quote, bold type, a bullet, a heading."""
_AFTER_LABEL = r"(?:[ \t]?[#(\[]?\d{1,4}[)\]]?)?[\])>*_`~\"'|]{0,6}[ \t]{0,4}"
"""What may stand between a label and its colon: a number (``Observation 3:``), the end of bold type."""

_SPEAKERS = (
    r"human|user|assistant|ai(?:[ _]assistant)?|(?:chat|ro)?bot|chatgpt|gpt|system|environment|env|world|simulator|game|"
    r"observations?|obs|instructions?|customer|ipython|"
    r"(?:tool|function)(?:[ _](?:response|result|output|call)s?)?|"
    r"用户|人类|助手|系统|环境|观察|观测|指令|ユーザー|アシスタント|観察|사용자|관찰|пользователь|ассистент|наблюдение|"
    r"usuario|asistente|observación|utilisateur|benutzer|beobachtung"
)
_HEADINGS = r"human|user|assistant|ai|instruction|response|input|output|observation|system|task|environment|end"
_TAGS = (
    r"human|user|assistant|system|ai|bot|model|tool|function|observations?|obs|environment|env|world|instruction|task|"
    r"context|(?:tool|function)_(?:response|result|output)s?"
)

_MARKS = "|".join(
    (
        r"<[|｜][^<>|｜\n]{1,60}[|｜]>",  # <|im_end|>, <|END_OF_TURN_TOKEN|>, <｜end▁of▁sentence｜>
        r"<[|｜][a-z_]{1,30}>",  # <|turn>
        r"<[a-z_]{1,30}[|｜]>",  # <turn|>
        r"<[|｜][\w▁]{0,40}\Z",  # a mark that was cut off
        r"\[[|｜][\w/ -]{1,30}[|｜]\]",  # [|endofturn|]
        r"</?s>|<(?:eos|bos|pad|unk|eod|eot|eop|eoa|eoh|eom|sop|eog|endoftext)>",
        r"<(?:end|start|begin)_of_\w{1,20}>|<(?:reserved|unused|tokens_unused|extra_id)_?\d{1,6}>",
        rf"</?(?:{_TAGS})\s{{0,4}}>",
        r"</(?:action|answer|response|output|reply|final|solution)\s{0,4}>",
        r"\[/INST\]|<</?SYS>>",
        r"(?<!search)(?<!click)\[(?:INST|/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CONTENT|MODEL_SETTINGS)"
        r"|UNUSED_TOKEN_\d{1,6}|[gs]?MASK|EOS|BOS|EOT|PAD)\]",
        rf"\#{{2,6}}[ \t]{{0,4}}(?:{_HEADINGS})\b",
        # Line breaks that a model wrote as two characters.
        r"\\n\s{0,4}(?:thought|action|observation|obs|task|human|user|assistant|system|environment)\s?:",
    )
)
_ROLE_LINES = "|".join(
    (
        # Names of roles alone on a line, or stuck to the text before: what is left of a template's marks where a server or
        # a tokenizer removed the special tokens. An empty line follows the roles of Llama.
        rf"{_BREAK}[ \t]{{0,8}}(?:user|assistant|system|human|model|tool|ipython|observation|environment)"
        r"[ \t]{0,8}(?=[\r\n]|\Z)",
        r"(?<=\S)(?:user|assistant|system|ipython)\n\n(?=\S)",
    )
)

_BEFORE_ACTION = re.compile(
    rf"{_MARKS}|{_ROLE_LINES}|{_LINE}(?:{_SPEAKERS}){_AFTER_LABEL}{_COLON}"
    rf"|\A[\s>*_#`~]{{0,20}}(?:observations?|obs|human|user|environment){_AFTER_LABEL}{_COLON}",
    re.IGNORECASE,
)
"""The end of a turn that has not acted yet. ``Task:`` and ``Plan:`` are no end here: a thought may restate its task."""

_AFTER_ACTION = re.compile(
    "|".join(
        (
            _MARKS,
            _ROLE_LINES,
            # Any label at all. No action goes on with a labelled line, so that what follows is another field or speaker,
            # whatever its name in whatever language.
            rf"{_LINE}[^\W\d_][\w /'.\-]{{0,40}}?{_AFTER_LABEL}{_COLON}",
            rf"{_LINE}(?:human|user|assistant|observation|environment|system){_AFTER_LABEL}(?:>|\||=|→|—|-)",
            rf"{_BREAK}[ \t]{{0,8}}[-=*_#~]{{3,100}}[ \t]{{0,8}}(?=[\r\n]|\Z)",
            # The next command behind a prompt, a heading: the transcript goes on without its writer.
            rf"{_BREAK}[ \t]{{0,8}}(?:>[ \t]|\#{{1,6}}[ \t]{{1,4}}(?=[^\W\d_]))",
            rf"{_LINE}(?:your task is|you are in the middle of|here is your task)\b",
        )
    ),
    re.IGNORECASE,
)
_ON_SAME_LINE = re.compile(
    r"(?<=[\s\].,;)])(?:Observation|OBSERVATION|Obs|OBS|User|USER|Human|HUMAN|Assistant|ASSISTANT|System|SYSTEM|AI|"
    rf"Environment|ENVIRONMENT|Tool|Task|Instruction|Thought|THOUGHT|Action|ACTION)[ \t]?\d{{0,4}}[ \t]?{_COLON}"
)

_OWN_TURN = re.compile(
    r"\A(?:\s{0,9}(?:"
    r"<[|｜](?:im_start|start)[|｜]>\s{0,4}assistant|<\|start_header_id\|>\s{0,4}assistant\s{0,4}<\|end_header_id\|>|"
    r"<[|｜](?:begin|start)[|｜]>assistant|<[|｜](?:assistant|content|message|bot|chatbot_token|begin_of_text|startoftext|"
    r"(?:begin|start)[_▁]of[_▁](?:solution|sentence|turn|box|answer|response)|start_of_turn_token|start_response|"
    r"start_text|system_prefix|assistant_prefix|assistant_start)[|｜]>|"
    r"<start_of_turn>\s{0,4}model|<[|｜]turn>\s{0,4}model|<s>|<bos>|\[\|assistant\|\]|\[/INST\]|"
    r"\#{2,6}[ \t]{0,4}(?:response|assistant|ai)\s?:?|<(?:answer|response|output|reply|final|assistant)\s{0,4}>|"
    rf"[*_]{{0,3}}(?:assistant|ai|chatgpt|gpt)[*_]{{0,3}}{_COLON}[*_]{{0,3}}|assistant(?=\n)"
    r"))+\s*",
    re.IGNORECASE,
)
"""What opens the reply's own turn: it belongs to the template, not to the reply."""


def without_opening(text: str) -> str:
    """Remove the marks and labels that open the reply's own turn, e.g. ``<|im_start|>assistant`` or ``Assistant:``."""
    return _OWN_TURN.sub("", text, count=1)


def end_before_action(text: str) -> int | None:
    """Return where a text without an action begins to speak for somebody else; None if it does not."""
    found = _BEFORE_ACTION.search(text)
    return None if found is None else found.start()


def end_after_action(text: str) -> int | None:
    """Return where the text that follows ``Action:`` stops being the action.

    Args:
        text: The text after the label, on to the end of the reply.

    Returns:
        The index of the first mark or label that belongs to somebody else or to another field; None if the text is the
        action to its end.
    """
    found = _AFTER_ACTION.search(text)
    end = len(text) if found is None else found.start()
    depth = position = 0
    closed = text.rfind("]", 0, end)
    for label in _ON_SAME_LINE.finditer(text, 0, end):
        # A label inside brackets is part of the action, unless the brackets never end.
        between = text[position : label.start()]
        depth = max(0, depth + between.count("[") - between.count("]"))
        position = label.start()
        if depth == 0 or closed < position:
            return position
    return None if found is None else end


def without_marks(text: str) -> str:
    """Replace every mark of a chat template in a text by a space."""
    # Once more and more, because what is left of a text may form a mark: <<|a|>|im_end|>.
    while (shorter := re.sub(_MARKS, " ", text, flags=re.IGNORECASE)) != text:
        text = shorter
    return text
