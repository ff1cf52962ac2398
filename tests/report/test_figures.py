"""The pictures of a report: what they show is what the runs hold, and they are large enough for a slide."""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_runs import HOSTILE, answer, episode, hostile_run, ordinary_run, reply, write_run
from typer.testing import CliRunner, Result

from step_envs.cli import app
from step_envs.figure_style import HEIGHT, MOST_INCHES, WIDTH, drawing
from step_envs.report.along_episodes import (
    GRID,
    REPLY_KINDS,
    kinds_of_replies,
    replies_by_step,
    time_use,
    value_curves,
)
from step_envs.report.episode_plots import FEW_EPISODES, pages, plot_replies, plot_time, plot_values
from step_envs.report.figures import draw, not_drawn
from step_envs.report.gathering import Curve, Run, episode_of
from step_envs.report.outcome_plots import (
    plot_differences,
    plot_errors_by_kind,
    plot_errors_by_step,
    plot_learning_curve,
    plot_success,
)
from step_envs.report.sections import all_tables
from step_envs.trajectory import Actor, Trajectory, Usage

matplotlib = pytest.importorskip("matplotlib", reason="the extra report is not installed")


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with drawing("A test", "report"):
        yield


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_of(trajectories: Iterable[Trajectory], name: str = "run") -> Run:
    return Run(name, Path(name), "0" * 64, ["e"], ["a"], ["oracle"], [episode_of(one) for one in trajectories])


def valued(trajectory: Trajectory) -> Trajectory:
    """Give the start and every reply a value: they rise evenly, to 1 where the episode succeeds and to 0.5 where not."""
    places = [2, *(at for at, turn in enumerate(trajectory.turns) if turn.role == "assistant" and at > 2)]
    end = 1.0 if trajectory.success else 0.5
    turns = list(trajectory.turns)
    for number, at in enumerate(places):
        turns[at] = turns[at].model_copy(update={"value": end * number / (len(places) - 1)})
    return trajectory.model_copy(update={"turns": tuple(turns), "valued_by": Actor(name="oracle")})


def timed(trajectory: Trajectory, *, teacher: bool = True) -> Trajectory:
    """Let every reply of the agent take 2 s, every verdict 1 s, and the episode 20 s."""
    turns = []
    for turn in trajectory.turns:
        changes: dict[str, Any] = {}
        if turn.kind in ("agent", "error"):
            changes["usage"] = Usage(requests=1, seconds=2.0)
        if turn.verdict is not None and teacher:
            changes["verdict"] = turn.verdict.model_copy(update={"usage": Usage(requests=1, seconds=1.0)})
        turns.append(turn.model_copy(update=changes))
    return trajectory.model_copy(update={"turns": tuple(turns), "usage": Usage(seconds=20.0)})


# Errors and corrections.


def test_the_kinds_of_replies_of_an_episode() -> None:
    wrong, unsure = episode_of(episode(0)), episode_of(episode(2))
    assert kinds_of_replies(wrong) == ["right", "error", "correction", "recovered"]
    assert kinds_of_replies(unsure) == ["right", "not judged", "right"]


def test_without_a_teacher_it_is_told_what_had_an_effect() -> None:
    said = (
        ("go", "A hall."),
        ("fly", "Nothing happens."),
        ("fly", "Nothing happens."),
        ("go on", "A room."),
        ("eat", "Ok."),
    )
    turns = (
        *episode(1).turns[:3],
        *(turn for action, seen in said for turn in (reply("I do it.", action), answer(seen))),
    )
    found = episode_of(episode(1, turns=turns, teacher=None, errors=0, unknown_verdicts=0))
    assert kinds_of_replies(found) == ["not judged", "no effect", "no effect", "effect again", "not judged"]


def test_shares_at_each_step_add_up_and_count_the_episodes() -> None:
    steps = replies_by_step(run_of(ordinary_run(24)))
    assert [step.episodes for step in steps] == [24, 24, 12, 8, 1]
    assert all(sum(step.shares.values()) == pytest.approx(1) for step in steps)
    assert steps[1].shares["error"] == pytest.approx(8 / 24)
    assert steps[2].shares["correction"] == pytest.approx(8 / 12)
    late = replies_by_step(run_of(ordinary_run(24)), until=2)
    assert (late[-1].step, late[-1].episodes, late[-1].replies) == ("> 2", 12, 12 + 8 + 1)


def test_the_picture_of_replies_stacks_these_shares_and_pales_where_episodes_are_few() -> None:
    run = run_of(ordinary_run(24), "trained")
    plot = plot_replies([run])
    stack, counts = plot.figure.axes
    bars = {bars.get_label(): bars for bars in stack.containers}
    assert [bar.get_height() for bar in bars["wrong"]][:2] == [0.0, pytest.approx(100 * 8 / 24)]
    tops = [sum(bar.get_height() for bar in column) for column in zip(*stack.containers, strict=True)]
    assert tops == [pytest.approx(100)] * 5
    assert [bar.get_alpha() < 1 for bar in bars["right"]] == [n < FEW_EPISODES for n in (24, 24, 12, 8, 1)]
    assert [bar.get_height() for bar in counts.patches] == [24, 24, 12, 8, 1]
    assert "24 episodes" in stack.get_title(loc="left")
    (legend,) = plot.figure.legends
    assert {text.get_text() for text in legend.get_texts()} <= {*REPLY_KINDS.values(), "pale: fewer than 10 episodes"}
    assert (
        plot.alt
        == "trained: 8 of 24 episodes have an error; in 8 of them the agent takes a right step of its own again."
    )


def test_a_picture_shows_two_runs_and_more_runs_make_more_pictures(tmp_path: Path) -> None:
    runs = [run_of(ordinary_run(3), f"run-{number}") for number in range(5)]
    assert [len(page) for page in pages(runs)] == [2, 2, 1]
    names = [picture.name for picture in draw(runs, [], tmp_path)]
    assert [name for name in names if name.startswith("replies")] == [
        "replies-by-step",
        "replies-by-step-2",
        "replies-by-step-3",
    ]
    assert names.count("time") == names.count("values") == 0


# Values.


def test_values_along_episodes_by_outcome() -> None:
    success, other = value_curves(run_of(map(valued, ordinary_run(24))))
    assert (success.outcome, success.episodes, other.outcome, other.episodes) == ("success", 18, "no success", 6)
    assert success.mean == pytest.approx([percent / 100 for percent in GRID])
    assert other.mean[-1] == pytest.approx(0.5) and success.low == pytest.approx(success.high)
    (plot,) = [plot_values([run_of(map(valued, ordinary_run(24)))])]
    assert plot is not None
    first, second = plot.figure.axes[0].lines
    assert list(first.get_ydata()) == pytest.approx(success.mean)
    assert list(second.get_ydata()) == pytest.approx(other.mean)
    assert "success n = 18, no success n = 6" in plot.figure.axes[0].get_title(loc="left")
    assert "with success (n = 18) the mean value goes from 0.00 by way of 0.50 to 1.00" in plot.alt


def test_states_without_a_value_are_bridged_and_episodes_with_one_value_left_out() -> None:
    turns = list(valued(episode(1)).turns)
    turns[2] = turns[2].model_copy(update={"value": None})
    start_unknown = valued(episode(1)).model_copy(update={"turns": tuple(turns)})
    (curve,) = value_curves(run_of([start_unknown]))
    assert curve.mean[0] == curve.mean[len(GRID) // 2] == pytest.approx(0.25)
    turns[3] = turns[3].model_copy(update={"value": None})
    assert value_curves(run_of([start_unknown.model_copy(update={"turns": tuple(turns)})])) == []


def test_a_run_without_values_is_named_with_the_command_that_writes_them(tmp_path: Path) -> None:
    plain, worthy = run_of(ordinary_run(3), "plain"), run_of(map(valued, ordinary_run(3)), "worthy")
    assert plot_values([plain]) is None
    said = not_drawn([plain, worthy])
    assert said[0].startswith("No values along the episodes of plain: `step-envs annotate RUN --out RUN-values` writes")
    result = call("report", write_run(tmp_path / "plain", ordinary_run(3)), "--out", tmp_path / "out")
    assert result.exit_code == 0 and "No values along the episodes of plain" in result.output
    assert "No values along the episodes of plain" in (tmp_path / "out" / "report.md").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["not_drawn"][0] == said[0].replace("worthy", "")


# Time.


def test_time_is_divided_by_what_is_recorded() -> None:
    run = run_of(map(timed, ordinary_run(3)), "asked")
    use = time_use(run)
    assert use is not None
    # Two, three and four replies of the agent; all but the corrections have verdicts.
    replies = sum(turn.kind in ("agent", "error") for one in ordinary_run(3) for turn in one.turns)
    verdicts = sum(turn.verdict is not None for one in ordinary_run(3) for turn in one.turns)
    assert (use.total, use.agent, use.teacher) == (20.0, 2.0 * replies / 3, 1.0 * verdicts / 3)
    assert use.rest == pytest.approx(20.0 - use.agent - use.teacher)  # type: ignore[operator]
    assert [(one.agent, one.teacher) for one in use.by_step][:2] == [(2.0, 1.0), (2.0, 1.0)]
    plot = plot_time([run])
    assert plot is not None
    totals, by_step = plot.figure.axes
    assert [bar.get_width() for bar in totals.patches] == pytest.approx([use.agent, use.teacher, use.rest])
    assert all("second" in axes.get_xlabel() + axes.get_ylabel() for axes in (totals, by_step))
    assert plot.alt.startswith("asked: an episode takes 20 s (agent ")


def test_what_has_no_record_of_time_is_said() -> None:
    alone = time_use(run_of(timed(one, teacher=False) for one in ordinary_run(3)))
    assert alone is not None and alone.teacher is None
    assert alone.not_recorded() == ["the teacher's time (a script, or answers from the cache)"]
    scripts = run_of(ordinary_run(3), "scripts")
    assert plot_time([scripts]) is None
    assert any(one.startswith("No picture of the time of scripts: neither") for one in not_drawn([scripts]))
    assert time_use(run_of(one.model_copy(update={"usage": Usage()}) for one in ordinary_run(3))) is None


def test_answers_from_the_cache_do_not_count_as_quick_ones() -> None:
    one = timed(episode(0))
    turns = list(one.turns)
    turns[3] = turns[3].model_copy(update={"usage": Usage(cached=1)})
    use = time_use(run_of([one.model_copy(update={"turns": tuple(turns)})]))
    assert use is not None
    assert (use.agent_timed, use.agent_replies, use.by_step[0].agent) == (2, 3, None)
    assert "the time of 1 of the agent's 3 replies" in use.not_recorded()


def test_the_tables_stand_beside_the_pictures() -> None:
    run = run_of(timed(valued(one)) for one in ordinary_run(24))
    tables = {table.name: table for table in all_tables([run])}
    assert {"replies-by-step", "values", "time"} <= set(tables)
    assert tables["values"].rows[0][2:4] == ("success", 18)
    assert tables["replies-by-step"].to_json()["rows"][1]["Wrong"] == pytest.approx(8 / 24)
    assert tables["time"].to_json()["rows"][0]["Seconds an episode"] == 20.0


# Outcomes.


def test_success_by_task_type_has_its_interval_and_says_n() -> None:
    before, after = run_of(ordinary_run(24), "before"), run_of(ordinary_run(24, better=True), "after")
    plot = plot_success([before, after])
    (axes,) = plot.figure.axes
    assert [bars.get_label() for bars in axes.containers] == ["before", "after"]
    assert axes.containers[0][0].get_xdata()[0] == 75.0
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[0] == "all (n = 24)" and names[1] == "boil (n = 8)"
    assert "%" in axes.get_xlabel()


def test_a_picture_of_very_many_task_types_keeps_those_with_the_most_tasks() -> None:
    many = run_of(episode(at, task_type=f"type-{at:04}", split=f"split-{at % 3}") for at in range(600))
    plot = plot_success([many])
    assert plot.figure.get_size_inches()[1] <= MOST_INCHES
    (axes,) = plot.figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) < 200 and sum(": all" in name for name in names) == 3
    assert "of 603" in axes.get_title(loc="left")


def test_the_other_pictures_show_what_was_measured() -> None:
    before, after = run_of(ordinary_run(24), "before"), run_of(ordinary_run(24, better=True), "after")
    differences, kinds, steps = (
        plot_differences([before, after]),
        plot_errors_by_kind([before]),
        plot_errors_by_step([before, after]),
    )
    assert differences is not None and kinds is not None and steps is not None
    assert differences.figure.axes[0].get_yticklabels()[0].get_text() == "after minus before (n = 24)"
    assert list(differences.figure.axes[0].containers[0][0].get_xdata()) == [12.5]
    assert [bar.get_width() for bar in kinds.figure.axes[0].patches] == [pytest.approx(8 / 24)]
    # The better run has no error and so no line.
    (line,) = steps.figure.axes[0].lines
    assert list(line.get_ydata()) == [0.0, 40.0]
    curve = plot_learning_curve(Curve("t", {"loss": [(1, 2.0), (9, 1.0)], "lr": [(1, 0.1)]}))
    assert curve is not None and [len(line.get_xdata()) for line in curve.figure.axes[0].lines] == [2]
    assert plot_learning_curve(Curve("t", {"lr": [(1, 0.1)]})) is None


# Files.


def png_size(file: Path) -> tuple[int, int]:
    return struct.unpack(">II", file.read_bytes()[16:24])  # type: ignore[return-value]


@pytest.mark.slow
def test_each_picture_is_there_twice_as_wide_as_a_slide_and_the_same_again(tmp_path: Path) -> None:
    runs = [run_of((timed(valued(one)) for one in ordinary_run(24)), "first"), run_of(ordinary_run(24), "second")]
    curve = Curve("training", {"loss": [(1, 2.0), (9, 1.0)]})
    pictures = draw(runs, [curve], tmp_path / "one")
    assert {one.name for one in pictures} == {
        *("success", "differences", "replies-by-step", "values", "time", "errors-by-step", "errors-by-kind"),
        "learning-curve-1",
    }
    draw(runs, [curve], tmp_path / "two")
    for picture in pictures:
        assert picture.alt.endswith(".") and picture.title
        for ending in ("png", "svg"):
            first, second = (tmp_path / folder / f"{picture.name}.{ending}" for folder in ("one", "two"))
            assert first.read_bytes() == second.read_bytes()
        width, height = png_size(tmp_path / "one" / f"{picture.name}.png")
        assert width == 1920 and height >= 1080
        assert "Verdana" in (tmp_path / "one" / f"{picture.name}.svg").read_text()
    assert pytest.approx(HEIGHT * 16) == WIDTH * 9


@pytest.mark.slow
def test_letters_lie_within_the_picture_and_cover_no_others(tmp_path: Path) -> None:
    """With names as long as a picture takes them."""
    runs = [
        run_of(
            (timed(valued(one)) for one in ordinary_run(24)), "a run with a name that is far too long for any picture"
        ),
        run_of(
            (timed(valued(one)) for one in ordinary_run(24)), "another run with a name that is far too long as well"
        ),
    ]
    plots = [plot_success(runs), plot_differences(runs), plot_replies(runs), plot_values(runs), plot_time(runs)]
    for plot in [*plots, plot_errors_by_kind(runs), plot_errors_by_step(runs)]:
        assert plot is not None
        figure = plot.figure
        figure.savefig(tmp_path / "x.png")
        whole = figure.bbox
        boxes = [
            (text.get_text(), text.get_window_extent())
            for axes in figure.axes
            for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title)
            if text.get_text()
        ]
        boxes += [
            (tick.label1.get_text(), tick.label1.get_window_extent())
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for tick in axis.get_major_ticks()
            if tick.label1.get_visible()
            and min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        ]
        boxes += [(text.get_text(), text.get_window_extent()) for one in figure.legends for text in one.get_texts()]
        boxes.append(("title", figure._suptitle.get_window_extent()))
        for text, box in boxes:
            assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, text
            assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1, text
        for number, (one, box) in enumerate(boxes):
            for other, beside in boxes[number + 1 :]:
                apart = (
                    box.x1 <= beside.x0 + 1
                    or beside.x1 <= box.x0 + 1
                    or box.y1 <= beside.y0 + 1
                    or beside.y1 <= box.y0 + 1
                )
                assert apart or not (box.width and beside.width), f"{one!r} lies on {other!r}"


def test_a_dark_background(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(3))
    assert call("report", run, "--out", tmp_path / "dark", "--background", "dark").exit_code == 0
    assert "#1e2227" in (tmp_path / "dark" / "figures" / "success.svg").read_text()
    wrong = call("report", run, "--out", tmp_path / "blue", "--background", "blue")
    assert wrong.exit_code == 2 and "background must be 'light' or 'dark', got 'blue'." in wrong.stderr
    assert not (tmp_path / "blue").exists()


def test_hostile_names_and_values_are_drawn(tmp_path: Path) -> None:
    runs = [run_of((timed(valued(one)) for one in hostile_run()), name) for name in HOSTILE[:3]]
    for picture in draw(runs, [], tmp_path):
        assert "<script" not in (tmp_path / f"{picture.name}.svg").read_text()
