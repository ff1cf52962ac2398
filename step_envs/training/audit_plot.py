"""Draw the audit of a training: loss and gradient norm by kind of turn, one column per training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from step_envs.figure_style import (
    BLUE,
    GREEN,
    MARKERS,
    RED,
    SKY,
    drawing,
    label,
    legend_below,
    save_picture,
    slide,
    title,
)
from step_envs.training.turn_kinds import KINDS

# The error is the red one.
KIND_COLOURS = dict(zip(KINDS, (BLUE, SKY, GREEN, RED), strict=True))
KIND_MARKERS = dict(zip(KINDS, MARKERS[: len(KINDS)], strict=True))

Audit = Mapping[str, Sequence[Mapping[str, float]]]


def draw_audit(audits: Mapping[str, Audit], file: Path) -> None:
    """Draw audits side by side.

    Args:
        audits: Title of a training -> its audit, as in ``audit.json``.
        file: The picture, a PNG; an SVG is written beside it.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    with drawing("A plot", "train"):
        figure = slide()
        grid = figure.subplots(2, len(audits), squeeze=False, sharex="col", sharey="row")
        shown = {}
        for column, (name, audit) in enumerate(audits.items()):
            for row, (quantity, axis) in enumerate((("grad_norm", "gradient norm"), ("loss", "loss per token"))):
                axes = grid[row][column]
                for kind, points in audit.items():
                    steps = [point["step"] for point in points]
                    (shown[kind],) = axes.plot(
                        steps,
                        [point[quantity] for point in points],
                        color=KIND_COLOURS[kind],
                        marker=KIND_MARKERS[kind],
                        clip_on=False,
                    )
                axes.grid(axis="x", visible=False)
                if column == 0:
                    axes.set_ylabel(axis)
            grid[0][column].set_title(label(name, 30))
            grid[1][column].set_xlabel("optimizer step")
        for axes in grid[:, 0]:
            axes.set_ylim(bottom=0)  # once all columns, which share the axis, are drawn
        figure.align_ylabels(grid[:, 0])
        title(figure, "What is trained, by kind of turn")
        legend_below(figure, list(shown.values()), list(shown))
        save_picture(figure, file.parent, file.stem)
