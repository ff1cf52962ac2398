"""Ctrl-C during ``step-envs train``, with a real process and real signals, and the pace that it prints."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from step_envs.cli.train_progress import TrainingPace, stopped_sentence


def test_the_pace_counts_from_where_a_training_goes_on() -> None:
    now = [100.0]
    pace = TrainingPace(lambda: now[0])
    pace.begin(40)
    assert pace.words(40, 100) == ""
    now[0] += 20
    assert not pace.is_time(30)
    assert pace.words(50, 100) == "  30 steps a minute  about 1:40 left"
    now[0] += 29
    assert not pace.is_time(30)
    now[0] += 1
    assert pace.is_time(30)
    assert pace.words(100, 100) == "  72 steps a minute"


def test_what_is_kept_is_named(tmp_path: Path) -> None:
    assert stopped_sentence(tmp_path) == "Stopped before the first checkpoint: the same command begins again."
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert (
        stopped_sentence(tmp_path) == f"Stopped. The same command goes on from step 10, which is saved in {tmp_path}."
    )


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_saves_a_checkpoint_and_the_same_command_goes_on(tmp_path: Path, presses: int) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    pytest.importorskip("trl", reason="needs the extra train")
    from small_checkpoints import save_checkpoint
    from small_tokenizers import make_tokenizer
    from typer.testing import CliRunner

    from step_envs.cli import app

    run, out = tmp_path / "run", tmp_path / "model"
    arguments = ["--env", "own_world:Coin-v0", "--episodes", "4", "--agent", "oracle", "--out", str(run)]
    assert CliRunner().invoke(app, ["collect", *arguments]).exit_code == 0
    start = save_checkpoint(make_tokenizer("bytes", "chatml"), tmp_path / "start")
    command = [sys.executable, "-m", "step_envs.cli", "train", str(run), "--model", str(start), "--out", str(out)]
    command += ["--max-steps", "100000", "--save-steps", "100000", "--no-audit", "--trainer", "logging_steps=1"]

    def first_step(process: "subprocess.Popen[str]") -> int:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            found = re.match(r"step (\d+) of 100000  loss .*steps a minute  about [\d:]+ left", line)
            if found:
                return int(found[1])
        raise AssertionError(said)

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    first_step(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "Stopping: waiting for the step in work, then a checkpoint is saved; press Ctrl-C again to leave it." in said
    kept = re.search(r"Stopped\. The same command goes on from step (\d+), which is saved in", said)
    assert kept is not None, said
    assert (out / f"checkpoint-{kept[1]}").is_dir()

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert first_step(process) == int(kept[1]) + 1
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in said, said
