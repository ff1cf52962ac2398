"""A training that is watched: logging backends, loss curves, LoRA's options, the model's card, and a quiet terminal."""

import json
import logging
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
datasets = pytest.importorskip("datasets", reason="needs the extra train")
peft = pytest.importorskip("peft", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer
from typer.testing import CliRunner

from step_envs.agents.local.library_messages import quiet_loading
from step_envs.cli import app
from step_envs.training import reporting
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.loss_curves import draw_losses, read_losses
from step_envs.training.tokens import tokenize_trajectory

pytestmark = [pytest.mark.train, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "coins"
    arguments = ["--env", "own_world:Coin-v0", "--episodes", "12", "--agent", "novice:error_rate=0.3"]
    done = CliRunner().invoke(app, ["collect", *arguments, "--teacher", "oracle", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(make_tokenizer("bytes", "chatml"), tmp_path_factory.mktemp("model"))


def rows(count=4):
    tokenizer = make_tokenizer("bytes", "chatml")
    said = [
        [
            {"role": "user", "content": f"Observation: box {number} is empty."},
            {"role": "assistant", "content": "Thought: on.\nAction: open it", "loss": 1.0},
        ]
        for number in range(count)
    ]
    samples = [sample for one in said for sample in tokenize_trajectory(one, tokenizer)]
    return datasets.Dataset.from_list([{name: one[name] for name in ("input_ids", "labels")} for one in samples])


def config(**changes):
    return FinetuneConfig(**{"max_steps": 3, "batch_size": 2, "learning_rate": 1e-2, "logging_steps": 1} | changes)


def train(run, checkpoint, out, *more):
    arguments = ["train", str(run), "--model", str(checkpoint), "--out", str(out), "--max-steps", "2"]
    return CliRunner().invoke(app, [*arguments, "--logging-steps", "1", "--batch-size", "2", *map(str, more)])


# Logging backends


@pytest.mark.parametrize("loop", ["trl", "small"])
def test_both_loops_log_to_tensorboard(run, checkpoint, tmp_path, loop):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"loop": loop, "report_to": ["tensorboard"], "validation": 0.2}))
    out = tmp_path / "model"
    done = train(run, checkpoint, out, "--config", settings)
    assert done.exit_code == 0, done.output
    (folder,) = (out / "runs").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    for key, tag in (("loss", "train/loss"), ("eval_loss", "eval/loss"), ("loss/correction", "train/loss/correction")):
        logged = [(one.step, one.value) for one in events.Scalars(tag)]
        assert logged == [(one["step"], pytest.approx(one[key])) for one in history if key in one]
        assert logged, tag


def test_wandb_offline_keeps_a_run_for_each_training(run, checkpoint, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for name in ("one", "two"):
        done = train(run, checkpoint, tmp_path / name, "--report-to", "wandb")
        assert done.exit_code == 0, done.output
        assert wandb.run is None
    assert len(list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))) == 2


def test_trackio_keeps_its_figures_on_this_machine(checkpoint, tmp_path):
    pytest.importorskip("trackio", reason="needs the extra trackio")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_watched_training import config, finetune, rows\n"
        "finetune(rows(), model=sys.argv[2], out=sys.argv[3], config=config(report_to=('trackio',)))"
    )
    env = os.environ | {"TRACKIO_DIR": str(tmp_path / "kept"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(checkpoint), str(tmp_path / "model")]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kept" / "step-envs.db").exists()


@pytest.mark.parametrize("name", reporting.BACKENDS)
def test_a_missing_package_is_one_sentence_before_data_is_read(checkpoint, tmp_path, monkeypatch, name):
    monkeypatch.setattr(reporting, "find_spec", lambda package: None)
    done = train(tmp_path / "no-such-run", checkpoint, tmp_path / "model", "--report-to", name)
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert f"Logging to {name} needs the package '{name}', which is not installed" in said
    assert f'pip install "step-envs[{name}]"' in said
    assert not (tmp_path / "model").exists()


def test_a_backend_that_does_not_exist(checkpoint, tmp_path):
    done = train(tmp_path / "no-such-run", checkpoint, tmp_path / "model", "--report-to", "wandbb")
    assert done.exit_code == 2
    assert "Unknown logging backend 'wandbb'. Did you mean 'wandb' or" in " ".join(done.stderr.split())


def test_wandb_without_a_login_is_one_sentence(checkpoint, tmp_path, monkeypatch):
    settings = types.SimpleNamespace(mode="online")
    stand_in = types.ModuleType("wandb")
    stand_in.setup = lambda: types.SimpleNamespace(settings=settings)
    asked = []
    stand_in.login = lambda **named: bool(asked.append(named))
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setattr(reporting, "find_spec", lambda package: object())
    done = train(tmp_path / "no-such-run", checkpoint, tmp_path / "model", "--report-to", "wandb")
    assert done.exit_code == 2
    assert "needs a login: run `wandb login`, or keep the figures on this machine with WANDB_MODE=offline." in " ".join(
        done.stderr.split()
    )
    assert asked == [{"prompt": False, "verify": False}]
    settings.mode = "offline"
    reporting.check_backends(["wandb"])


@pytest.mark.parametrize("loop", ["trl", "small"])
def test_the_environment_switches_no_backend_on(checkpoint, tmp_path, monkeypatch, loop):
    for name, value in (("WANDB_PROJECT", "x"), ("WANDB_API_KEY", "x" * 40), ("TENSORBOARD_LOGGING_DIR", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    caught = []

    def catch(trainer):
        handler = getattr(trainer, "callback_handler", None) or trainer._callbacks
        caught.extend(type(one).__module__ for one in handler.callbacks)

    finetune(rows(), model=checkpoint, out=tmp_path / "model", config=config(loop=loop), on_trainer=catch)
    assert caught and not [module for module in caught if "integrat" in module]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert not (tmp_path / "model" / "runs").exists()


# Loss curves


def test_losses_are_drawn_and_named(run, checkpoint, tmp_path):
    out = tmp_path / "model"
    done = train(run, checkpoint, out, "--validation", "0.2")
    assert done.exit_code == 0, done.output
    assert f"Losses: {out / 'loss.svg'}, {out / 'loss.png'}" in done.stdout
    svg = (out / "loss.svg").read_text()
    for label in ("training", "validation", "correction, with its reflection", "error, not trained"):
        assert f">{label}<" in svg
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    again = CliRunner().invoke(app, ["train", "--config", str(out / "train.json"), "--out", str(out), "--json"])
    assert json.loads(again.stdout)["plots"] == [str(out / "loss.svg"), str(out / "loss.png")]


def test_curves_are_those_of_the_log(tmp_path):
    history = [
        {"step": 1, "loss": 2.0, "loss/agent": 1.0, "grad_norm/agent": 0.5, "loss/error": 3.0, "grad_norm/error": 0.0},
        {"step": 1, "eval_loss": 2.5, "eval_loss/agent": 1.5},
        {"step": 2, "loss": 1.5},
        {"step": 2, "train_loss": 1.7},
    ]
    assert read_losses(history) == {
        "loss": [(1, 2.0), (2, 1.5)],
        "eval_loss": [(1, 2.5)],
        "loss/agent": [(1, 1.0)],
        "eval_loss/agent": [(1, 1.5)],
        "loss/error": [(1, 3.0)],
    }
    first = [path.read_bytes() for path in draw_losses(history, tmp_path)]
    assert [path.read_bytes() for path in draw_losses(history, tmp_path)] == first
    (tmp_path / "empty").mkdir()
    assert draw_losses([{"step": 2, "train_loss": 1.7}], tmp_path / "empty") == []
    assert list((tmp_path / "empty").iterdir()) == []


# LoRA


def test_a_merged_model_is_the_base_with_its_adapter(checkpoint, tmp_path):
    lora = {"lora_rank": 2, "lora_alpha": 16}
    adapter = finetune(rows(), model=checkpoint, out=tmp_path / "adapter", config=config(**lora))
    merged = finetune(rows(), model=checkpoint, out=tmp_path / "merged", config=config(**lora, merge_lora=True))
    assert not list(merged.glob("adapter*"))
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    asked = torch.tensor([[5, 9, 12, 3]])
    with torch.no_grad():
        plain = base(asked).logits
        expected = peft.PeftModel.from_pretrained(base, adapter)(asked).logits
        found = transformers.AutoModelForCausalLM.from_pretrained(merged)(asked).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_the_options_of_lora(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    out = tmp_path / "model"
    done = train(run, checkpoint.name, out, "--lora-rank", "2", "--lora-alpha", "6", "--lora-dropout", "0.1")
    assert done.exit_code == 0, done.output
    saved = json.loads((out / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"], saved["lora_dropout"]) == (2, 6, 0.1)
    assert saved["base_model_name_or_path"] == str(checkpoint)
    for option in (["--lora-alpha", "4"], ["--lora-dropout", "0.1"], ["--merge-lora"]):
        refused = train(run, checkpoint, tmp_path / "no", *option)
        assert refused.exit_code == 2
        name = option[0].strip("-").replace("-", "_")
        assert f"{name} says how LoRA is trained: set lora_rank, too, or leave it away." in " ".join(
            refused.stderr.split()
        )


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_nothing_is_merged_where_no_process_has_the_whole_model(checkpoint, tmp_path, monkeypatch, kind):
    from step_envs.errors import DataError
    from step_envs.training.trainer_setup import lora_config

    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(DataError, match="no process has the whole model to merge LoRA into: leave merge_lora away"):
        lora_config(config(lora_rank=2, merge_lora=True))
    assert lora_config(config(lora_rank=2)).r == 2


# The card


def test_the_card_says_what_the_model_was_trained_on(run, checkpoint, tmp_path):
    out = tmp_path / "model"
    options = ("--validation", "0.2", "--lora-rank", "2", "--min-score", "0.5", "--template-option", "note='a b'")
    done = train(run, checkpoint, out, *options)
    assert done.exit_code == 0, done.output
    card = (out / "README.md").read_text()
    _, header, text = card.split("---\n", 2)
    metadata = yaml.safe_load(header)
    assert metadata["library_name"] == "peft" and "lora" in metadata["tags"]
    assert not {"license", "base_model"} & set(metadata)  # neither is known: the base is a folder of this machine
    facts = json.loads((out / "training_data.json").read_text())
    dropped = sum(facts["dropped"].values())
    assert facts["trajectories"] == 12 == facts["kept"] + dropped
    assert f"step-envs train {run} --model {checkpoint} --out {out} --template-option 'note='\"'\"'a b'" in text
    for words in (
        "12 (12 reflected)",
        "`Coin-v0`",
        '`{"name": "novice"',
        '`{"name": "oracle"',
        f"{facts['kept']} trajectories are used.",
        "The mask is `partial`: wrong steps stay in the context and carry the loss weight 0.",
        f"| correction | {facts['rows']['trained_by_kind']['correction']:,} |",
        "| error | 0 |",
        "| validation_loss |",
        "![Losses: training, validation, and by kind of turn](loss.png)",
        "(a share of 0.2, seed 0) are not trained on",
    ):
        assert words in text, words
    # What somebody writes into it stays, also when the same command runs again.
    (out / "README.md").write_text(card.replace("---\n\n<!--", "license: mit\n---\n\nMy words.\n\n<!--", 1))
    assert train(run, checkpoint, out, *options).exit_code == 0
    kept = (out / "README.md").read_text()
    assert "My words." in kept and yaml.safe_load(kept.split("---\n", 2)[1])["license"] == "mit"
    assert text.partition("<!--")[2] in kept
    (out / "README.md").write_text("Only mine.\n")
    assert train(run, checkpoint, out, *options).exit_code == 0
    assert (out / "README.md").read_text() == "Only mine.\n"


# A quiet terminal


def test_training_prints_what_step_envs_says_and_no_more(run, checkpoint, tmp_path):
    command = [sys.executable, "-m", "step_envs.cli", "train", str(run), "--model", str(checkpoint)]
    command += ["--max-steps", "2", "--lora-rank", "2", "--out", str(tmp_path / "model"), "--logging-steps", "1"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")])}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    strange = [
        line
        for line in done.stderr.splitlines()
        if not line.startswith(("step ", "One sample ", "Trained tokens ", "  ")) and "trajectories" not in line
    ]
    assert strange == []


def test_real_problems_stay_visible(caplog):
    logger = logging.getLogger("transformers.modeling_utils")
    handler = logging.Handler()
    seen = []
    handler.emit = lambda record: seen.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    harmless = "The tokenizer has new PAD/BOS/EOS tokens that differ from the model config and so on."
    try:
        with warnings.catch_warnings(record=True) as caught, quiet_loading():
            logger.warning(harmless)
            logger.warning("Some weights were not in the checkpoint.")
            warnings.warn("A device is missing.", UserWarning, stacklevel=1)
            warnings.warn_explicit("renamed", FutureWarning, "modeling.py", 1, module="transformers.modeling_utils")
            warnings.warn_explicit("renamed, too", FutureWarning, "mine.py", 1, module="mine")
            assert not transformers.utils.logging.is_progress_bar_enabled()
        logger.warning(harmless)
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert seen == ["Some weights were not in the checkpoint.", harmless]
    assert "renamed" not in [str(one.message) for one in caught]
    assert transformers.utils.logging.is_progress_bar_enabled()
