"""Draw the plots of an experiment: success of every arm, differences between arms, and training loss."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.errors import missing_package
from step_envs.training.experiments.arms import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which colour-blind people can tell apart, too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

Curves = dict[Any, list[list[tuple[int, float]]]]


def draw(figures: dict[str, Any], curves: Curves, folder: Path) -> None:
    """Draw the plots of a report.

    Args:
        figures: Content of ``report.json``.
        curves: For each arm and seed, pairs of step and loss.
        folder: Folder for ``success.png``, ``differences.png`` and ``loss.png``.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_package("matplotlib", "A plot", "train") from error
    plots: dict[str, Callable[[Figure], None]] = {
        "success": lambda figure: _success(figure, figures),
        "differences": lambda figure: _differences(figure, figures),
        "loss": lambda figure: _loss(figure, curves),
    }
    with matplotlib.rc_context(_STYLE):
        for name, plot in plots.items():
            figure = Figure(figsize=(7, 3.2), layout="constrained")
            plot(figure)
            # Without this, the file would name the version of matplotlib, and differ between machines for that alone.
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def _success(figure: "Figure", figures: dict[str, Any]) -> None:
    axes = figure.subplots()
    titles = ["base agent"]
    _interval(axes, figures["base"]["success"], 0, "#555555")
    for row, arm in enumerate(figures["arms"].values(), 1):
        titles.append(arm["title"])
        seeds = list(arm["seeds"].values())
        for number, one in enumerate(seeds):
            _interval(axes, one["success"], row + 0.22 * (number - (len(seeds) - 1) / 2), _COLOURS[(row - 1) % 6])
    _rows(axes, titles)
    axes.set_xlabel("success on the held-out tasks, % (one line a seed, 95 % intervals)")


def _differences(figure: "Figure", figures: dict[str, Any]) -> None:
    axes = figure.subplots()
    axes.axvline(0, color="#999999", linewidth=1)
    titles = []
    for row, one in enumerate(figures["comparisons"]):
        titles.append(f"against {TITLES[one['first']]}")
        _interval(axes, one["difference"], row, "#0072b2" if one["found"] else "#999999")
        for seed in one["by_seed"].values():
            axes.plot(100 * seed["difference"][0], row, "|", color="#000000", markersize=8)
    _rows(axes, titles)
    axes.set_xlabel("STeP minus the other, points of success (bars: seeds; grey: no difference)")


def _loss(figure: "Figure", curves: Curves) -> None:
    axes = figure.subplots()
    for number, (arm, seeds) in enumerate(curves.items()):
        for index, curve in enumerate(seeds):
            steps, losses = zip(*curve, strict=True) if curve else ((), ())
            label = TITLES[arm] if index == 0 else None
            axes.plot(steps, losses, color=_COLOURS[number % 6], linewidth=1, alpha=0.8, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False, fontsize=7)


def _interval(axes: "Axes", shares: list[float], place: float, colour: str) -> None:
    value, low, high = (100 * share for share in shares)
    axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
    axes.plot(value, place, "o", color=colour, markersize=4)


def _rows(axes: "Axes", titles: list[str]) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
