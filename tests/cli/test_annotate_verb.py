"""``step-envs annotate``: what it prints, and that its result is a run like any other."""

import json
from pathlib import Path

from cli_calls import call

from step_envs.collection import CollectConfig, collect


def test_a_run_is_annotated_and_its_result_can_be_viewed(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    options = {"household": "small"}
    collect(CollectConfig(env="STeP-ALFWorld-v0", env_options=options, episodes=3), run)
    found = call("annotate", run, "--out", out, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["trajectories"] == 3
    again = call("annotate", run, "--out", out)
    assert again.exit_code == 2
    assert "already holds a run: add --resume" in " ".join(again.stderr.split())
    resumed = call("annotate", run, "--out", out, "--resume")
    assert resumed.exit_code == 0
    assert "Replies that lost value: " in resumed.stdout
    viewed = call("view", out, "--no-html")
    assert (viewed.exit_code, viewed.stderr) == (0, "")


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    wrong = call("annotate", tmp_path / "none", "--out", tmp_path / "out", "--value", "rollout")
    assert wrong.exit_code == 2
    assert wrong.stderr.strip() == f"Cannot read {tmp_path / 'none'}: No such file or directory."
    assert not (tmp_path / "out").exists()
