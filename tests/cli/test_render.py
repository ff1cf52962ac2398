"""Text on the terminal: nothing in a trajectory can steer it, and it keeps to the width."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from cli_calls import DANGEROUS, HOSTILE, STYLES, failure, process, trajectory
from rich.console import Console

import step_envs
from step_envs.cli.render import summary_of, summary_table, trajectory_panel, visible
from step_envs.collection.progress import Progress
from step_envs.store import TrajectoryStore
from step_envs.trajectory import Actor


@pytest.mark.slow
def test_text_of_a_trajectory_cannot_steer_the_terminal(tmp_path: Path) -> None:
    name = "boil/[red]\x1b[2J\u202e"
    hostile = trajectory(
        name, HOSTILE, episode=0, task_type="[b]\x1b[1A", agent=Actor(name="[i]\x07"), teacher=Actor(name="\u2066x")
    )
    with TrajectoryStore(tmp_path / "trajectories.jsonl") as store:
        store.append(hostile)
    for arguments in (["--episode", "0"], ["--episode", "0", "--full"], []):
        answer = process("view", tmp_path, *arguments, FORCE_COLOR="1", TERM="xterm")
        assert answer.returncode == 0
        assert not DANGEROUS.search(STYLES.sub("", answer.stdout))
        assert "boil/[red]␛[2J<U+202E>" in STYLES.sub("", answer.stdout)
        if arguments:
            assert "[red]markup[/red] [/]" in STYLES.sub("", answer.stdout)
            assert "␛]0;title␇" in answer.stdout and "<U+009B>5A␍over" in answer.stdout
    raw = process("view", tmp_path, "--json").stdout
    assert raw.isascii() and not DANGEROUS.search(raw)
    assert json.loads(raw)["trajectories"][0]["task_id"] == name


def test_visible_keeps_what_people_write() -> None:
    text = "שלום, café\tنوروز‌ها 👩‍🔬\nline"
    assert visible(text) == text
    assert visible("a\r\nb\rc\x7f\ud800\ufeff\u200b") == "a\nb␍c␡<U+D800><U+FEFF><U+200B>"
    assert visible("\U000e0041") == "<U+E0041>"


def test_a_huge_text_is_cut_unless_asked_for_whole() -> None:
    huge = trajectory(text="x" * 100_000)
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(trajectory_panel(huge))
    text = console.export_text()
    assert len(text) < 20_000 and "99," in text and "more characters)" in text
    console.print(trajectory_panel(huge, full=True))
    assert console.export_text().count("x") > 500_000
    console.file.close()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_panel_and_table_keep_to_the_width(width: int) -> None:
    long_id = "valid_unseen/pick_and_place_simple-Mug-None-Desk-308/trial_T20190909_032318_169393/again/and/again"
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(trajectory_panel(trajectory(long_id, text="word " * 50)))
    console.print(summary_table([trajectory(task_type="t" * 70), failure("x", task_type="short")]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width and "success · score 1.00" in lines[0]
    console.file.close()


def test_a_summary_table_takes_the_summary_of_a_run_or_trajectories() -> None:
    def drawn(what: Any) -> str:
        console = Console(width=90, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(summary_table(what))
        console.file.close()
        return console.export_text()

    ones = [trajectory(), failure("melt/1", task_type="melt")]
    progress = Progress(planned=2)
    for one in ones:
        progress.add(one)
    assert drawn(ones) == drawn(iter(ones)) == drawn(progress.summary())
    assert "50%" in drawn(ones)
    assert "0 errors" in drawn([])


def test_no_console_turns_words_between_colons_into_pictures():
    # ``train:dagger:0`` is the name of a step, and was printed as a picture of a dagger.
    made = [
        f"{path}: {line.strip()}"
        for path in sorted(Path(step_envs.__file__).parent.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bConsole\(", line) and "emoji=False" not in line
    ]
    assert not made, made


def test_a_panel_names_categories_and_steps_that_were_not_judged() -> None:
    def drawn(what: Any) -> str:
        console = Console(width=90, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(what)
        console.file.close()
        return console.export_text()

    turns = list(trajectory().turns)
    wrong = turns[3].verdict
    assert wrong is not None
    turns[3] = turns[3].model_copy(update={"verdict": wrong.model_copy(update={"category": "planning"})})
    turns[9] = turns[9].model_copy(update={"verdict": None, "loss": 0.0})
    one = trajectory(turns=tuple(turns))
    assert "planning" in drawn(trajectory_panel(one)) and "not judged" in drawn(trajectory_panel(one))
    assert "not judged" not in drawn(trajectory_panel(one.model_copy(update={"teacher": None})))
    assert "not judged" not in drawn(trajectory_panel(trajectory()))
    assert "1 step not judged" in drawn(summary_table([one]))
    assert "Errors by category: planning 1" in drawn(summary_table([one]))
    # The summary of an earlier version knows neither.
    old = summary_of([one])
    del old["unjudged_steps"], old["error_categories"]
    assert "1 error, 1 corrected" in drawn(summary_table(old))
