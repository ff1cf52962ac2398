"""Draw the plots of an experiment: success of every arm, differences between arms, errors by kind, and training loss."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.errors import missing_package
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.seed_records import SeedRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which colour-blind people can tell apart, too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

_KINDS = (
    ("unknown_names", "no effect: unknown name"),
    ("repeated", "no effect: repeated"),
    ("other", "no effect: other"),
    ("idle", "valid, no nearer"),
    ("lost", "valid, farther"),
)


def draw(figures: dict[str, Any], records: Sequence[SeedRecord], folder: Path) -> None:
    """Draw the plots of a report.

    Args:
        figures: Content of ``report.json``.
        records: The records of the seeds, for their curves.
        folder: Folder for ``success.png``, ``differences.png``, ``errors.png`` and ``loss.png``.

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
        "errors": lambda figure: _errors(figure, figures),
        "loss": lambda figure: _loss(figure, records),
    }
    with matplotlib.rc_context(_STYLE):
        for name, plot in plots.items():
            figure = Figure(figsize=(7, 1.6 + 0.27 * (len(figures["arms"]) + 1)), layout="constrained")
            plot(figure)
            # Without this, the file would name the version of matplotlib, and differ between machines for that alone.
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def _success(figure: "Figure", figures: dict[str, Any]) -> None:
    axes = figure.subplots()
    rows = [figures["base"], *figures["arms"].values()]
    for row, arm in enumerate(rows):
        colour = "#555555" if row == 0 else _COLOURS[(row - 1) % 6]
        _interval(axes, arm["success"], row, colour)
        for seed in arm["seeds"].values():
            axes.plot(100 * seed["success"][0], row + 0.28, ".", color=colour, markersize=5, alpha=0.7)
    _rows(axes, [arm["title"] for arm in rows])
    axes.set_xlabel("success on the held-out tasks, % (mean with 95 % interval over seeds; points: seeds)")


def _differences(figure: "Figure", figures: dict[str, Any]) -> None:
    axes = figure.subplots()
    axes.axvline(0, color="#999999", linewidth=1)
    margin = 100 * figures["margin"]
    axes.axvspan(-margin, margin, color="#f0f0f0", zorder=0)
    colours = {"a difference": "#0072b2", "no difference that matters": "#009e73", "undecided": "#999999"}
    titles = []
    for row, one in enumerate(figures["comparisons"]):
        titles.append(f"against {ARM_DESIGNS[one['first']].title}")
        _interval(axes, one["difference"], row, colours[one["verdict"]])
        for difference in one["by_seed"].values():
            axes.plot(100 * difference, row + 0.25, ".", color="#000000", markersize=4)
    _rows(axes, titles)
    axes.set_xlabel("STeP minus the other, points of success (points: seeds; blue: a difference; grey: undecided)")


def _errors(figure: "Figure", figures: dict[str, Any]) -> None:
    axes = figure.subplots()
    rows = [figures["base"], *figures["arms"].values()]
    for row, arm in enumerate(rows):
        left, shares = 0.0, _error_shares(arm)
        for number, (kind, label) in enumerate(_KINDS):
            width = 100 * shares[kind]
            axes.barh(row, width, left=left, height=0.6, color=_COLOURS[number], label=None if row else label)
            left += width
    _rows(axes, [arm["title"] for arm in rows])
    axes.set_xlabel("share of the replies, %")
    axes.legend(frameon=False, fontsize=7)


def _error_shares(arm: dict[str, Any]) -> dict[str, float]:
    """Return shares of all replies; those of valid ones are taken over from the replies that were judged."""
    valid = 1 - arm["invalid"]
    return {
        "unknown_names": arm["unknown_names"],
        "repeated": arm["repeated"],
        "other": arm["invalid"] - arm["repeated"] - arm["unknown_names"],
        "idle": valid * (arm["idle"] or 0.0),
        "lost": valid * (arm["lost"] or 0.0),
    }


def _loss(figure: "Figure", records: Sequence[SeedRecord]) -> None:
    axes = figure.subplots()
    for number, arm in enumerate(records[0].arms):
        for index, record in enumerate(records):
            curve = record.arms[arm].curve
            steps, losses = zip(*curve, strict=True) if curve else ((), ())
            label = ARM_DESIGNS[arm].title if index == 0 else None
            axes.plot(steps, losses, color=_COLOURS[number % 6], linewidth=1, alpha=0.6, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False, fontsize=6, ncols=2)


def _interval(axes: "Axes", shares: list[float | None], place: float, colour: str) -> None:
    value, low, high = shares
    assert value is not None
    if low is not None and high is not None:
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.5)
    axes.plot(100 * value, place, "o", color=colour, markersize=4)


def _rows(axes: "Axes", titles: list[str]) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
