"""``step-envs report``: right figures, honest sentences, names that stay names, the same bytes again."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sample_runs import HOSTILE, answer, episode, hostile_run, ordinary_run, reply, write_run
from typer.testing import CliRunner, Result

from step_envs.cli import app
from step_envs.errors import DataError
from step_envs.report import measure
from step_envs.report.gathering import Run, episode_of, gather, read_curve, read_teacher_eval
from step_envs.report.sections import all_tables, findings
from step_envs.report.tables import Column, Table, latex, markdown, written
from step_envs.statistics import Interval
from step_envs.trajectory import Actor, ErrorCategory, Trajectory, Verdict

pytest.importorskip("matplotlib", reason="the extra report is not installed")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_of(trajectories: Iterable[Trajectory], name: str = "run", teacher: str = "oracle") -> Run:
    return Run(name, Path(name), "0" * 64, ["e"], ["a"], [teacher], [episode_of(one) for one in trajectories])


def flawed(
    action: str | None,
    seen: str,
    *,
    before: str = "look",
    undo: bool = False,
    category: ErrorCategory | None = None,
    **changes: Any,
) -> Trajectory:
    """Make an episode whose second reply is wrong."""
    verdict = Verdict(status="error", error="Wrong.", corrected_action="take pot", undo=undo, category=category)
    turns = (
        *episode(1).turns[:3],
        reply("First.", before, verdict=Verdict(status="ok")),
        answer("A kitchen."),
        reply("Second.", action or "", "error", 0.0, verdict=verdict).model_copy(update={"action": action}),
        answer(seen),
    )
    return episode(1, turns=turns, errors=1, unknown_verdicts=0, **changes)


@pytest.mark.parametrize(
    ("trajectory", "kind"),
    [
        (flawed(None, "I need an action."), "no action"),
        (flawed("eat pot", "You die.", undo=True), "fatal"),
        (flawed("eat pot", "You die.", stop_reason="failure"), "fatal"),
        (flawed("look", "A kitchen."), "repeated"),
        (flawed("fly", "Nothing happens."), "no effect"),
        (flawed("fly", "No known action matches that input."), "no effect"),
        (flawed("click[x]", "A kitchen."), "no effect"),
        (flawed("go out", "A garden."), "wrong step"),
    ],
)
def test_kinds_of_errors(trajectory: Trajectory, kind: str) -> None:
    (found,) = measure.errors_by_kind(run_of([trajectory]))
    assert (found.kind, found.number) == (kind, 1)


def test_errors_by_category() -> None:
    given: tuple[ErrorCategory | None, ...] = ("action", "memory", None, "action")
    run = run_of([flawed("go out", "A garden.", category=one) for one in given])
    found = {one.kind: (one.number, one.share.value) for one in measure.errors_by_category(run)}
    assert found == {"memory": (1, 0.25), "action": (2, 0.5), "none given": (1, 0.25)}
    (table,) = [one for one in all_tables([run]) if one.title == "Errors by category"]
    assert [row[1] for row in table.rows] == ["memory", "action", "none given"]
    # A teacher that gives none gets no table that says so.
    assert measure.errors_by_category(run_of([flawed("go out", "A garden.")])) == []


def test_doing_the_same_again_is_no_stumble_in_itself() -> None:
    turns = (
        *episode(1).turns[:3],
        *(turn for _ in range(2) for turn in (reply("I wait.", "wait"), answer("Time passes."))),
    )
    assert not episode_of(episode(1, turns=turns, errors=0, unknown_verdicts=0)).stumbled


def test_figures_of_a_run() -> None:
    run = run_of(ordinary_run(24))
    lines = {name: one for _, name, one in measure.by_split_and_type(run)}
    assert list(lines) == ["all", "boil", "grow", "melt"]
    assert lines["all"].success == measure.wilson(18, 24)
    assert lines["all"].reward.value == pytest.approx((18 + 6 * 0.5) / 24)
    recovery = measure.recovery(run)
    assert (recovery.stumbled, recovery.recovered.value, recovery.smooth) == (8, 6 / 8, 16)
    assert recovery.corrected.value == 1.0
    said = measure.verdicts(run)
    assert said.judged == 24 * 2 + 8 + 5 - 18 and said.unknown.value == 5 / said.judged
    steps = measure.errors_by_step(run)
    assert [(step, replies) for step, replies, _ in steps] == [("1", 24), ("2", 20), ("3", 4), ("4", 7), ("5", 1)]
    assert steps[1][2] == measure.wilson(8, 20)


def test_intervals_take_the_episodes_of_a_task_together() -> None:
    assert measure.rate([True] * 10, ["one"] * 10) == measure.wilson(1, 1)
    assert measure.rate([True, False] * 5, ["one"] * 10) == Interval(0.5, None, None)
    each_once = measure.rate([True, False] * 20, range(40))
    twice = measure.rate([True, True, False, False] * 10, [at // 2 for at in range(40)])
    assert twice.high - twice.low > each_once.high - each_once.low  # type: ignore[operator]
    assert measure.mean([1.0, 1.0], ["a", "b"]) == Interval(1.0, None, None)


def test_a_difference_within_its_interval_is_none() -> None:
    before, after = run_of(ordinary_run(24), "before"), run_of(ordinary_run(24, better=True), "after")
    found = measure.difference(before, after)
    assert found is not None
    assert (found.pairs, found.only_first, found.only_second, found.success_p) == (24, 0, 3, 0.25)
    assert found.success.value == pytest.approx(3 / 24)
    assert found.verdict() == "no difference shown"
    said = findings([before, after])
    assert said[0].startswith("before: 75.0 % [55.1, 88.0] of 24 episodes succeed, mean reward 0.88 [")
    assert said[0].endswith("Small: 24 tasks only.")
    assert said[2].startswith(
        "after against before, 24 pairs on the same tasks: no difference in success is shown (+12.5 ["
    )
    many = measure.difference(run_of(ordinary_run(240)), run_of(ordinary_run(240, better=True)))
    assert many is not None and many.verdict() == "second better"


def test_runs_without_a_task_in_common() -> None:
    one, other = run_of([episode(1)], "one"), run_of([episode(2)], "other")
    assert measure.difference(one, other) is None
    assert findings([one, other])[2] == "one and other have no task in common: they cannot be compared."


def test_verdicts_beside_the_oracles() -> None:
    oracle = run_of(ordinary_run(6), "oracle's")
    wrong = Verdict(status="error", error="No.", corrected_action="x")

    def judged_otherwise(one: Trajectory) -> Trajectory:
        # Calls every first step wrong, and has no answer to every error; what follows is not counted.
        turns = list(one.turns)
        turns[3] = turns[3].model_copy(update={"verdict": wrong})
        if one.errors:
            turns[5] = turns[5].model_copy(update={"verdict": Verdict(status="unknown"), "kind": "agent"})
        return one.model_copy(update={"turns": tuple(turns), "teacher": Actor(name="openai", model="m")})

    model = run_of(map(judged_otherwise, ordinary_run(6)), "model's", "openai (m)")
    found = measure.agreement(oracle, model)
    assert found is not None
    # Six first steps, two errors, one that the oracle had no verdict on left out, the last steps of the two that failed:
    # who completes a task is right by the engine's word.
    assert found.steps == 10
    assert found.agreement.value == pytest.approx(2 / 10)
    assert (found.precision.value, found.recall.value) == (0.0, 0.0)
    assert [table.name for table in all_tables([oracle, model])].count("agreement") == 1


# Writing.


@pytest.mark.slow
def test_everything_is_written_and_again_the_same(tmp_path: Path) -> None:
    before = write_run(tmp_path / "before", ordinary_run(24))
    after = write_run(tmp_path / "after", ordinary_run(24, better=True))
    (tmp_path / "train" / "checkpoint-9").mkdir(parents=True)
    state = {"log_history": [{"step": 1, "loss": 2.0}, {"step": 9, "loss": 1.0}, {"step": 9, "eval_loss": 1.5}]}
    (tmp_path / "train" / "checkpoint-9" / "trainer_state.json").write_text(json.dumps(state))
    outs = []
    for name in ("one", "two"):
        result = call("report", before, after, "--out", tmp_path / name, "--curve", tmp_path / "train")
        assert result.exit_code == 0, result.output
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        outs.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    pictures = ("differences", "errors-by-kind", "errors-by-step", "learning-curve-1", "replies-by-step", "success")
    assert sorted(outs[0]) == sorted(
        [f"figures/{name}.{ending}" for name in pictures for ending in ("png", "svg")]
        + ["report.json", "report.md", "report.tex"]
    )
    assert outs[0] == outs[1]
    found = json.loads(outs[0]["report.json"])
    assert found["curves"]["train"]["loss"] == [[1, 2.0], [9, 1.0]]
    row = found["tables"]["outcomes"]["rows"][0]
    assert (row["Run"], row["Task type"], row["Episodes"], row["Success"][0]) == ("before", "all", 24, 0.75)
    text = outs[0]["report.md"].decode()
    assert "| before | train | all | 24 | 24 | 75.0 % [55.1, 88.0] | " in text
    alt = r"before: 75.0 % \[55.1, 88.0\] of 24 episodes succeed. after: 87.5 % "
    assert f"![Success by task type, with 95 % intervals. {alt}" in text and "](figures/success.svg)" in text
    assert all(f"(figures/{name}.svg)" in text and f"[For a slide](figures/{name}.png)" in text for name in pictures)
    assert all(f"{{figures/{name}.png}}" in outs[0]["report.tex"].decode() for name in pictures)
    assert set(found["figures_in_words"]) == set(pictures) and all(found["figures_in_words"].values())


def test_the_command_that_made_it_is_at_the_foot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/step-envs", "report", "a run", "--out", "x"])
    run = write_run(tmp_path / "a run", ordinary_run(3))
    assert call("report", run, "--out", tmp_path / "x").exit_code == 0
    assert (tmp_path / "x" / "report.md").read_text().endswith("by:\n\n```sh\nstep-envs report 'a run' --out x\n```\n")
    assert json.loads((tmp_path / "x" / "report.json").read_text())["command"] == "step-envs report 'a run' --out x"


def test_the_command_is_written_as_it_can_be_typed_and_steers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "two  spaces\nand a line \x1b[31m\u202e" + os.fsdecode(b"\xff")
    monkeypatch.setattr("sys.argv", ["step-envs", "report", name])
    assert call("report", write_run(tmp_path / "run", ordinary_run(3)), "--out", tmp_path / "x").exit_code == 0
    said = "'two  spaces{}and a line ␛[31m<U+202E><U+DCFF>'"
    text = (tmp_path / "x" / "report.md").read_text(encoding="utf-8")
    assert text.endswith(f"```sh\nstep-envs report {said.format(chr(10))}\n```\n")
    first = (tmp_path / "x" / "report.tex").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("% Made with") and first.endswith(f"by: step-envs report {said.format(' ')}")


def test_figures_are_valid_whatever_is_in_a_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", (episode(at, task_type=f"\ufffe{at}\uffff") for at in range(4)))
    assert call("report", run).exit_code == 0
    for figure in (run / "report" / "figures").glob("*.svg"):
        ElementTree.parse(figure)


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", hostile_run())
    assert call("report", run).exit_code == 0
    text = (run / "report" / "report.md").read_text()
    assert "\\<script>" in text and "<script>" not in text.replace("\\<script>", "")
    assert not set(text) & set("\u202e\u200b\x1b\x00\u2028")
    rows = [line for line in text.splitlines() if line.startswith("| run | ")]
    assert rows and all(line.count(" | ") >= 3 for line in rows)
    for figure in (run / "report" / "figures").glob("*.svg"):
        assert "<script" not in figure.read_text()


@pytest.mark.parametrize(
    ("text", "in_markdown", "in_latex"),
    [
        ("a|b", r"a\|b", r"a\textbar{}b"),
        ("50 % of $x_1 & #2", r"50 % of \$x_1 & #2", r"50 \% of \$x\_1 \& \#2"),
        (r"\input{x}", r"\\input{x}", r"\textbackslash{}input\{x\}"),
        ("[a](http://b)", r"\[a\](http://b)", "{}[a](http://b)"),
        ("<img>", r"\<img>", r"\textless{}img\textgreater{}"),
        ("two\nlines\x1b", "two lines␛", "two lines␛"),
        ("_a_ ~b~ &lt;", r"\_a\_ \~b\~ \&lt;", r"\_a\_ \textasciitilde{}b\textasciitilde{} \&lt;"),
        ("valid_unseen: $0.12 [1.0, 2.0]", "valid_unseen: $0.12 [1.0, 2.0]", r"valid\_unseen: \$0.12 [1.0, 2.0]"),
        ("# a", r"\# a", r"\# a"),
        ("> a", r"\> a", r"\textgreater{} a"),
        ("- a", r"\- a", "- a"),
        ("1. a", r"1\. a", "1. a"),
        ("[x] a", r"\[x] a", "{}[x] a"),
        ("[a]", r"\[a]", "{}[a]"),  # with a colon behind it, the definition of a link
        ("-", "-", "-"),
    ],
)
def test_escapes(text: str, in_markdown: str, in_latex: str) -> None:
    assert (markdown(text), latex(text)) == (in_markdown, in_latex)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_cells_keep_a_row_a_row(text: str) -> None:
    table = Table("t", "T", [Column("a"), Column("b")], [(text, text)])
    assert table.to_markdown().count("\n") == 5
    assert sum(line.endswith(r" \\") for line in table.to_latex().splitlines()) == 2


def test_long_tables_break_over_pages_and_broad_ones_shrink() -> None:
    rows = [("x", "y")] * 50
    assert r"\begin{longtable}{ll}" in Table("t", "T", [Column("a"), Column("b")], rows).to_latex()
    broad = Table("t", "T", [Column(str(n)) for n in range(9)], [tuple("123456789")])
    assert r"\resizebox{\linewidth}{!}" in broad.to_latex()


@pytest.mark.parametrize(
    ("cell", "form", "text"),
    [
        (Interval(0.5, 0.25, 0.75), "share", "50.0 % [25.0, 75.0]"),
        (Interval(-0.1, -0.2, 0.05), "difference", "-10.0 [-20.0, +5.0]"),
        (Interval(-0.1, -0.2, 0.05), "change", "-0.10 [-0.20, +0.05]"),
        (Interval(0.5, None, None), "score", "0.50"),
        (Interval(None, None, None), "share", "-"),
        (None, "dollars", "-"),
        (0.0001, "p", "< 0.001"),
        (12345, "count", "12,345"),
    ],
)
def test_cells(cell: Any, form: Any, text: str) -> None:
    assert written(cell, form) == text


# What is wrong with what was given.


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    empty = write_run(tmp_path / "empty", [])
    (empty / "trajectories.jsonl").write_bytes(b"")
    run = write_run(tmp_path / "run", ordinary_run(2))
    (tmp_path / "x.json").write_text("[1]")
    for arguments, sentence in (
        (["report", empty], "holds no trajectory yet: there is nothing to report."),
        (["report", run, run], "is named twice: name each run once."),
        (["report", run, "--curve", tmp_path], "There is no trainer_state.json in"),
        (
            ["report", run, "--teacher-eval", tmp_path / "x.json"],
            "is not the output of `step-envs teacher-eval --json`.",
        ),
        (["report", tmp_path / "nowhere"], "Cannot read"),
    ):
        result = call(*arguments)
        assert result.exit_code == 2 and sentence in result.stderr


@pytest.mark.parametrize("summary", [b"{broken", b"\xff", b"[]", b'{"paid": {"prompt_tokens": -1}}'])
def test_a_damaged_summary_is_named(summary: bytes, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(2))
    (run / "summary.json").write_bytes(summary)
    result = call("report", run)
    assert result.exit_code == 2
    assert f"{run / 'summary.json'} is not the summary of a run: remove it, or collect with --resume" in result.stderr


def test_too_many_runs_are_refused_at_once(tmp_path: Path) -> None:
    result = call("report", *(tmp_path / str(number) for number in range(31)))
    assert result.exit_code == 2
    assert "31 runs are too many for one report, which compares each two: name at most 30." in result.stderr


def test_a_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    result = call("report", write_run(tmp_path / "run", ordinary_run(2)))
    assert result.exit_code == 2
    assert 'run `pip install "step-envs[report]"`.' in result.stderr


def test_a_teacher_eval_is_repeated(tmp_path: Path) -> None:
    share = [0.5, 0.4, 0.6]
    one = {"teacher": "openai:model=m", "env": "E", "steps": 9, "precision": share, "recall": share, "f1": share}
    file = tmp_path / "teachers.json"
    file.write_text(json.dumps([one | {"back_on_track": share, "unknown": [None, None, None]}]))
    tables = all_tables([run_of(ordinary_run(3))], read_teacher_eval(file))
    text = next(table for table in tables if table.name == "teachers").to_markdown()
    assert "| openai:model=m | E | 9 | 50.0 % [40.0, 60.0] |" in text and "| - |" in text


def measured(teacher: str, precision: float, env: str = "STeP-SciWorld-v0") -> dict[str, Any]:
    share = [precision, 0.1, 0.9]
    figures = dict.fromkeys(("precision", "recall", "f1", "back_on_track", "unknown"), share)
    return {"teacher": teacher, "env": env, "steps": 40} | figures


def test_teachers_stand_beside_what_was_trained_on_their_data(tmp_path: Path) -> None:
    weak = "noisy:miss=0.5,url=http://x/v1"
    paths = [write_run(tmp_path / name, ordinary_run(4)) for name in ("a", "b=c")]
    (env,) = gather(paths)[0].envs
    quality = tmp_path / "quality.json"
    quality.write_text(
        json.dumps([measured("oracle", 1.0, env), measured(weak, 0.5, env), measured("noisy", 0.2, env)])
    )
    options = ["--teacher-eval", quality, "--taught", f"oracle={paths[0]}", "--taught", f"{weak}={paths[1]}"]
    result = call("report", *paths, "--out", tmp_path / "report", *options)
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "report" / "report.json").read_text())["tables"]["teacher-sensitivity"]
    first, second = table["rows"]
    success = measure.outcome(gather(paths)[0].episodes).success.value
    assert [row["Teacher"] for row in (first, second)] == ["oracle", weak]
    assert [row["Precision"][0] for row in (first, second)] == [1.0, 0.5]
    assert first["Success"][0] == second["Success"][0] == success
    assert first["Against the first, points"] is None and second["Against the first, points"][0] == 0.0
    assert weak in (tmp_path / "report" / "report.md").read_text()


def test_a_teacher_or_run_that_was_not_measured_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", ordinary_run(2))
    quality = tmp_path / "quality.json"
    quality.write_text(json.dumps([measured("oracle", 1.0, "Other-v0")]))
    for taught, sentence in (
        (f"step={path}", f"--taught 'step={path}' names no teacher that was measured (--teacher-eval): oracle."),
        (f"oracle={tmp_path / 'b'}", "which is not among the runs of the report."),
        (f"oracle={path}", "oracle was not measured in "),
    ):
        result = call("report", path, "--out", tmp_path / "r", "--teacher-eval", quality, "--taught", taught)
        assert result.exit_code == 2
        assert sentence in result.stderr
    result = call("report", path, "--out", tmp_path / "r", "--taught", f"oracle={path}")
    assert "names no teacher that was measured (--teacher-eval): none." in result.stderr


def test_a_curve_of_a_resumed_training_has_each_step_once(tmp_path: Path) -> None:
    log = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.5}, {"step": 2, "loss": 2.0}, {"step": 2, "epoch": 1.0}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    assert read_curve(tmp_path).points == {"loss": [(1, 3.0), (2, 2.0)], "epoch": [(2, 1.0)]}
    (tmp_path / "trainer_state.json").write_text('{"log_history": 3}')
    with pytest.raises(DataError, match="is not the state of a trainer: it has no readable log_history"):
        read_curve(tmp_path)


def test_a_training_that_diverged_leaves_a_report_that_is_json(tmp_path: Path) -> None:
    log = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": float("nan"), "grad_norm": float("inf")}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    assert read_curve(tmp_path).points == {"loss": [(1, 3.0)]}


def test_gather_reads_what_was_paid(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(4))
    (run / "summary.json").write_text(json.dumps({"paid": {"prompt_tokens": 5, "cost": 2.0}}))
    (found,) = gather([run])
    assert found.paid is not None and found.paid.cost == 2.0
    # Not all of the run's trajectories: what all of it cost says nothing of them.
    (run / "some.jsonl").write_bytes((run / "trajectories.jsonl").read_bytes())
    assert gather([run / "some.jsonl"])[0].paid is None
    table = next(table for table in all_tables([found]) if table.name == "costs")
    assert table.to_json()["rows"][0]["Cost"] == 2.0
    assert table.to_json()["rows"][0]["Cost of a success"] == pytest.approx(2 / 3)
