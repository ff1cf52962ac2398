"""Draw the losses of a training from its log: training, validation, and every kind of turn.

Three losses look alike and are not the same. ``loss`` is what is minimised, over the rows of the steps since the last
entry. ``eval_loss`` is the same mean over the rows of tasks that are not trained on. ``loss/<kind>`` (and
``eval_loss/<kind>``) is that of all tokens of a kind, trained or not: of masked errors it shows whether the model learns to
write what it only reads. So the first two share a panel, and the kinds have one of their own.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from step_envs.figure_style import BROWN, GREY, drawing, legend_below, save_picture, slide
from step_envs.training.audit_plot import KIND_COLOURS, KIND_MARKERS
from step_envs.training.turn_kinds import KINDS

LOSS_PLOTS = ("loss.svg", "loss.png")
"""Files beside a checkpoint: the same picture, for a page and for everything else."""

Curve = list[tuple[int, float]]
"""Optimizer steps and the losses there."""


def read_losses(history: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """Take the losses out of a trainer's log.

    Args:
        history: The entries of the log, in their order.

    Returns:
        Key in the log (``loss``, ``eval_loss``, ``loss/<kind>``, ``eval_loss/<kind>``) -> its curve; only those that occur.
    """
    names = [f"{prefix}{name}" for name in ("loss", *(f"loss/{kind}" for kind in KINDS)) for prefix in ("", "eval_")]
    curves: dict[str, Curve] = {name: [] for name in names}
    for entry in history:
        for name in names:
            if name in entry:
                curves[name].append((int(entry["step"]), float(entry[name])))
    return {name: curve for name, curve in curves.items() if curve}


def draw_losses(history: Iterable[Mapping[str, Any]], out: Path) -> list[Path]:
    """Draw the losses of a training into its folder.

    Args:
        history: The entries of the log.
        out: The folder.

    Returns:
        The files, ``loss.svg`` and ``loss.png``; none if the log has no loss.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    entries = list(history)
    curves = read_losses(entries)
    if not curves:
        return []
    kinds = [kind for kind in KINDS if f"loss/{kind}" in curves or f"eval_loss/{kind}" in curves]
    with drawing("A plot", "train"):
        from matplotlib.ticker import MaxNLocator

        figure = slide()
        panels = figure.subplots(1, 2 if kinds else 1, squeeze=False)[0]
        _plot(panels[0], curves, "loss", GREY, "o", "training")
        _plot(panels[0], curves, "eval_loss", BROWN, "s", "validation")
        panels[0].set_title("what is minimised")
        for kind in kinds:
            label, look = _label(kind, entries), (KIND_COLOURS[kind], KIND_MARKERS[kind])
            _plot(panels[1], curves, f"loss/{kind}", *look, label)
            again = f"loss/{kind}" in curves
            _plot(panels[1], curves, f"eval_loss/{kind}", *look, "" if again else label, "--")
        if kinds:
            dashed = " (dashed: validation)" if any(f"eval_loss/{kind}" in curves for kind in kinds) else ""
            panels[1].set_title(f"by kind of turn{dashed}")
        for axes in panels:
            axes.set_xlabel("optimizer step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel("loss per token")
            axes.grid(axis="x", visible=False)
        lines = [line for axes in panels for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
        legend_below(figure, lines, [str(line.get_label()) for line in lines])
        save_picture(figure, out, "loss")
    return [out / name for name in LOSS_PLOTS]


def _label(kind: str, entries: Iterable[Mapping[str, Any]]) -> str:
    norms = [entry[f"grad_norm/{kind}"] for entry in entries if f"grad_norm/{kind}" in entry]
    if norms and not any(norms):
        return f"{kind}, not trained"
    return "correction, with its reflection" if kind == "correction" else kind


def _plot(
    axes: Any, curves: Mapping[str, Curve], name: str, colour: str, marker: str, label: str, line: str = "-"
) -> None:
    if name in curves:
        steps, losses = zip(*curves[name], strict=True)
        # Without a label of its own, a line is called _child..., which the legend leaves out.
        named = {"label": label} if label else {}
        axes.plot(steps, losses, line, color=colour, marker=marker, **named)
