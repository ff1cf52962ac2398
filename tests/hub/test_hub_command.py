"""The commands in processes of their own, told where the hub is by HF_ENDPOINT, as a user tells them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_stand_in import WRITER, HubStandIn, hub_stand_in

pytest.importorskip("datasets", reason="needs the extra data")

pytestmark = pytest.mark.slow


def call(hub: HubStandIn, home: Path, *command: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the stand-in as its hub and a home of its own."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "HF_TOKEN": WRITER}
    usual = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=usual | settings | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


STEP_ENVS = ("-m", "step_envs.cli")
READ = """
import datasets, json, sys
rows = datasets.load_dataset("writer/boxes")
print(json.dumps({name: [dict(row, usage=None) for row in part] for name, part in rows.items()}))
"""


def test_push_load_and_load_dataset(played: Path, tmp_path: Path) -> None:
    with hub_stand_in() as hub:
        done = call(hub, tmp_path, *STEP_ENVS, "push", played, "--repo", "writer/boxes")
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"{hub.url}/datasets/writer/boxes: 5 files pushed (a new private repository).\n")
        assert done.stderr == ""
        again = call(hub, tmp_path, *STEP_ENVS, "push", played, "--repo", "writer/boxes")
        assert again.stdout == f"{hub.url}/datasets/writer/boxes holds all of this already: nothing was sent.\n"
        back = call(hub, tmp_path, *STEP_ENVS, "load", "writer/boxes", "--out", tmp_path / "back", "--json")
        assert json.loads(back.stdout)["trajectories"] == 4
        for file in played.iterdir():
            assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()
        read = call(hub, tmp_path, "-c", READ)
        assert read.returncode == 0, read.stderr
        rows = json.loads(read.stdout)["train"]
        recorded = [json.loads(line) for line in (played / "trajectories.jsonl").read_text().splitlines()]
        assert [row["task_id"] for row in rows] == [one["task_id"] for one in recorded]
        for row, one in zip(rows, recorded, strict=True):
            assert [message["content"] for message in row["messages"]] == [turn["content"] for turn in one["turns"]]
            assert [message["loss"] for message in row["messages"]] == [turn["loss"] for turn in one["turns"]]
        metadata = yaml.safe_load(
            (hub.repositories["dataset", "writer/boxes"].files("main") or {})["README.md"].split(b"---")[1]
        )
        assert metadata["dataset_info"]["splits"][0]["num_examples"] == 4
        assert metadata["configs"][0]["data_files"] == [{"path": "data/train.parquet", "split": "train"}]
        assert WRITER not in done.stdout + again.stdout + back.stdout


def test_offline_and_without_a_token(played: Path, tmp_path: Path) -> None:
    with hub_stand_in() as hub:
        push = (*STEP_ENVS, "push", played, "--repo", "writer/boxes")
        done = call(hub, tmp_path, *push, HF_HUB_OFFLINE="1")
        assert (done.returncode, " ".join(done.stderr.split())) == (
            2,
            "Pushing to the hub needs the network, and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set: unset it.",
        )
        done = call(hub, tmp_path, *push, HF_TOKEN="")
        assert (done.returncode, " ".join(done.stderr.split())) == (
            2,
            "Pushing to the hub needs a token that may write: run `hf auth login`, or set HF_TOKEN "
            "(https://huggingface.co/settings/tokens).",
        )
        dry = call(hub, tmp_path, *push, "--dry-run", HF_TOKEN="", HF_HUB_OFFLINE="1")
        assert dry.returncode == 0
        assert dry.stdout.endswith(
            f"Nothing was sent. Without --dry-run, these 5 files go to {hub.url}/datasets/writer/boxes.\n"
        )
        assert hub.requests == []
