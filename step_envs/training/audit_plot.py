"""Draw the audit of a training: loss and gradient norm by kind of turn, one column per training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from step_envs.errors import missing_package
from step_envs.training.turn_kinds import KINDS

# Colours of Okabe and Ito, which colour-blind people can tell apart, too; the error is the red one.
KIND_COLOURS = dict(zip(KINDS, ("#0072b2", "#56b4e9", "#009e73", "#d55e00"), strict=True))
PLOT_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

Audit = Mapping[str, Sequence[Mapping[str, float]]]


def draw_audit(audits: Mapping[str, Audit], file: Path) -> None:
    """Draw audits side by side.

    Args:
        audits: Title of a training -> its audit, as in ``audit.json``.
        file: The picture, a PNG.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_package("matplotlib", "A plot", "train") from error
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(max(4.5, 4 * len(audits)), 5), layout="constrained")
        grid = figure.subplots(2, len(audits), squeeze=False, sharex="col", sharey="row")
        for column, (title, audit) in enumerate(audits.items()):
            for row, (name, label) in enumerate((("grad_norm", "gradient norm"), ("loss", "loss per token"))):
                axes = grid[row][column]
                for kind, points in audit.items():
                    axes.plot(
                        [point["step"] for point in points],
                        [point[name] for point in points],
                        color=KIND_COLOURS[kind],
                        linewidth=1.2,
                        marker="o",
                        markersize=3,
                        label=kind,
                        clip_on=False,
                    )
                axes.grid(axis="y", color="#e3e3e3", linewidth=0.7)
                if column == 0:
                    axes.set_ylabel(label)
            grid[0][column].set_title(title, fontsize=9)
            grid[1][column].set_xlabel("optimizer step")
        for axes in grid[:, 0]:
            axes.set_ylim(bottom=0)  # once all columns, which share the axis, are drawn
        grid[0][0].legend(frameon=False, fontsize=7)
        # Without this, the file would name the version of matplotlib, and differ between machines for that alone.
        figure.savefig(file, metadata={"Software": None})
