"""Draws the figures of a report as PNG and SVG; the same runs and version of matplotlib give the same bytes."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.errors import missing_package
from step_envs.report import measure
from step_envs.report.gathering import ERROR_KINDS, Curve, Run
from step_envs.statistics import Interval
from step_envs.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people who see fewer colours tell apart too; markers say the same.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX"
_LONGEST_LABEL = 44
_STYLE = {
    "svg.hashsalt": "step-envs",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.edgecolor": "#777777",
    "legend.frameon": False,
    "figure.dpi": 150,
    # What comes from runs is no formula.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Picture:
    """A figure that was written.

    Attributes:
        name: Name of its files, without the ending.
        title: What it shows.
    """

    name: str
    title: str


def draw(runs: Sequence[Run], curves: Sequence[Curve], folder: Path) -> list[Picture]:
    """Draw all figures for which the runs have data.

    Args:
        runs: The runs.
        curves: How trainings went.
        folder: Where the files go: ``NAME.png`` and ``NAME.svg``.

    Raises:
        gymnasium.error.DependencyNotInstalled: ``matplotlib`` is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_package("matplotlib", "A report", "report") from error
    drawings: list[tuple[Picture, Callable[[Figure], bool]]] = [
        (Picture("success", "Success by task type, with 95 % intervals"), lambda figure: _success(figure, runs)),
        (Picture("differences", "Differences in success on the same tasks"), lambda figure: _differences(figure, runs)),
        (Picture("errors-by-step", "Share of wrong replies by step"), lambda figure: _steps(figure, runs)),
        (Picture("errors-by-kind", "Errors an episode by kind"), lambda figure: _kinds(figure, runs)),
        *((Picture(f"learning-curve-{number}", f"Training of {_label(curve.name)}"), _curve_of(curve))
          for number, curve in enumerate(curves, 1)),
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A name may hold letters that the font has no shape for; a box stands for them.
        warnings.filterwarnings("ignore", message="Glyph")
        for picture, drawing in drawings:
            figure = Figure(layout="constrained")
            if drawing(figure):
                figure.savefig(folder / f"{picture.name}.png", metadata={"Software": None})
                figure.savefig(folder / f"{picture.name}.svg", metadata={"Date": None, "Creator": None})
                written.append(picture)
    return written


def _success(figure: "Figure", runs: Sequence[Run]) -> bool:
    found = [{(split, name): one for split, name, one in measure.by_split_and_type(run)} for run in runs]
    names = list(dict.fromkeys(key for lines in found for key in lines))
    splits = {split for split, _ in names}
    figure.set_size_inches(7, 0.9 + len(names) * (0.18 + 0.16 * len(runs)))
    axes = figure.subplots()
    for number, (run, lines) in enumerate(zip(runs, found, strict=True)):
        shift = (number - (len(runs) - 1) / 2) * 0.75 / len(runs)
        places = [at + shift for at, name in enumerate(names) if name in lines]
        _dots(axes, [lines[name].success for name in names if name in lines], places, number, _label(run.name))
    labels = [_label(name if len(splits) == 1 else f"{split}: {name}") for split, name in names]
    _rows(axes, labels)
    for at, (_, name) in enumerate(names):
        if name == "all":
            axes.axhspan(at - 0.5, at + 0.5, color="#f2f2f2", zorder=0)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("success, %")
    _legend(axes, runs)
    return True


def _differences(figure: "Figure", runs: Sequence[Run]) -> bool:
    found = [(f"{_label(b.name)} against {_label(a.name)}", measure.difference(a, b)) for a, b in combinations(runs, 2)]
    shown = [(name, one) for name, one in found if one is not None]
    if not shown:
        return False
    figure.set_size_inches(7, 1.0 + 0.4 * len(shown))
    axes = figure.subplots()
    axes.axvline(0, color="#777777", linewidth=1)
    _dots(axes, [one.success for _, one in shown], list(range(len(shown))), 0, "")
    _rows(axes, [f"{name}\n{one.pairs:,} pairs" for name, one in shown])
    axes.set_xlabel("difference in success, points")
    return True


def _steps(figure: "Figure", runs: Sequence[Run]) -> bool:
    if not any(one.errors for run in runs for one in run.episodes):
        return False
    figure.set_size_inches(7, 3.2)
    axes = figure.subplots()
    longest: list[str] = []
    for number, run in enumerate(runs):
        # A share of a few replies is mostly noise: the line ends where they get few.
        lines = [(step, share) for step, replies, share in measure.errors_by_step(run) if replies >= 10]
        places = range(1, len(lines) + 1)
        colour = _COLOURS[number % len(_COLOURS)]
        shares = [share for _, share in lines]
        values, lows, highs = (
            [100 * (getattr(one, name) or 0.0) for one in shares] for name in ("value", "low", "high")
        )
        axes.plot(
            places, values, color=colour, marker=_MARKERS[number % len(_MARKERS)], markersize=4, label=_label(run.name)
        )
        axes.fill_between(places, lows, highs, color=colour, alpha=0.15, linewidth=0)
        longest = max(longest, [step for step, _ in lines], key=len)
    axes.set_xticks(range(1, len(longest) + 1), [step.replace("over ", "> ") for step in longest])
    axes.set_xlabel("step (of at least 10 replies)")
    axes.set_ylabel("wrong, %")
    axes.set_ylim(bottom=0)
    _legend(axes, runs)
    return bool(longest)


def _kinds(figure: "Figure", runs: Sequence[Run]) -> bool:
    found = [{one.kind: one.number / len(run.episodes) for one in measure.errors_by_kind(run)} for run in runs]
    kinds = [kind for kind in ERROR_KINDS if any(kind in lines for lines in found)]
    if not kinds:
        return False
    figure.set_size_inches(7, 0.9 + len(kinds) * (0.2 + 0.17 * len(runs)))
    axes = figure.subplots()
    for number, (run, lines) in enumerate(zip(runs, found, strict=True)):
        width = 0.8 / len(runs)
        places = [at + (number - (len(runs) - 1) / 2) * width for at in range(len(kinds))]
        values = [lines.get(kind, 0.0) for kind in kinds]
        bars = axes.barh(
            places, values, height=width * 0.9, color=_COLOURS[number % len(_COLOURS)], label=_label(run.name)
        )
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    _rows(axes, kinds)
    axes.margins(x=0.12)
    axes.set_xlabel("errors an episode")
    _legend(axes, runs)
    return True


def _curve_of(curve: Curve) -> "Callable[[Figure], bool]":
    def drawing(figure: "Figure") -> bool:
        losses = {name: points for name, points in curve.points.items() if name in ("loss", "eval_loss") and points}
        if not losses:
            return False
        figure.set_size_inches(7, 3.2)
        axes = figure.subplots()
        for number, (name, points) in enumerate(losses.items()):
            steps, values = zip(*points, strict=True)
            marker = _MARKERS[number] if len(points) < 40 else ""
            axes.plot(steps, values, color=_COLOURS[number], marker=marker, markersize=4, label=name.replace("_", " "))
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss")
        axes.legend()
        return True

    return drawing


def _dots(axes: "Axes", shares: Sequence[Interval], places: Sequence[float], number: int, label: str) -> None:
    values, lows, highs = ([100 * (getattr(one, name) or 0.0) for one in shares] for name in ("value", "low", "high"))
    errors = [
        [value - low for value, low in zip(values, lows, strict=True)],
        [high - value for value, high in zip(values, highs, strict=True)],
    ]
    options: dict[str, Any] = {"fmt": _MARKERS[number % len(_MARKERS)], "color": _COLOURS[number % len(_COLOURS)]}
    axes.errorbar(values, places, xerr=errors, markersize=5, elinewidth=1.4, capsize=2.5, label=label, **options)


def _rows(axes: "Axes", labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def _label(text: str) -> str:
    # Two letters that are none, which no SVG may hold.
    line = " ".join(visible(text).split()).translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"})
    return line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 3]}..."


def _legend(axes: "Axes", runs: Sequence[Run]) -> None:
    if len(runs) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(runs), 4), borderaxespad=0.3)
