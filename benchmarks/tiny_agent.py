"""Make a tiny language model that acts in a world, from nothing: its short form of the conversation, training, and agent.

So small a model can neither spell nor find its way through long pages. It reads a shorter conversation than other agents:
the same turns, without thoughts and without phrases that are always the same, and with a name and its number as one token.
In the web shop, the products of a page have numbers in place of their ids of ten characters. What the model writes is
turned back into an action of the world. The conversation that is recorded stays the world's own.

``benchmarks/credit.py`` makes such models and uses the agent as ``tiny_agent.TinyAgent:model=FOLDER``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
from typing_extensions import override

from step_envs.agents.base import Reply
from step_envs.agents.local.agent import TransformersAgent
from step_envs.file_reading import read_json
from step_envs.run_folder import write_json
from step_envs.trajectory import Trajectory
from step_envs.wrappers.reply import parse_action

SHORT_FORM = "short_form.json"
"""File in the folder of a model: in which short form it reads conversations."""
_WORD = r" ?\b[a-z]+ [0-9]+\b| ?\p{L}[\p{L}'&-]*| ?[0-9]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SHOWN = 5  # products of a result page whose titles are shown
_ASIN = re.compile(r"(B0[A-Z0-9]{8}) \[SEP\] (.*?) \[SEP\] \$([0-9]+)")
_FREQUENT = 30  # titles that a word must be in to be shown; brands and codes are not


class ShortForm(NamedTuple):
    """How the conversation of a world is shortened.

    Attributes:
        env_id: The world.
        words: In the web shop, the words of titles that are shown.
    """

    env_id: str
    words: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> "ShortForm":
        """Read the short form of a model."""
        kept = read_json(folder / SHORT_FORM)
        return cls(kept["env_id"], frozenset(kept["words"]))

    def write(self, folder: Path) -> None:
        """Keep the short form beside a model."""
        write_json(folder / SHORT_FORM, {"env_id": self.env_id, "words": sorted(self.words)})

    def messages(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """Shorten a conversation without a manual (``style="plain"``), turn by turn."""
        short: list[dict[str, str]] = []
        seen = ""
        for number, message in enumerate(messages):
            text = message["content"]
            if message["role"] == "assistant":
                said = f"Action: {_short_action(parse_action(text) or '', seen, self.env_id)}"
            else:
                said = _short_task(text, self) if number == 0 else _short_answer(text, seen, self)
                seen = text
            short.append({"role": message["role"], "content": said})
        return short

    def trajectory(self, trajectory: Trajectory) -> Trajectory:
        """Shorten the turns of a trajectory; everything else stays."""
        plain = [{"role": turn.role, "content": turn.content} for turn in trajectory.turns]
        turns = tuple(
            turn.model_copy(update={"content": message["content"]})
            for turn, message in zip(trajectory.turns, self.messages(plain), strict=True)
        )
        return trajectory.model_copy(update={"turns": turns})

    def action(self, action: str, messages: Sequence[Mapping[str, str]]) -> str:
        """Turn an action of the short form into one of the world: ``click[2]`` names the second product of the page."""
        found = re.fullmatch(r"click\[(\d+)\]", action) if self.env_id == "STeP-WebShop-v0" else None
        if found is None:
            return action
        products = _ASIN.findall(next(one["content"] for one in reversed(messages) if one["role"] == "user"))
        number = int(found[1])
        return f"click[{products[number - 1][0].lower()}]" if 0 < number <= len(products) else action


def _short_action(action: str, page: str, env_id: str) -> str:
    if env_id != "STeP-WebShop-v0" or not action.startswith("click["):
        return action
    ids = [one[0] for one in _ASIN.findall(page)]
    clicked = action[6:-1].upper()
    return f"click[{ids.index(clicked) + 1}]" if clicked in ids else action.lower()


@lru_cache(maxsize=50_000)
def _short_task(text: str, form: ShortForm) -> str:
    if form.env_id == "STeP-ALFWorld-v0":
        return _alfworld(text)
    if form.env_id == "STeP-WebShop-v0":
        wish = text.split(" [SEP] ")[2].lower()
        return "task: " + re.sub(r"(\d+)\.00 dollars$", r"\1", wish)
    return _science_task(text)


@lru_cache(maxsize=50_000)
def _short_answer(text: str, before: str, form: ShortForm) -> str:
    text = re.sub(r"^Observation:\s", "", text)
    if form.env_id == "STeP-ALFWorld-v0":
        return _alfworld(text)
    if form.env_id == "STeP-WebShop-v0":
        return "ok" if text == re.sub(r"^Observation:\s", "", before) else _shop_page(text, form.words)
    return _science(text)


def _alfworld(text: str) -> str:
    for long, short in (
        ("-= Welcome to TextWorld, ALFRED! =-\n\n", ""),
        ("You are in the middle of a room. Looking quickly around you, you see ", "room: "),
        ("Your task is to: ", "task: "),
    ):
        text = text.replace(long, short)
    text = re.sub(r"You arrive at [a-z]+ \d+\. ", "", text)
    text = re.sub(r"(?:On|In) the ([a-z]+ \d+), you see ", r"\1: ", text)
    text = re.sub(r"You open the ([a-z]+ \d+)\. The \1 is open\. ", "open ", text)
    return re.sub(r"\b(an?|the|and) (?=[a-z]+ \d)", "", text).replace("\n\n", "\n")


def _shop_page(text: str, words: frozenset[str]) -> str:
    def title(of: str) -> str:
        return " ".join(word for word in re.findall(r"[\w'&-]+", of.lower()) if word in words)

    parts = text.split(" [SEP] ")
    products = _ASIN.findall(text)
    if products:
        shown = (f"{place} {title(name)} $ {price}" for place, (_, name, price) in enumerate(products[:_SHOWN], 1))
        return "results: " + " | ".join(shown)
    price = next((place for place, part in enumerate(parts) if part.startswith("Price:")), None)
    if price is not None and "< Prev" in parts:
        options = parts[parts.index("< Prev") + 1 : price - 1]
        return f"page: {' , '.join(options).lower()} | {title(parts[price - 1])} $ {parts[price][8:].split('.')[0]}"
    return "text"


def _science_task(text: str) -> str:
    for long, short in (
        ("Task Description:", ""),
        ("Your task is to ", ""),
        ("First, focus on the thing. Then, move it to", "put it in"),
        ("a(n) ", ""),
    ):
        text = text.replace(long, short)
    text = re.sub(r"The animals are in the '(.*?)' location\. Focus on [^\n]*", r"in \1", text)
    return "task: " + re.sub(r"\s+", " ", text).strip()


def _science(text: str) -> str:
    if text.startswith("No known action"):
        return "nothing happens"
    place = re.search(r"called the ([\w ]+)\.", text)
    if place is None or "\t" not in text:
        return re.sub(r"\b[Tt]he ", "", re.sub(r"^You ", "", text)).strip(". ")[:160]
    things = []
    for thing in text.split("You also see:")[0].split("\n\t")[1:]:
        thing = re.sub(r"\(containing nothing\)|, which is \w+ ?\w*|, currently reading.*|\. The .*", "", thing.strip())
        thing = re.sub(r" in the \w+ stage(?: with a \w+ height)?", "", thing)
        thing = re.sub(r"(?i)\b(?:a substance called|an?|the) ", "", thing)
        if thing not in ("agent", "air"):
            things.append(re.sub(r"[.,()]", "", thing.replace("containing", "with")).strip())
    return f"{place[1]}: " + " | ".join(things)


class TinyAgent(TransformersAgent):
    """Has a model of ``train_tiny_model`` play. Its options are those of ``TransformersAgent``."""

    name = "tiny"

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(model, **{"max_tokens": 24} | options)
        self._form = ShortForm.read(Path(model))

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Reply to the shortened conversation with an action of the world."""
        messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
        reply = super().act(_ShortView(env, self._form.messages(messages)))
        action = None if reply is None else parse_action(reply.text)
        if reply is None or action is None:
            return reply
        return replace(reply, text=f"Action: {self._form.action(action, messages)}")


class _ShortView(gym.Wrapper[str, str, str, str]):
    """An environment whose conversation is shown in another form."""

    def __init__(self, env: gym.Env[str, str], messages: list[dict[str, str]]) -> None:
        super().__init__(env)
        self.messages = messages


def short_form_of(env_id: str, golden: Iterable[Trajectory]) -> ShortForm:
    """Find the short form of a world: in the web shop, the words that many titles have."""
    counts: Counter[str] = Counter()
    if env_id == "STeP-WebShop-v0":
        titles = {found[1].lower() for one in golden for turn in one.turns for found in _ASIN.findall(turn.content)}
        counts.update(word for title in titles for word in set(re.findall(r"[\w'&-]+", title)))
    return ShortForm(env_id, frozenset(word for word, count in counts.items() if count >= _FREQUENT))


def train_tiny_model(golden: Sequence[Trajectory], out: Path, *, steps: int) -> Path:
    """Make a model with random weights, and train it on golden trajectories.

    Args:
        golden: Successful episodes of one world, without a manual.
        out: Folder of the model.
        steps: Optimizer steps of about 2,000 tokens each.

    Returns:
        The folder.
    """
    from step_envs.training import FinetuneConfig, build_dataset, finetune
    from step_envs.training.tiny_model import TinyModelSize, make_tiny_model

    form = short_form_of(golden[0].env_id, golden)
    short = [one for one in (form.trajectory(_without_reading(one)) for one in golden) if not _clicks_on_unseen(one)]
    tokenizer = _learn_words([turn.content for one in short for turn in one.turns])
    size = TinyModelSize(vocabulary=len(tokenizer), width=128, layers=3, heads=4, context=2048)
    start = make_tiny_model(tokenizer, size, out.with_name(f"{out.name}-random"))
    rows, _ = build_dataset(short, tokenizer, max_length=1024)
    config = FinetuneConfig(
        loop="small",
        max_steps=steps,
        learning_rate=3e-3,
        batch_size=2,
        packing=True,
        max_length=1024,
        warmup=0.05,
        weight_decay=0.01,
        logging_steps=50,
        save_steps=500,
        gradient_checkpointing=False,
    )
    finetune(rows, model=start, out=out, config=config, tokenizer=tokenizer)
    form.write(out)
    return out


def _without_reading(trajectory: Trajectory) -> Trajectory:
    """Leave out that a product's features were read, and the way back: the short form does not show them."""
    turns, skipped = list(trajectory.turns[:1]), False
    for place in range(1, len(trajectory.turns), 2):
        action = trajectory.turns[place].action
        in_shop = trajectory.env_id == "STeP-WebShop-v0"
        if in_shop and (action == "click[features]" or (skipped and action == "click[< prev]")):
            skipped = action == "click[features]"
            continue
        turns += trajectory.turns[place : place + 2]
    return trajectory.model_copy(update={"turns": tuple(turns)})


def _clicks_on_unseen(short: Trajectory) -> bool:
    """Return True if a product is opened whose title the short form does not show."""
    clicks = (re.fullmatch(r"Action: click\[(\d+)\]", turn.content) for turn in short.turns if turn.role == "assistant")
    return any(int(found[1]) > _SHOWN for found in clicks if found is not None and len(found[1]) < 3)


def _learn_words(texts: Iterable[str]) -> Any:
    """Learn a tokenizer in which every word, and every name with its number, is one token; all other text is bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from step_envs.training.tiny_model import ASSISTANT, CHAT_TEMPLATE, END, PAD, SPECIAL, SYSTEM, USER

    isolate = pre_tokenizers.Split(Regex(_WORD), "isolated")
    split = pre_tokenizers.Sequence([isolate, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    frequent = [word for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if count > 2]
    tokens = list(dict.fromkeys([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *frequent]))[:3000]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
