"""``step-envs train``: from a run to a checkpoint, and what it says on the way."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer
from typer.testing import CliRunner

from step_envs.cli import app

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "coins"
    arguments = ["--env", "own_world:Coin-v0", "--episodes", "8", "--agent", "novice:error_rate=0.3", "--out", str(out)]
    assert CliRunner().invoke(app, ["collect", *arguments]).exit_code == 0
    return out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(make_tokenizer("bytes", "chatml"), tmp_path_factory.mktemp("model"))


def test_a_dry_run_says_what_would_be_trained(run, checkpoint):
    done = CliRunner().invoke(app, ["train", str(run), "--model", str(checkpoint), "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["filters"]["kept"] + sum(said["filters"]["dropped"].values()) == 8
    assert said["rows"]["rows"] == said["filters"]["kept"] > 0
    assert said["rows"]["mode"] == "conversation"
    assert "One sample for a conversation: the template only adds to what it laid out." in done.stderr


def test_a_model_is_trained_and_the_next_step_named(run, checkpoint, tmp_path):
    out = tmp_path / "model"
    arguments = [
        "train",
        str(run),
        "--model",
        str(checkpoint),
        "--out",
        str(out),
        "--max-steps",
        "2",
        "--max-length",
        "800",
    ]
    done = CliRunner().invoke(app, [*arguments, "--packing"])
    assert done.exit_code == 0, done.output
    assert f"Try it: step-envs eval --agent local:model={out}" in done.stdout
    assert transformers.AutoModelForCausalLM.from_pretrained(out).num_parameters() > 0
    assert "Trained tokens by kind of turn: agent " in done.stderr
    # Both steps come before the first entry of the log, so there is nothing to draw.
    assert not (out / "audit.json").exists()


@pytest.mark.parametrize("audit", [True, False])
def test_what_was_trained_is_logged_by_kind_of_turn(run, checkpoint, tmp_path, audit):
    out = tmp_path / "model"
    arguments = ["train", str(run), "--model", str(checkpoint), "--out", str(out), "--max-steps", "2"]
    arguments += ["--masking", "none", "--trainer", "logging_steps=1", *([] if audit else ["--no-audit"])]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert ("grad_norm/agent" in history[0]) == ("loss/agent" in history[0]) == audit
    assert (out / "audit.png").exists() == (out / "audit.json").exists() == audit
    assert ("Trained tokens by kind of turn" in done.stderr) == audit


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "x", "--masking", "partly"], "Unknown masking 'partly'. Did you mean 'partial'?"),
        ([], "Name the folder of the result with --out, or add --dry-run."),
        (["--out", "x", "--packing"], "packing needs max_length"),
        (["--out", "x", "--trainer", "fp16"], "--trainer 'fp16' is not of the form name=value."),
    ],
)
def test_wrong_input_is_one_sentence(run, checkpoint, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train", str(run), "--model", str(checkpoint), *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not (tmp_path / "x").exists()


def test_another_chat_template_is_trained_with_and_saved(run, checkpoint, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text(make_tokenizer("bytes", "generation_tags").chat_template)
    out = tmp_path / "model"
    arguments = ["train", str(run), "--model", str(checkpoint), "--out", str(out), "--max-steps", "1"]
    done = CliRunner().invoke(app, [*arguments, "--chat-template", str(template)])
    assert done.exit_code == 0, done.output
    assert transformers.AutoTokenizer.from_pretrained(out).chat_template == template.read_text()
    missing = CliRunner().invoke(app, [*arguments, "--chat-template", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert f"The chat template {tmp_path / 'none'} cannot be read: " in missing.stderr


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_the_configurations_for_several_gpus_are_ones_accelerate_knows(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "examples" / "accelerate" / f"{name}.yaml"))
    assert config.num_processes == 8
    assert config.distributed_type.name == {"ddp": "MULTI_GPU", "fsdp": "FSDP"}[name]


def test_options_of_the_template_are_saved_with_it(run, checkpoint, tmp_path):
    qwen = tmp_path / "qwen.jinja"
    qwen.write_text(make_tokenizer("bytes", "qwen3_5_think").chat_template)
    arguments = ["train", str(run), "--model", str(checkpoint), "--chat-template", str(qwen), "--max-steps", "1"]
    out = tmp_path / "model"
    options = ["--template-option", "enable_thinking=false", "--template-option", 'note="a"', "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, *options])
    assert done.exit_code == 0, done.output
    saved = transformers.AutoTokenizer.from_pretrained(out)
    asked = [{"role": "user", "content": "a"}]
    assert saved.apply_chat_template(asked, tokenize=False, add_generation_prompt=True).endswith("</think>\n\n")
    assert json.loads((out / "train.json").read_text())["template_options"] == {"enable_thinking": False, "note": "a"}
    refused = CliRunner().invoke(app, [*arguments, "--template-option", "not-a-name=1", "--out", str(tmp_path / "no")])
    assert refused.exit_code == 2
    assert "The option 'not-a-name' of a chat template must be" in " ".join(refused.stderr.split())


def test_thoughts_are_trained_in_the_section_of_the_template(run, checkpoint, tmp_path):
    qwen = tmp_path / "qwen.jinja"
    qwen.write_text(make_tokenizer("bytes", "qwen3").chat_template)
    arguments = ["train", str(run), "--model", str(checkpoint), "--thoughts", "section", "--dry-run", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--chat-template", str(qwen)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"]["mode"] == "turns"
    assert "its thought is in the section that the template has for thoughts" in " ".join(done.stderr.split())
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "has no section for thoughts" in " ".join(refused.stderr.split())
