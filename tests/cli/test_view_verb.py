"""``step-envs view``: figures, lists, and one episode drawn."""

import json
import re
from pathlib import Path

import pytest
from cli_calls import call, process, trajectory

from step_envs.collection.progress import Progress
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.trajectory import Trajectory


def test_view_shows_figures_and_episodes(run: Path) -> None:
    text = call("view", run, "--plain").output
    assert re.search(r"boil +2 +100% █+ +1\.00", text)
    assert re.search(r"melt +1 +0% ░+ +0\.25", text)
    assert re.search(r"All +3 +67%", text)
    assert "2 errors, 1 corrected" not in text  # two corrections: boil/3 and boil/4
    assert "2 errors, 2 corrected, 2 without verdict" in text
    assert "2 episodes of 5 without a trajectory" in text
    assert re.search(r"1 +melt/1 +too many errors +0\.25 +4 +0 of 1", text)


@pytest.mark.parametrize("config", ["{broken", "{}"])
def test_a_damaged_configuration_hides_no_episode(config: str, run: Path) -> None:
    (run / "config.json").write_text(config)
    result = call("view", run, "--no-html")
    assert result.exit_code == 0
    assert "melt/1" in result.stdout and "without a trajectory" not in result.stdout
    assert "config.json is not the configuration of a collection: " in result.stderr
    assert result.stderr.endswith("so how many episodes were asked for is not known.\n")
    assert json.loads(call("view", run, "--json").stdout)["summary"]["episodes_planned"] == 3


def test_view_limits_the_list(run: Path) -> None:
    text = call("view", run, "--limit", 1).output
    assert "boil/3" in text and "melt/1" not in text and "... and 2 more: --limit 0 lists all." in text
    assert "melt/1" in call("view", run, "--limit", 0).output


def test_view_as_json(run: Path) -> None:
    answer = json.loads(call("view", run, "--json").output)
    progress = Progress(planned=5)
    for one in read_trajectories(run):
        progress.add(one)
    assert answer["summary"] == progress.summary()
    assert [row["task_id"] for row in answer["trajectories"]] == ["boil/3", "melt/1", "boil/4"]
    assert answer["trajectories"][0]["trained_turns"] == 2
    one = json.loads(call("view", run, "--episode", 1, "--json").output)
    assert [Trajectory.model_validate(row).task_id for row in one] == ["melt/1"]


@pytest.mark.parametrize(
    ("outcome", "tasks"),
    [
        ("success", ["boil/3", "boil/4"]),
        ("unsuccessful", ["melt/1"]),
        ("recovered", ["boil/3"]),
        ("max_errors", ["melt/1"]),
        ("max_steps", []),
    ],
)
def test_view_filters_by_outcome(outcome: str, tasks: list[str], run: Path) -> None:
    answer = json.loads(call("view", run, "--outcome", outcome, "--json").output)
    assert [row["task_id"] for row in answer["trajectories"]] == tasks
    assert answer["summary"]["trajectories"] == answer["summary"]["episodes_planned"] == len(tasks)


def test_view_says_what_the_filter_leaves_out(run: Path) -> None:
    whole = json.loads(call("view", run, "--json").stdout)
    assert whole["left_out"] == 0 and "paper_filter" not in whole
    with TrajectoryStore(run / "trajectories.jsonl") as store:
        turns = trajectory().turns
        store.append(trajectory("boil/6", episode=3, turns=turns[:7] + turns[9:], unknown_verdicts=0))
    kept = json.loads(call("view", run, "--outcome", "kept", "--json").stdout)
    assert [row["task_id"] for row in kept["trajectories"]] == ["boil/6"]
    assert kept["left_out"] == 3
    assert kept["paper_filter"] == {"kept": 1, "dropped": {"score below 1": 1, "a step without verdict": 2}}
    text = call("view", run, "--outcome", "kept", "--plain", "--no-html").stdout
    assert "The paper's filter keeps 1 of 4: 2 dropped for a step without verdict; 1 dropped for score below 1." in text
    assert "3 of 4 are left out: they did not end in the outcome asked for." in text
    strict = json.loads(call("view", run, "--outcome", "kept", "--max-errors", 0, "--json").stdout)
    assert strict["trajectories"] == [] and strict["paper_filter"]["dropped"]["more than 0 errors"] == 2
    refused = call("view", run, "--max-errors", 0)
    assert refused.exit_code == 2 and "--max-errors says what the paper's filter keeps" in refused.stderr


def test_view_draws_a_trajectory_with_words_for_what_colour_says(run: Path) -> None:
    text = call("view", run, "--episode", 0, "--plain").output
    assert "\x1b" not in text
    assert "success · score 1.00 · boil/3" in text and "novice · taught by oracle · 4 steps" in text
    assert re.search(r"1 ✘ error +Action: jump a room +score 0\.00", text)
    assert re.search(r"2 ✔ corrected ┃ Thought: Wrong\. a room Look\. +score 0\.50", text)
    assert re.search(r"┃ Action: look +loss 1", text)
    assert re.search(r"3 agent +Action: boil +score 0\.50", text)
    assert re.search(r"\? unknown +loss 0", text)
    assert re.search(r"teacher +a room", text)
    assert re.search(r"4 agent +┃ Action: wait +score 1\.00", text)
    assert "more characters)" in text and "OK" not in text
    assert "OK" in call("view", run, "--task", "boil/3", "--full").output


def test_view_colours_errors_struck_and_trained_text_green(run: Path) -> None:
    text = process("view", run, "--episode", 0, FORCE_COLOR="1", TERM="xterm").stdout
    assert re.search("\x1b\\[9;31mAction: jump a room", text)
    assert re.search("\x1b\\[1;32mThought: Wrong", text)
    assert re.search("\x1b\\[32mAction: wait", text)
    assert re.search("\x1b\\[2mAction: boil", text)
    assert "\x1b" not in process("view", run, "--episode", 0, "--plain", FORCE_COLOR="1", TERM="xterm").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--task", "boil/33"], "Unknown task 'boil/33'. Did you mean 'boil/3'"),
        (["--episode", "7"], "Unknown episode 7. Known: 0, 1, 2."),
        (["--episode", "1", "--task", "boil/3"], "Episode 1 of"),
        (["--episode", "1", "--outcome", "success"], "did not end in that outcome"),
    ],
)
def test_view_says_what_the_run_does_not_hold(arguments: list[str], sentence: str, run: Path) -> None:
    result = call("view", run, *arguments)
    assert result.exit_code == 2 and sentence in result.stderr and result.stdout == ""


def test_view_picks_the_shortest_recovery(run: Path) -> None:
    assert "boil/4" in call("view", run, "--corrected").output
    assert "boil/3" in call("view", run, "--corrected", "--outcome", "recovered").output
    assert json.loads(call("view", run, "--corrected", "--task", "boil/3", "--json").output)[0]["task_id"] == "boil/3"
    none = call("view", run, "--corrected", "--outcome", "max_errors")
    assert none.exit_code == 0 and none.output == "No such trajectory.\n"


def test_view_of_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / "trajectories.jsonl").touch()
    assert call("view", tmp_path).output == "No trajectory yet.\n"
    assert json.loads(call("view", tmp_path, "--json").output)["trajectories"] == []
    assert "There is no task at all." in call("view", tmp_path, "--task", "boil/3").stderr


def test_view_passes_over_half_a_line_and_names_a_corrupt_one(run: Path) -> None:
    file = run / "trajectories.jsonl"
    with file.open("ab") as end:
        end.write(b'{"schema": "step-traj')
    assert call("view", run).exit_code == 0
    with file.open("ab") as end:
        end.write(b"\n")
    result = call("view", run)
    assert result.exit_code == 2 and re.match(r"Line 4 of .* is not a trajectory: ", result.stderr)


@pytest.mark.parametrize(
    "columns", [pytest.param("1", marks=pytest.mark.slow), "20", pytest.param("40", marks=pytest.mark.slow)]
)
def test_a_narrow_terminal_breaks_lines_and_loses_nothing(columns: str, run: Path) -> None:
    listed = process("view", run, "--no-html", COLUMNS=columns).stdout
    assert "boil/3" in listed and "melt/1" in listed and "too many errors" in listed
    assert re.search(r"boil +2 +100% █+ +1\.00", listed)
    assert "Boil" in process("view", run, "--episode", 0, COLUMNS=columns).stdout


def test_episodes_without_a_number_are_named_by_their_task(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "trajectories.jsonl") as store:
        store.append(trajectory())
    result = call("view", tmp_path, "--episode", 9)
    assert result.exit_code == 2 and result.stderr.endswith("have no number: name one with --task ID.\n")
