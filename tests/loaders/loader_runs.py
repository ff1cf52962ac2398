"""Runs a loader on our exports in its own environment, and compares the tokens that it trains on with ours.

Each environment is a folder that holds the loader and the versions that it asks for (see requirements/). Python looks there
first, and finds torch and all other packages where it runs: five environments of their own would take 4 GB.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from loader_cases import ROOT, Case, write_jobs

ENVIRONMENTS = Path(os.environ.get("STEP_ENVS_LOADERS", ROOT / ".venv" / "loaders"))
SCRIPTS = Path(__file__).parent / "scripts"
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass
class Comparison:
    """Counts of what a loader trains on, beside ours.

    Attributes:
        rows: Rows.
        theirs: Tokens that the loader trains on.
        ours: Tokens that we train on.
        missing: Of ours, those that the loader does not train on.
        newlines: Newlines behind the end of a reply that it trains on. A model never writes them: it has stopped.
        ends: Replies with loss 0 of which it trains on the end.
        untrained: Replies with loss 0 that it trains on.
        of: Replies with loss 0 in the rows.
        other: Other tokens that it trains on.
    """

    rows: int = 0
    theirs: int = 0
    ours: int = 0
    missing: int = 0
    newlines: int = 0
    ends: int = 0
    untrained: int = 0
    of: int = 0
    other: int = 0

    def difference(self) -> str:
        """Say in words how the loader differs."""
        said = []
        if self.untrained:
            said.append(f"**trains on {self.untrained:,} of {self.of:,} replies with loss 0**")
        if self.newlines:
            said.append(f"trains on {self.newlines:,} newlines behind the end of a reply")
        if self.ends:
            replies = "reply" if self.ends == 1 else "replies"
            said.append(f"trains on the end of {self.ends:,} {replies} with loss 0")
        if self.missing:
            said.append(f"does not train on {self.missing:,} of our tokens")
        if self.other:
            said.append(f"trains on {self.other:,} other tokens")
        return "; ".join(said) or "equal"


def environment(loader: str) -> Path | None:
    """Return the folder of a loader, or None where it has not been made; TRL is in the extra ``train``."""
    folder = ENVIRONMENTS / loader
    return folder if loader == "trl" or folder.is_dir() else None


def loader_version(loader: str) -> str:
    """Return the version of the package that is run."""
    if loader == "trl":
        return version("trl")
    return next(one.version for one in distributions(name=loader, path=[str(ENVIRONMENTS / loader)]))


def prepare(folder: Path) -> None:
    """Collect episodes with errors, corrections and the manual's "OK", export them in four formats, learn a tokenizer."""
    from step_envs.collection import collect
    from step_envs.collection.config import CollectConfig
    from step_envs.exports import FORMATS, export
    from step_envs.store import TrajectoryStore, read_trajectories
    from step_envs.training import select

    collected = folder / "collected"
    config = CollectConfig(
        env="STeP-ALFWorld-v0",
        split="valid_seen",
        episodes=8,
        agent="novice:error_rate=0.3",
        teacher="oracle",
        seed=1,
    )
    collect(config, collected)
    kept = select(read_trajectories(collected)).kept
    with TrajectoryStore(folder / "run" / "trajectories.jsonl") as store:
        for one in kept:
            store.append(one)
    # One episode that ends on an error, and in which a turn weighs one half.
    corrected = next(one for one in reversed(kept) if one.errors)
    last = max(number for number, turn in enumerate(corrected.turns) if turn.kind == "error")
    turns = list(corrected.turns[: last + 2])
    first = next(number for number, turn in enumerate(turns) if turn.loss)
    turns[first] = turns[first].model_copy(update={"loss": 0.5})
    short = corrected.model_copy(update={"turns": tuple(turns), "errors": sum(turn.kind == "error" for turn in turns)})
    for form in FORMATS:
        if form in ("messages", "turns", "sharegpt", "parquet"):
            export([*kept, short], folder / form, form)
    make_tokenizer((turn.content for one in kept for turn in one.turns), folder / "tokenizer")


def make_tokenizer(texts: Iterable[str], folder: Path) -> None:
    """Learn a small tokenizer with the words and the chat template of Qwen2.5, so that every loader reads it alike."""
    from importlib.resources import files

    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = files("trl").joinpath("chat_templates", "qwen2_5.jinja").read_text(encoding="utf-8")
    tokenizer.save_pretrained(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}))


def run(loader: str, exports: Path, folder: Path) -> dict[str, list[dict[str, list[int]]]]:
    """Let a loader encode all its cases; case -> rows of ``input_ids`` and ``labels``."""
    jobs, out = write_jobs(loader, exports, folder), folder / f"{loader}-rows.json"
    path = [str(ENVIRONMENTS / loader)] if loader != "trl" else []
    settings = {
        "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "MODELSCOPE_CACHE": str(folder / "modelscope"),
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
    }
    command = [sys.executable, str(SCRIPTS / f"{loader}_rows.py"), str(jobs), str(exports / "tokenizer"), str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | settings, cwd=folder, timeout=500, check=False
    )
    assert done.returncode == 0, f"{loader}: {done.stderr[-3000:]}"
    return json.loads(out.read_text())


@cache
def _tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def our_messages(case: Case, exports: Path) -> list[list[dict[str, Any]]]:
    """Return what a case exports, as messages with weights, row by row."""
    from step_envs.store import read_trajectories

    if case.export == "run":
        return [one.messages() for one in read_trajectories(exports / "run")]
    if case.export != "turns":
        return [json.loads(line)["messages"] for line in (exports / "messages").read_text().splitlines()]
    rows = [json.loads(line) for line in (exports / "turns").read_text().splitlines()]
    return [
        [message | {"loss": 0.0} for message in row["messages"][:-1]] + [row["messages"][-1] | {"loss": row["loss"]}]
        for row in rows
    ]


def compare(case: Case, encoded: list[dict[str, list[int]]], exports: Path) -> Comparison:
    """Compare what a loader made of a case with what we train on; the ids must be the same."""
    from step_envs.training import tokenize_trajectory

    tokenizer = _tokenizer(exports / "tokenizer")
    rows = our_messages(case, exports)
    assert len(encoded) == len(rows), f"{case.name}: {len(encoded)} of {len(rows)} rows"
    total = Comparison()
    for row, messages in zip(encoded, rows, strict=True):
        (ours,) = tokenize_trajectory(messages, tokenizer)
        size = min(len(ours["input_ids"]), len(row["input_ids"]))
        # A last newline, or the observation after the last reply: nothing of it is trained by us.
        assert row["input_ids"][:size] == ours["input_ids"][:size], f"{case.name}: other tokens"
        assert all(label == -100 for label in ours["labels"][size:])
        found = _compare_row(row, ours, messages, tokenizer)
        total = Comparison(*(getattr(total, one.name) + getattr(found, one.name) for one in fields(Comparison)))
    return total


def _compare_row(row: Any, ours: Any, messages: list[dict[str, Any]], tokenizer: Any) -> Comparison:
    from step_envs.training import tokenize_trajectory

    theirs = {place for place, label in enumerate(row["labels"]) if label != -100}
    trained = {place for place, label in enumerate(ours["labels"]) if label != -100}
    assert all(row["labels"][place] == row["input_ids"][place] for place in theirs)
    others = [message | {"loss": float(message["role"] == "assistant" and not message["loss"])} for message in messages]
    samples = tokenize_trajectory(others, tokenizer)
    replies = _runs(samples[0]["labels"]) if samples else []
    newline = tokenizer.encode("\n", add_special_tokens=False)[0]
    behind = {end for _, end in replies + _runs(ours["labels"])}
    newlines = {place for place in theirs & behind if row["input_ids"][place] == newline}
    taught = [(start, end) for start, end in replies if theirs & set(range(start, end - 1))]
    ends = [(start, end) for start, end in replies if theirs & set(range(start, end)) == {end - 1}]
    known = newlines.union(*(range(start, end) for start, end in [*taught, *ends]))
    return Comparison(
        rows=1,
        theirs=len(theirs),
        ours=len(trained),
        missing=len(trained - theirs),
        newlines=len(newlines),
        ends=len(ends),
        untrained=len(taught),
        of=len(replies),
        other=len(theirs - trained - known),
    )


def _runs(labels: list[int]) -> list[tuple[int, int]]:
    """Return start and end of every run of trained tokens."""
    edges = [place for place in range(len(labels) + 1) if _on(labels, place) != _on(labels, place - 1)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _on(labels: list[int], place: int) -> bool:
    return 0 <= place < len(labels) and labels[place] != -100
