"""The smallest experiment, its processes killed: what was done is kept, and in the end the report is the same.

In a file of its own, so that one process runs it while another runs the rest: it starts an experiment a dozen times.
"""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

for package in ("torch", "trl", "matplotlib"):
    pytest.importorskip(package, reason="the extra train is not installed")

from step_envs.errors import EngineError
from step_envs.training.experiments.presets import preset
from step_envs.training.experiments.runner import run

pytestmark = pytest.mark.train

# As small as it can be and still have every stage.
CHANGES = {"arms": ["d1", "step", "sequential"], "seeds": [0], "pretraining.copying": 20}
COMMAND = [sys.executable, "-m", "step_envs.cli", "reproduce", "--preset", "smoke"]
COMMAND += [word for name, value in CHANGES.items() for word in ("--set", f"{name}={json.dumps(value)}")]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_a_process_that_dies_is_said_and_nothing_is_lost(tmp_path):
    out = tmp_path / "run"

    def kill(step, what, figures):
        if (step.kind, what) == ("play", "begun"):
            for child in multiprocessing.active_children():
                child.kill()

    with pytest.raises(EngineError, match=r"A process died without a word while it did play@seed-0.* add --resume"):
        run(preset("smoke"), out, notice=kill)
    assert [file.name for file in (out / "steps").glob("*.json")] == ["samples@seed-0.json"]


def killed_at(out, moment, step):
    """Go on with an experiment and kill it at a moment; say whether the step was not done yet."""
    process = subprocess.Popen([*COMMAND, "--out", out, "--resume"], env=ENVIRONMENT, stderr=subprocess.PIPE)
    while not any(out.glob(moment)) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return not (out / "steps" / f"{step}@seed-0.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_stage_it_ends_with_the_same_report(tmp_path):
    undisturbed = subprocess.run(
        [*COMMAND, "--out", tmp_path / "whole"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert undisturbed.returncode == 0, undisturbed.stderr
    out = tmp_path / "killed"
    # What is there as soon as a stage is under way, and the step that must not be done yet when the kill strikes.
    moments = {
        "seed-0/golden/0/trajectories.jsonl": "golden-0",
        "seed-0/pretrained/checkpoint-*": "pretrain",
        "seed-0/base/checkpoint-*": "base",
        "seed-0/collected/0/config.json": "collect-0",
        "seed-0/arms/step/model/checkpoint-*": "train-step",
        "seed-0/arms/step/evaluation/config.json": "evaluate-step",
    }
    for moment, step in moments.items():
        for _ in range(5):
            if killed_at(out, moment, step):
                break
            # On a busy machine a stage can be over before anybody looks: from the beginning, then.
            shutil.rmtree(out)
        else:
            pytest.fail(f"the kill always came after {step}")
    resumed = subprocess.run([*COMMAND, "--out", out, "--resume"], env=ENVIRONMENT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    for file in (tmp_path / "whole" / "report").iterdir():
        assert (out / "report" / file.name).read_bytes() == file.read_bytes(), file.name
