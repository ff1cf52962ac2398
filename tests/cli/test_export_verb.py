"""``step-envs export``."""

import json
import sys
from pathlib import Path

import pytest
from cli_calls import call, failure, trajectory

from step_envs.store import TrajectoryStore
from step_envs.training import read_pairs, read_privileged


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


def test_export_of_pairs_says_what_was_left_out_and_who_would_train_the_observations(run: Path, tmp_path: Path) -> None:
    with TrajectoryStore(run / "trajectories.jsonl") as store:
        store.append(failure("boil/3"))
    out = tmp_path / "pairs.jsonl"
    result = call("export", run, "--out", out, "--format", "pairs")
    assert result.exit_code == 0
    said = "".join(result.stdout.splitlines(keepends=True)[-5:])
    assert "pairs.jsonl: 1 pairs from 4 trajectories\n1 pairs from 2 candidates in 4 trajectories of 3 tasks.\n" in said
    assert "Left out: 1 of a task without a success that can be chosen.\n" in said
    assert "observations too: TRL's DPOTrainer does." in said
    (pair,) = read_pairs(out)
    assert (pair.task_id, pair.kind, pair.chosen_score, pair.rejected_score) == ("boil/3", "trajectory", 1.0, 0.25)
    row = json.loads(out.read_text())
    assert {tuple(message) for side in ("prompt", "chosen", "rejected") for message in row[side]} == {
        ("role", "content", "loss")
    }
    as_json = json.loads(call("export", run, "--out", tmp_path / "again", "--format", "pairs", "--json").stdout)
    assert (as_json["rows"], as_json["notes"][0]) == (1, "1 pairs from 2 candidates in 4 trajectories of 3 tasks.")
    assert (tmp_path / "again").read_bytes() == out.read_bytes()


def test_export_writes_what_the_filter_keeps_with_a_number_of_errors(run: Path, tmp_path: Path) -> None:
    with TrajectoryStore(run / "trajectories.jsonl") as store:
        turns = trajectory().turns
        store.append(trajectory("boil/6", turns=turns[:7] + turns[9:], unknown_verdicts=0))
    for errors, rows in ((1, 1), (0, 0)):
        out = tmp_path / f"{errors}.jsonl"
        result = call("export", run, "--out", out, "--outcome", "kept", "--max-errors", errors)
        assert result.exit_code == 0, result.output
        assert f"The paper's filter keeps {rows} of 4: " in result.stdout
        assert len(out.read_text().splitlines()) == rows


def test_export_of_step_pairs_plays_the_episodes_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    played = ("--env", "STeP-ALFWorld-v0", "--episodes", "3", "--agent", "novice:error_rate=0.5", "--teacher", "oracle")
    assert call("collect", *played, "--out", run).exit_code == 0
    result = call("export", run, "--out", tmp_path / "pairs.jsonl", "--format", "step-pairs")
    assert result.exit_code == 0
    pairs = list(read_pairs(tmp_path / "pairs.jsonl"))
    assert pairs and f"{len(pairs)} pairs from 3 trajectories" in result.stdout
    assert {pair.kind for pair in pairs} == {"step"} and all(pair.state for pair in pairs)


def test_export_of_prompts_with_privileged_context_says_what_was_left_out(tmp_path: Path) -> None:
    run = tmp_path / "run"
    played = ("--env", "STeP-ALFWorld-v0", "--episodes", "3", "--agent", "novice:error_rate=0.5", "--teacher", "oracle")
    assert call("collect", *played, "--out", run).exit_code == 0
    result = call("export", run, run, "--out", tmp_path / "rows.jsonl", "--format", "privileged")
    assert result.exit_code == 0
    rows = list(read_privileged(tmp_path / "rows.jsonl"))
    assert f"rows.jsonl: {len(rows)} prompts from 6 trajectories\n" in result.stdout
    assert f"Left out: {len(rows)} the same as another row.\n" in result.stdout
    assert result.stdout.endswith("told max_prompt_length=None; the task is at the beginning.\n")
    said = call("export", run, "--out", tmp_path / "again", "--format", "privileged", "--json").stdout
    assert json.loads(said)["notes"][0] == f"{len(rows)} prompts from {len(rows)} judged replies in 3 trajectories."
    assert (tmp_path / "again").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()
