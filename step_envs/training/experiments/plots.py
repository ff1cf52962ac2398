"""Draw the plots of an experiment: success of every arm, differences between arms, errors by kind, and training loss."""

from collections.abc import Callable, Sequence
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.figure_style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PINK,
    RED,
    SKY,
    drawing,
    label,
    legend_below,
    legend_inches,
    rows,
    save_picture,
    slide,
    title,
)
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.seed_records import SeedRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = (
    ("unknown_names", "no effect: unknown name", RED),
    ("repeated", "no effect: repeated", ORANGE),
    ("other", "no effect: other", PINK),
    ("idle", "valid, no nearer", SKY),
    ("lost", "valid, farther", BLUE),
)
_VERDICTS = {
    "a difference": (BLUE, "o"),
    "no difference that matters": (GREEN, "s"),
    "undecided": (GREY, "D"),
}
_LINES = ("-", "--", ":")
_ROW = 0.62  # inches of an arm
_ROOM = 2.4  # inches of title, axis and margins


def draw(figures: dict[str, Any], records: Sequence[SeedRecord], folder: Path) -> None:
    """Draw the plots of a report.

    Args:
        figures: Content of ``report.json``.
        records: The records of the seeds, for their curves.
        folder: Folder for ``success``, ``differences``, ``errors`` and ``loss``, each as ``.png`` and ``.svg``.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    plots: dict[str, Callable[[], Figure]] = {
        "success": lambda: plot_success(figures),
        "differences": lambda: plot_differences(figures),
        "errors": lambda: plot_errors(figures),
        "loss": lambda: plot_loss(records),
    }
    with drawing("A plot", "train"):
        for name, plot in plots.items():
            save_picture(plot(), folder, name)


def plot_success(figures: dict[str, Any]) -> "Figure":
    """Draw success by arm: every seed as a point, and below the points their mean with its interval.

    Args:
        figures: Content of ``report.json``.
    """
    arms = [figures["base"], *figures["arms"].values()]
    figure = slide(_ROOM + 0.4 + _ROW * len(arms))
    axes = figure.subplots()
    for row, arm in enumerate(arms):
        colour = GREY if row == 0 else COLOURS[(row - 1) % len(COLOURS)]
        _interval(axes, arm["success"], row + 0.16, colour)
        _seeds(axes, [seed["success"][0] for seed in arm["seeds"].values()], row - 0.2, colour)
    rows(axes, [label(arm["title"], 40) for arm in arms])
    axes.set_xlim(*_limits(arms))
    axes.set_xlabel("success on the held-out tasks, %")
    title(figure, f"Success by arm ({_counted(figures)})")
    _mean_and_seeds(figure, _seed_count(figures), "mean of the seeds, with 95 % interval")
    return figure


def _limits(arms: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the part of 0 to 100 % that holds all points: seeds that lie close could not be told apart on the whole."""
    shares = [share for arm in arms for share in arm["success"] if share is not None]
    shares += [seed["success"][0] for arm in arms for seed in arm["seeds"].values()]
    low, high = max(0.0, min(shares)), min(1.0, max(shares))
    return 10 * floor(10 * low - 0.2) if low > 0.02 else -2, 10 * ceil(10 * high + 0.2) if high < 0.98 else 102


def plot_differences(figures: dict[str, Any]) -> "Figure":
    """Draw by how much STeP succeeds more often than each other arm, coloured by what may be claimed.

    Args:
        figures: Content of ``report.json``.
    """
    from matplotlib.patches import Patch

    shown = figures["comparisons"]
    figure = slide(_ROOM + 0.4 + _ROW * max(1, len(shown)))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1.6)
    margin = 100 * figures["margin"]
    # What lies within does not matter.
    axes.axvspan(-margin, margin, color=GREY, alpha=0.16, zorder=0, linewidth=0)
    for row, one in enumerate(shown):
        colour, marker = _VERDICTS[one["verdict"]]
        _interval(axes, one["difference"], row + 0.16, colour, marker)
        _seeds(axes, one["by_seed"].values(), row - 0.2, colour)
    rows(axes, [label(f"against {ARM_DESIGNS[one['first']].title}", 40) for one in shown])
    axes.set_xlabel("success of STeP minus success of the other arm, points")
    title(figure, f"STeP beside the other arms ({_counted(figures)})")
    if not shown:
        axes.set_title("No arm is compared with STeP.", fontsize=15)
    said = [verdict for verdict in _VERDICTS if any(one["verdict"] == verdict for one in shown)]
    handles = [_marked(_VERDICTS[verdict][0], _VERDICTS[verdict][1]) for verdict in said]
    handles += [_marked(GREY, "o", hollow=True), Patch(color=GREY, alpha=0.16, linewidth=0)]
    names = [f"{verdict} (mean, 95 % interval)" for verdict in said]
    legend_below(figure, handles, [*names, "one seed", f"within {margin:g} points: does not matter"])
    return figure


def plot_errors(figures: dict[str, Any]) -> "Figure":
    """Draw the share of each kind of error among the replies of every arm.

    Args:
        figures: Content of ``report.json``.
    """
    arms = [figures["base"], *figures["arms"].values()]
    names = [name for _, name, _ in _KINDS]
    figure = slide(_ROOM + legend_inches(names) + _ROW * len(arms))
    axes = figure.subplots()
    left = [0.0] * len(arms)
    shares = [_error_shares(arm) for arm in arms]
    for kind, name, colour in _KINDS:
        widths = [100 * one[kind] for one in shares]
        axes.barh(range(len(arms)), widths, 0.62, left=left, color=colour, label=name, linewidth=0)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    rows(axes, [label(arm["title"], 40) for arm in arms])
    axes.set_xlim(left=0)
    axes.set_xlabel("share of all replies, % (means of the seeds)")
    title(figure, f"Errors by kind ({_counted(figures)})")
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure


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


def plot_loss(records: Sequence[SeedRecord]) -> "Figure":
    """Draw the training loss of every arm, one line for each seed.

    Args:
        records: The records of the seeds.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    arms = list(records[0].arms)
    names = [label(ARM_DESIGNS[arm].title, 40) for arm in arms]
    figure = slide(6.0 + legend_inches(names))
    axes = figure.subplots()
    looks = [(COLOURS[at % len(COLOURS)], _LINES[at // len(COLOURS) % len(_LINES)]) for at in range(len(arms))]
    for arm, (colour, line) in zip(arms, looks, strict=True):
        for record in records:
            if curve := record.arms[arm].curve:
                axes.plot(*zip(*curve, strict=True), color=colour, linestyle=line, linewidth=1.6, alpha=0.75)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("training loss per token")
    seeds = "one seed" if len(records) == 1 else f"one line for each of {len(records)} seeds"
    title(figure, f"Training loss by arm ({seeds})")
    legend_below(figure, [Line2D([], [], color=colour, linestyle=line) for colour, line in looks], names)
    return figure


def _seed_count(figures: dict[str, Any]) -> int:
    return max(len(arm["seeds"]) for arm in (figures["base"], *figures["arms"].values()))


def _counted(figures: dict[str, Any]) -> str:
    seeds = _seed_count(figures)
    return f"{seeds} seed{'' if seeds == 1 else 's'}, {figures['held_out']:,} tasks with each"


def _interval(axes: "Axes", shares: Sequence[float | None], place: float, colour: str, marker: str = "o") -> None:
    value, low, high = shares
    assert value is not None
    if low is not None and high is not None:
        # An interval of Student's may go beyond what a share can be; the axis is that of shares.
        axes.plot([100 * low, 100 * high], [place, place], color=colour, marker="|", markersize=11, markeredgewidth=2)
    axes.plot(100 * value, place, marker, color=colour, markersize=10, zorder=3)


def _seeds(axes: "Axes", shares: Any, place: float, colour: str) -> None:
    values = [100 * share for share in shares]
    axes.plot(values, [place] * len(values), "o", color=colour, fillstyle="none", markersize=7.5, alpha=0.9)


def _mean_and_seeds(figure: "Figure", seeds: int, name: str) -> None:
    handles = [_marked(GREY, "o"), _marked(GREY, "o", hollow=True)]
    legend_below(figure, handles, [name if seeds > 1 else "the one seed, which has no interval", "one seed"])


def _marked(colour: str, marker: str = MARKERS[0], *, hollow: bool = False) -> Any:
    from matplotlib.lines import Line2D

    fill = "none" if hollow else "full"
    return Line2D([], [], color=colour, marker=marker, fillstyle=fill, linestyle="none" if hollow else "-")
