"""The plots of an experiment and of an audit: each seed is a point, nothing hides, and the files are the same again."""

import struct
from types import SimpleNamespace
from typing import Any

import pytest

for package in ("matplotlib", "scipy"):
    pytest.importorskip(package, reason="the extra train is not installed")

from step_envs.figure_style import drawing
from step_envs.training.audit_plot import draw_audit
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.plots import draw, plot_differences, plot_errors, plot_loss, plot_success
from step_envs.training.experiments.report_text import _picture_lines
from step_envs.training.experiments.seed_statistics import seed_interval
from step_envs.training.turn_kinds import KINDS

pytestmark = pytest.mark.train

SEEDS = 4


def arm(title: str, successes: list[float]) -> dict[str, Any]:
    return {
        "title": title,
        "success": list(seed_interval(successes)),
        "seeds": {str(seed): {"success": [share, None, None]} for seed, share in enumerate(successes)},
        "invalid": 0.3,
        "unknown_names": 0.1,
        "repeated": 0.12,
        "idle": 0.2,
        "lost": None,
    }


def spread(middle: float, seeds: int = SEEDS) -> list[float]:
    return [middle + 0.02 * seed for seed in range(seeds)]


def figures(*arms: str, seeds: int = SEEDS) -> dict[str, Any]:
    names = arms or tuple(ARM_DESIGNS)
    verdicts = ("a difference", "no difference that matters", "undecided")
    comparisons = [
        {
            "first": name,
            "verdict": verdicts[at % 3],
            "difference": list(seed_interval([0.05 - 0.01 * at + shift for shift in spread(0, seeds)])),
            "by_seed": {str(seed): 0.05 - 0.01 * at + shift for seed, shift in enumerate(spread(0, seeds))},
        }
        for at, name in enumerate(names)
        if name != "step"
    ]
    return {
        "base": arm("base agent", spread(0.3, seeds)),
        "arms": {name: arm(ARM_DESIGNS[name].title, spread(0.4, seeds)) for name in names},  # type: ignore[index]
        "held_out": 300,
        "margin": 0.05,
        "comparisons": comparisons,
    }


def records(*arms: str) -> list[Any]:
    curve = tuple((step, 3.0 / step) for step in range(10, 200, 10))
    return [SimpleNamespace(arms={name: SimpleNamespace(curve=curve) for name in arms}) for _ in range(SEEDS)]


def test_success_shows_each_seed_and_their_mean_with_its_interval():
    given = figures("d1", "step")
    with drawing("A test", "train"):
        figure = plot_success(given)
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_fillstyle() == "none"]
    for one, line in zip([given["base"], *given["arms"].values()], points, strict=True):
        assert list(line.get_xdata()) == pytest.approx([100 * seed["success"][0] for seed in one["seeds"].values()])
    whiskers = [line for line in axes.lines if line.get_marker() == "|"]
    low, high = (100 * bound for bound in given["arms"]["step"]["success"][1:])
    assert list(whiskers[-1].get_xdata()) == pytest.approx([low, high])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["base agent", "D1 only", "STeP: D1 + D_r, masked"]
    # All points are on it, however small a part of the axis is shown.
    low, high = axes.get_xlim()
    assert all(low <= value <= high for line in axes.lines for value in line.get_xdata())
    assert "4 seeds, 300 tasks with each" in figure._suptitle.get_text()
    # In no row does the mean lie on the points.
    assert not {line.get_ydata()[0] for line in points} & {line.get_ydata()[0] for line in whiskers}


def test_one_seed_has_a_point_and_no_interval():
    with drawing("A test", "train"):
        figure = plot_success(figures("step", seeds=1))
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert "1 seed, " in figure._suptitle.get_text()
    assert "the one seed, which has no interval" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_differences_are_coloured_by_what_may_be_claimed():
    given = figures("d1", "golden", "same-tasks", "step")
    with drawing("A test", "train"):
        figure = plot_differences(given)
    means = [line for line in figure.axes[0].lines if line.get_marker() in "osD" and line.get_fillstyle() == "full"]
    assert len({line.get_color() for line in means}) == len({line.get_marker() for line in means}) == 3
    assert [line.get_xdata()[0] for line in means] == pytest.approx(
        [100 * one["difference"][0] for one in given["comparisons"]]
    )
    assert "within 5 points: does not matter" in [text.get_text() for text in figure.legends[0].get_texts()]
    with drawing("A test", "train"):
        (axes,) = plot_differences(given | {"comparisons": []}).axes
    assert axes.get_title(loc="left") == "No arm is compared with STeP."


def test_errors_are_shares_of_all_replies():
    with drawing("A test", "train"):
        figure = plot_errors(figures("step"))
    widths = [bars[0].get_width() for bars in figure.axes[0].containers]
    assert widths == pytest.approx([10, 12, 8, 14, 0])


def test_the_loss_has_a_line_for_each_seed_and_a_name_for_each_arm():
    arms = tuple(ARM_DESIGNS)
    with drawing("A test", "train"):
        figure = plot_loss(records(*arms))
    lines, legend = figure.axes[0].lines, figure.legends[0]
    assert len(lines) == SEEDS * len(arms)
    assert [text.get_text() for text in legend.get_texts()] == [ARM_DESIGNS[name].title for name in arms]
    # More arms than colours: no two look alike.
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(arms)
    figure.canvas.draw()
    assert not [text.get_text() for text in figure.axes[0].get_yticklabels() if "$" in text.get_text()]


def test_the_files_of_an_experiment(tmp_path):
    given, told = figures(), records(*ARM_DESIGNS)
    for folder in ("one", "two"):
        draw(given, told, tmp_path / folder)
    names = {"success", "differences", "errors", "loss"}
    assert {file.name for file in (tmp_path / "one").iterdir()} == {
        f"{name}.{end}" for name in names for end in ("png", "svg")
    }
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
        if file.suffix == ".png":
            assert struct.unpack(">I", file.read_bytes()[16:20]) == (1920,)
    text = "\n".join(_picture_lines(given))
    for name in names:
        assert f"]({name}.svg)" in text and f"]({name}.png)" in text
    assert "![Success by arm, each seed as a point: base agent 33.0 %, " in text


def test_the_files_of_an_audit(tmp_path):
    audit = {
        kind: [{"step": step, "loss": 2.0 - at, "grad_norm": 0.1 * at} for step in (0, 5)]
        for at, kind in enumerate(KINDS)
    }
    for folder in ("one", "two"):
        draw_audit({"a $training_1$": audit}, tmp_path / folder / "audit.png")
    for ending in ("png", "svg"):
        first, second = (tmp_path / folder / f"audit.{ending}" for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
    assert struct.unpack(">I", (tmp_path / "one" / "audit.png").read_bytes()[16:20]) == (1920,)
