"""Draws what came out of runs: success by task type, differences between runs, errors by step and kind, learning curves."""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from step_envs.figure_style import (
    COLOURS,
    GREY,
    MARKERS,
    MOST_INCHES,
    SMALL,
    label,
    legend_below,
    legend_inches,
    rows,
    slide,
    title,
)
from step_envs.report import measure
from step_envs.report.episode_plots import Plot, step_ticks
from step_envs.report.gathering import ERROR_KINDS, Curve, Run
from step_envs.report.tables import written
from step_envs.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST_REPLIES = 10
_ROOM = 2.4  # inches for title, axis and margins
_MOST_MARKED = 40  # points of a curve that still have a marker each


def plot_success(runs: Sequence[Run]) -> Plot:
    """Draw success by task type with 95 % intervals, the runs below each other in each row.

    Args:
        runs: The runs.
    """
    found = [{(split, name): one for split, name, one in measure.by_split_and_type(run)} for run in runs]
    names = list(dict.fromkeys(key for lines in found for key in lines))
    splits = {split for split, _ in names}
    row = max(0.42, 0.2 * len(runs) + 0.12)
    room = _ROOM + legend_inches(_names(runs))
    most = max(1, int((MOST_INCHES - room) / row))
    left_out = len(names) - most
    if left_out > 0:
        # Those with the most tasks stay, in their order.
        tasks = {key: sum(lines[key].tasks for lines in found if key in lines) for key in names}
        kept = set(sorted(names, key=lambda key: -tasks[key])[:most])
        names = [key for key in names if key in kept]
    figure = slide(room + row * len(names))
    axes = figure.subplots()
    for number, (run, lines) in enumerate(zip(runs, found, strict=True)):
        shift = (number - (len(runs) - 1) / 2) * 0.75 / len(runs)
        places = [at + shift for at, name in enumerate(names) if name in lines]
        _dots(axes, [lines[name].success for name in names if name in lines], places, number, label(run.name))
    rows(axes, [f"{_row_name(key, splits)} (n = {_episodes(found, key)})" for key in names])
    for at, (_, name) in enumerate(names):
        if name == "all":
            axes.axhspan(at - 0.5, at + 0.5, color=GREY, alpha=0.14, zorder=0, linewidth=0)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("success, % (n: episodes)")
    title(figure, "Success by task type, with 95 % intervals")
    if left_out > 0:
        axes.set_title(f"the {most:,} task types with the most tasks, of {most + left_out:,}", fontsize=SMALL)
    legend_below(figure, *axes.get_legend_handles_labels())
    return Plot(figure, " ".join(_success_sentence(run) for run in runs))


def _names(runs: Sequence[Run]) -> list[str]:
    return [label(run.name) for run in runs] if len(runs) > 1 else []


def _row_name(key: tuple[str, str], splits: set[str]) -> str:
    split, name = key
    return label(name if len(splits) == 1 else f"{split}: {name}", 32)


def _episodes(found: Sequence[dict[tuple[str, str], measure.OutcomeFigures]], key: tuple[str, str]) -> str:
    counts = [lines[key].episodes if key in lines else 0 for lines in found]
    if len(set(counts)) == 1:
        return f"{counts[0]:,}"
    return ", ".join(f"{count:,}" for count in counts) if len(counts) <= 3 else f"{min(counts):,} to {max(counts):,}"


def _success_sentence(run: Run) -> str:
    one = measure.outcome(run.episodes)
    return f"{run.name}: {written(one.success, 'share')} of {one.episodes:,} episodes succeed."


def plot_differences(runs: Sequence[Run]) -> Plot | None:
    """Draw the differences in success of every two runs; None where no two have a task in common.

    Args:
        runs: The runs.
    """
    found = [(a, b, one) for a, b in combinations(runs, 2) if (one := measure.difference(a, b)) is not None]
    if not found:
        return None
    most = int((MOST_INCHES - _ROOM) / 0.5)
    shown = found[:most]
    figure = slide(_ROOM + 0.5 * len(shown))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1.6)
    _dots(axes, [one.success for *_, one in shown], list(range(len(shown))), 0, "")
    rows(axes, [f"{label(b.name, 20)} minus {label(a.name, 20)} (n = {one.pairs:,})" for a, b, one in shown])
    axes.set_xlabel("difference, points (n: pairs)")
    title(figure, "Differences in success on the same tasks, with 95 % intervals")
    if len(found) > most:
        axes.set_title(f"the first {most:,} of {len(found):,} differences", fontsize=SMALL)
    said = [f"{b.name} minus {a.name}: {written(one.success, 'difference')} points." for a, b, one in shown[:6]]
    return Plot(figure, " ".join(said))


def plot_errors_by_step(runs: Sequence[Run]) -> Plot | None:
    """Draw the share of wrong replies by step, one line for each run; None where there are no errors or few replies.

    Args:
        runs: The runs.
    """
    runs = [run for run in runs if any(one.errors for one in run.episodes)]
    if not runs:
        return None
    figure = slide(5.5 + legend_inches(_names(runs)))
    axes = figure.subplots()
    longest: list[str] = []
    for number, run in enumerate(runs):
        # A share of a few replies is mostly noise: the line ends where they get few.
        lines = [(step, share) for step, replies, share in measure.errors_by_step(run) if replies >= _FEWEST_REPLIES]
        places = range(1, len(lines) + 1)
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        values, lows, highs = _percent([share for _, share in lines])
        axes.plot(places, values, color=colour, marker=marker, label=label(run.name))
        axes.fill_between(places, lows, highs, color=colour, alpha=0.16, linewidth=0)
        longest = max(longest, [step.replace("over ", "> ") for step, _ in lines], key=len)
    if not longest:
        return None
    step_ticks(axes, longest)
    axes.set_xlabel(f"step of the episode (of at least {_FEWEST_REPLIES} judged replies)")
    axes.set_ylabel("wrong, % of the judged replies")
    axes.set_ylim(bottom=0)
    title(figure, "Wrong replies by step, with 95 % intervals")
    legend_below(figure, *axes.get_legend_handles_labels())
    return Plot(figure, " ".join(_errors_sentence(run) for run in runs))


def _errors_sentence(run: Run) -> str:
    judged = [reply for one in run.episodes for reply in one.replies if reply.verdict in ("ok", "error")]
    wrong = sum(reply.error is not None for reply in judged)
    return f"{run.name}: {wrong:,} of {len(judged):,} judged replies are wrong."


def plot_errors_by_kind(runs: Sequence[Run]) -> Plot | None:
    """Draw the number of errors of each kind in an episode; None where there are none.

    Args:
        runs: The runs.
    """
    found = [{one.kind: one.number / len(run.episodes) for one in measure.errors_by_kind(run)} for run in runs]
    kinds = [kind for kind in ERROR_KINDS if any(kind in lines for lines in found)]
    if not kinds:
        return None
    room = _ROOM + legend_inches(_names(runs))
    figure = slide(room + len(kinds) * (0.2 + 0.3 * len(runs)))
    axes = figure.subplots()
    width = 0.8 / len(runs)
    for number, (run, lines) in enumerate(zip(runs, found, strict=True)):
        places = [at + (number - (len(runs) - 1) / 2) * width for at in range(len(kinds))]
        colour = COLOURS[number % len(COLOURS)]
        bars = axes.barh(
            places, [lines.get(kind, 0.0) for kind in kinds], height=width * 0.88, color=colour, label=label(run.name)
        )
        axes.bar_label(bars, fmt="%.2f", padding=5, fontsize=SMALL)
    rows(axes, kinds)
    axes.margins(x=0.12)
    axes.set_xlabel("errors an episode, mean")
    title(figure, "Errors by kind")
    legend_below(figure, *axes.get_legend_handles_labels())
    said = []
    for run, lines in zip(runs, found, strict=True):
        amounts = ", ".join(f"{kind} {lines[kind]:.2f}" for kind in kinds if kind in lines) or "none"
        said.append(f"{run.name} ({len(run.episodes):,} episodes): {amounts}.")
    return Plot(figure, "Errors an episode. " + " ".join(said))


def plot_learning_curve(curve: Curve) -> Plot | None:
    """Draw training and evaluation loss; None where neither was logged.

    Args:
        curve: How a training went.
    """
    losses = {name: points for name, points in curve.points.items() if name in ("loss", "eval_loss") and points}
    if not losses:
        return None
    figure = slide()
    axes = figure.subplots()
    said = []
    for number, (name, points) in enumerate(losses.items()):
        steps, values = zip(*points, strict=True)
        marker = MARKERS[number] if len(points) < _MOST_MARKED else ""
        kind = {"loss": "training loss", "eval_loss": "evaluation loss"}[name]
        axes.plot(steps, values, color=COLOURS[number], marker=marker, label=kind)
        said.append(f"the {kind} goes from {values[0]:.3g} at step {steps[0]:,} to {values[-1]:.3g} at {steps[-1]:,}")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss per token")
    title(figure, f"Training of {label(curve.name)}")
    legend_below(figure, *axes.get_legend_handles_labels())
    return Plot(figure, f"In the training of {curve.name}, {' and '.join(said)}.")


def _percent(shares: Sequence[Interval]) -> tuple[list[float], list[float], list[float]]:
    """Return values, lower and upper ends in percent; without an interval, both ends are the value."""
    values = [100 * (one.value or 0.0) for one in shares]
    lows = [100 * one.low if one.low is not None else value for one, value in zip(shares, values, strict=True)]
    highs = [100 * one.high if one.high is not None else value for one, value in zip(shares, values, strict=True)]
    return values, lows, highs


def _dots(axes: "Axes", shares: Sequence[Interval], places: Sequence[float], number: int, name: str) -> None:
    values, lows, highs = _percent(shares)
    errors = [
        [value - low for value, low in zip(values, lows, strict=True)],
        [high - value for value, high in zip(values, highs, strict=True)],
    ]
    options: dict[str, Any] = {"fmt": MARKERS[number % len(MARKERS)], "color": COLOURS[number % len(COLOURS)]}
    axes.errorbar(values, places, xerr=errors, elinewidth=2.2, label=name, **options)
