"""The token view of the page: the same tokens and weights as training gets."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sample_runs import episode, ordinary_run, write_run
from typer.testing import CliRunner

pytest.importorskip("transformers", reason="needs the extra train")

from small_tokenizers import make_tokenizer

from step_envs.cli import app
from step_envs.store import read_trajectories
from step_envs.training.tokens import encoder_for, tokenize_trajectory
from step_envs.viewer import Page
from step_envs.viewer.tokens import TokenPacker

pytestmark = pytest.mark.train


def block(text: str, name: str) -> Any:
    held = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text)
    assert held is not None
    value = json.loads(held[1])
    return json.loads(gzip.decompress(base64.b64decode(value))) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", ["bytes", "metaspace_first"])
def test_the_page_holds_the_tokens_that_training_gets(kind: str, run: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(kind, "chatml")
    packer = TokenPacker(tokenizer, "small")
    page = Page([run], tokens=packer)
    trajectories = [*read_trajectories(run), episode(24, text="漢字 é 🙂 \u202e")]
    for one in trajectories:
        page.add(0, one)
    written = page.write(tmp_path / "view.html")
    text = written.path.read_text()
    words, held = block(text, "vocabulary"), block(text, "tokens-0")
    assert written.tokenized == len(trajectories) == block(text, "index")["tokenizer"]["trajectories"]
    assert 0 < written.token_size < written.size
    for one, samples in zip(trajectories, held, strict=True):
        expected = tokenize_trajectory(one, tokenizer)
        assert len(samples) == len(expected) == 1
        for sample, asked in zip(samples, expected, strict=True):
            shown = [words[number] for number in sample["t"]]
            assert shown == encoder_for(tokenizer).pieces(asked["input_ids"])
            assert "".join(shown) == tokenizer.decode(asked["input_ids"], skip_special_tokens=False)
            assert [weight for length, weight in sample["w"] for _ in range(length)] == asked["weights"]


def test_the_page_stops_at_its_limit_and_says_so(run: Path, tmp_path: Path) -> None:
    packer = TokenPacker(make_tokenizer("bytes", "chatml"), "small", limit=1000)
    page = Page([run], tokens=packer)
    for one in read_trajectories(run):
        page.add(0, one)
    written = page.write(tmp_path / "view.html")
    held = block(written.path.read_text(), "tokens-0")
    assert 0 < written.tokenized == len(held) < 24
    assert packer.tokens <= 1000


def test_view_says_what_the_tokens_take(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(6))
    make_tokenizer("bytes", "chatml").save_pretrained(tmp_path / "small")
    result = CliRunner().invoke(app, ["view", str(run), "--tokens", str(tmp_path / "small")])
    assert result.exit_code == 0, result.output
    assert re.search(r"tokens of 6 of 6 trajectories, \d+\.\d MB", " ".join(result.output.split()))


def test_a_tokenizer_that_is_not_there(run: Path) -> None:
    result = CliRunner().invoke(app, ["view", str(run), "--tokens", "no/such"])
    assert result.exit_code == 2
    assert result.stderr == (
        "The model 'no/such' is neither a folder nor on this machine: name a folder, or fetch it first with "
        "`hf download no/such`.\n"
    )


def test_one_trajectory_is_drawn_token_by_token(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(2))
    make_tokenizer("bytes", "chatml").save_pretrained(tmp_path / "small")
    result = CliRunner().invoke(app, ["view", str(run), "--episode", "0", "--tokens", str(tmp_path / "small")])
    assert result.exit_code == 0, result.output
    assert "<|im_end|>⟧" in result.output
    assert "One sample for a conversation" in result.output
