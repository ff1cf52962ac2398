"""``step-envs export``."""

import json
import sys
from pathlib import Path

import pytest
from cli_calls import call, failure, trajectory

from step_envs.store import TrajectoryStore


def test_export_writes_the_episodes_asked_for(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = call("export", run, "--out", out, "--outcome", "success", "--json")
    said = json.loads(result.stdout)
    assert said.pop("untrained_replies")["trained_by"] == ["axolotl", "LLaMA-Factory", "SkyRL", "TRL", "verl"]
    assert said == {"out": str(out), "format": "messages", "read": 3, "kept": 2, "rows": 2}
    assert [json.loads(line)["task_id"] for line in out.read_text().splitlines()] == ["boil/3", "boil/4"]
    again = call("export", run, "--out", out)
    assert again.exit_code == 2 and "is already there" in again.stderr
    replaced = call("export", run, run, "--out", out, "--overwrite")
    assert replaced.exit_code == 0 and "rows.jsonl: 6 of 6 trajectories as messages\n" in replaced.stdout
    assert "errors). LLaMA-Factory, SkyRL, TRL and verl ignore the weights and would train them" in replaced.stdout


def test_export_of_turns_says_what_the_loaders_need(run: Path, tmp_path: Path) -> None:
    result = call("export", run, "--out", tmp_path / "turns.jsonl", "--format", "turns")
    assert "trained turns of 3 trajectories\nThe rows hold 4 replies as context (1 error): train on" in result.stdout
    again = call("export", run, "--out", tmp_path / "again.jsonl", "--format", "turns", "--json")
    assert "verl" in json.loads(again.stdout)["untrained_replies"]["trained_by"]


def test_export_says_what_got_no_row(run: Path, tmp_path: Path) -> None:
    with TrajectoryStore(run / "trajectories.jsonl") as store:
        store.append(failure("boil/5", turns=trajectory().turns[:3], errors=0, stop_reason="agent_stopped"))
    result = call("export", run, "--out", tmp_path / "rows.json", "--format", "sharegpt")
    assert "3 of 4 trajectories as sharegpt\n1 hold no reply and have no row.\n" in result.stdout


def test_export_without_pyarrow_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = call("export", run, "--out", tmp_path / "rows", "--format", "parquet")
    assert result.exit_code == 2 and 'run `pip install "step-envs[data]"`' in result.stderr


def test_export_to_minari_writes_a_folder_of_episodes(run: Path, tmp_path: Path) -> None:
    minari = pytest.importorskip("minari", reason="needs the extra minari")
    with TrajectoryStore(run / "trajectories.jsonl") as store:
        store.append(failure("boil/5", turns=trajectory().turns[:3], errors=0, stop_reason="agent_stopped"))
    result = call("export", run, "--out", tmp_path / "episodes", "--format", "minari")
    assert result.stdout.endswith("3 of 4 trajectories as minari\n1 hold no reply and have no row.\n")
    assert len(minari.MinariDataset(tmp_path / "episodes")) == 3
