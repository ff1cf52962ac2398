"""Draws what happens along the episodes of runs: errors and corrections, values, and where the time goes.

A picture shows at most two runs beside each other, each with axes of its own, so that it stays one that people in the last
row can read; more runs make more pictures.
"""

from collections.abc import Sequence
from math import floor
from typing import TYPE_CHECKING, NamedTuple

from step_envs.figure_style import (
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PINK,
    RED,
    SKY,
    SMALL,
    YELLOW,
    label,
    legend_below,
    rows,
    slide,
    title,
)
from step_envs.report.along_episodes import (
    GRID,
    REPLY_KINDS,
    UNTIL,
    RepliesAtStep,
    TimeUse,
    ValueCurve,
    kinds_of_replies,
    replies_by_step,
    time_use,
    value_curves,
)
from step_envs.report.gathering import Run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KIND_COLOURS = {
    "error": RED,
    "no effect": ORANGE,
    "correction": GREEN,
    "recovered": SKY,
    "right": BLUE,
    "effect again": YELLOW,
    "not judged": "#bdbdbd",
    "expert": PINK,
}
FEW_EPISODES = 10
"""Steps that fewer episodes get to are drawn pale."""

_PALE = 0.3  # opacity
_SIDE_BY_SIDE = 2
_MOST_LINES = 3  # runs whose seconds by step are drawn; with more, lines cover each other


class Plot(NamedTuple):
    """A picture that was drawn.

    Attributes:
        figure: The picture.
        alt: What it shows, in a sentence or two for who cannot see it.
    """

    figure: "Figure"
    alt: str


def pages(runs: Sequence[Run]) -> list[Sequence[Run]]:
    """Divide runs into those that share a picture."""
    return [runs[at : at + _SIDE_BY_SIDE] for at in range(0, len(runs), _SIDE_BY_SIDE)]


def plot_replies(runs: Sequence[Run]) -> Plot:
    """Draw the share of every kind of reply at every step, above how many episodes get there.

    Args:
        runs: The runs of one picture.
    """
    figure = slide()
    grid = figure.subplots(
        2, len(runs), squeeze=False, sharex="col", sharey="row", gridspec_kw={"height_ratios": [5, 1.1]}
    )
    shown: dict[str, None] = {}
    said, few = [], False
    for column, run in enumerate(runs):
        steps = replies_by_step(run)
        shown |= dict.fromkeys(kind for step in steps for kind in step.shares)
        _stack(grid[0][column], steps)
        grid[0][column].set_title(f"{label(run.name)}: {len(run.episodes):,} episodes", fontsize=15)
        _going_on(grid[1][column], steps)
        said.append(_replies_sentence(run))
        few = few or any(step.episodes < FEW_EPISODES for step in steps)
    grid[0][0].set_ylabel("share of the replies, %")
    grid[1][0].set_ylabel("episodes")
    figure.align_ylabels(grid[:, 0])
    title(figure, "Errors and corrections over the steps of an episode")
    parts = [(REPLY_KINDS[kind], _KIND_COLOURS[kind]) for kind in REPLY_KINDS if kind in shown]
    _legend(figure, [*parts, (f"pale: fewer than {FEW_EPISODES} episodes", GREY)] if few else parts)
    return Plot(figure, " ".join(said))


def _stack(axes: "Axes", steps: Sequence[RepliesAtStep]) -> None:
    places = range(1, len(steps) + 1)
    bottom = [0.0] * len(steps)
    for kind, colour in _KIND_COLOURS.items():
        shares = [100 * step.shares.get(kind, 0.0) for step in steps]
        if any(shares):
            bars = axes.bar(places, shares, 0.86, bottom=bottom, color=colour, label=REPLY_KINDS[kind], linewidth=0)
            for bar, step in zip(bars, steps, strict=True):
                # A share of a few episodes is mostly noise.
                bar.set_alpha(1.0 if step.episodes >= FEW_EPISODES else _PALE)
            bottom = [low + share for low, share in zip(bottom, shares, strict=True)]
    axes.set_ylim(0, 100)
    axes.set_xlim(0.4, len(steps) + 0.6)
    axes.grid(axis="x", visible=False)


def _going_on(axes: "Axes", steps: Sequence[RepliesAtStep]) -> None:
    axes.bar(range(1, len(steps) + 1), [step.episodes for step in steps], 0.86, color=GREY, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=2, integer=True)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("step of the episode")
    step_ticks(axes, [step.step for step in steps])


def step_ticks(axes: "Axes", steps: Sequence[str]) -> None:
    """Name some of the steps on the axis: every one where they are few, else the first, each fifth and the last."""
    places = [
        at
        for at, step in enumerate(steps, 1)
        if len(steps) <= 12 or at in (1, len(steps)) or (at % 5 == 0 and at < len(steps) - (not step.isdecimal()))
    ]
    # A number right beside the last one would touch it.
    if len(places) > 2 and len(steps) > 12 and places[-1] - places[-2] < 2:
        del places[-2]
    axes.set_xticks(places, [steps[at - 1] for at in places])


def _replies_sentence(run: Run) -> str:
    kinds = [kinds_of_replies(one) for one in run.episodes]
    erring = [one for one in kinds if "error" in one or "no effect" in one]
    judged = any("error" in one for one in kinds)
    again = sum("recovered" in one or "effect again" in one for one in erring)
    what = "an error" if judged else "a reply without effect"
    text = f"{run.name}: {len(erring):,} of {len(kinds):,} episodes have {what}"
    if not erring:
        return f"{text}."
    then = "the agent takes a right step of its own again" if judged else "a reply has an effect again"
    return f"{text}; in {again:,} of them {then}."


def plot_values(runs: Sequence[Run]) -> Plot | None:
    """Draw what the states were worth along the episodes, by outcome; None where no run was annotated.

    Args:
        runs: The runs of one picture.
    """
    from matplotlib.patches import Patch

    found = [(run, curves) for run in runs if (curves := value_curves(run))]
    if not found:
        return None
    figure = slide()
    grid = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    looks = {"success": (BLUE, "-", "o"), "no success": (RED, "--", "s")}
    said = []
    lines = {}
    # Values near 1 are told apart only where the axis does not begin at 0.
    lowest = max(
        0.0, floor(10 * min(value for _, curves in found for curve in curves for value in curve.low) - 0.5) / 10
    )
    for axes, (run, curves) in zip(grid, found, strict=True):
        for curve in curves:
            colour, line, marker = looks[curve.outcome]
            axes.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
            (lines[curve.outcome],) = axes.plot(
                GRID, curve.mean, color=colour, linestyle=line, marker=marker, markevery=2, clip_on=False
            )
        counts = ", ".join(f"{curve.outcome} n = {curve.episodes:,}" for curve in curves)
        axes.set_title(f"{label(run.name)}\n{counts}", fontsize=15)
        axes.set_xlim(0, 100)
        axes.set_ylim(lowest, 1.02)
        axes.set_xlabel("share of the episode, %")
        said.append(_values_sentence(run, curves))
    valued_by = ", ".join(dict.fromkeys(name for run, _ in found for name in run.valued_by))
    grid[0].set_ylabel(f"value of the state (by {label(valued_by, 30)})" if valued_by else "value of the state")
    title(figure, "Value along an episode")
    handles = [*lines.values(), Patch(color=GREY, alpha=0.3, linewidth=0)]
    names = [f"{outcome}, mean" for outcome in lines] + ["middle half of the episodes"]
    legend_below(figure, handles, names)
    return Plot(figure, " ".join(said))


def _values_sentence(run: Run, curves: Sequence[ValueCurve]) -> str:
    parts = []
    for curve in curves:
        middle = curve.mean[len(GRID) // 2]
        parts.append(
            f"with {curve.outcome} (n = {curve.episodes:,}) the mean value goes from {curve.mean[0]:.2f} by way of "
            f"{middle:.2f} to {curve.mean[-1]:.2f}"
        )
    return f"{run.name}: {'; '.join(parts)}."


def plot_time(runs: Sequence[Run]) -> Plot | None:
    """Draw where the time of episodes goes; None where no time of an agent or a teacher is recorded.

    Args:
        runs: The runs.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found = [(run, use) for run in runs if (use := time_use(run)) and (use.agent_timed or use.teacher_timed)]
    if not found:
        return None
    with_steps = len(found) <= _MOST_LINES
    figure = slide(2.6 + 0.75 * len(found))
    grid = figure.subplots(1, 2 if with_steps else 1, squeeze=False)[0]
    _totals(grid[0], found)
    if with_steps:
        _by_step(grid[1], found)
    title(figure, "Where the time of an episode goes")
    handles: list[Artist] = [Patch(color=colour, linewidth=0) for colour in (BLUE, GREEN, GREY)]
    names = ["agent", "teacher", "rest: the world, and what has no record"]
    if with_steps and len(found) > 1:
        # The colours say who; the markers say only which run.
        handles += [Line2D([], [], color=GREY, linestyle="none", marker=MARKERS[at]) for at in range(len(found))]
        names += [label(run.name, 24) for run, _ in found]
    legend_below(figure, handles, names)
    return Plot(figure, " ".join(_time_sentence(run, use) for run, use in found))


def _totals(axes: "Axes", found: Sequence[tuple[Run, TimeUse]]) -> None:
    uses = [use for _, use in found]
    left = [0.0] * len(uses)
    for colour, seconds in (
        (BLUE, [use.agent or 0.0 for use in uses]),
        (GREEN, [use.teacher or 0.0 for use in uses]),
        (GREY, [use.rest for use in uses]),
    ):
        axes.barh(range(len(uses)), seconds, 0.6, left=left, color=colour, linewidth=0)
        left = [start + second for start, second in zip(left, seconds, strict=True)]
    for row, end in enumerate(left):
        axes.annotate(
            f"{end:.3g} s", (end, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=SMALL
        )
    rows(axes, [f"{label(run.name, 24)}\nn = {use.episodes:,}" for run, use in found])
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds an episode, mean")


def _by_step(axes: "Axes", found: Sequence[tuple[Run, TimeUse]]) -> None:
    end = 1
    for number, (run, use) in enumerate(found):
        for colour, seconds in (
            (BLUE, [(_place(one.step), one.agent) for one in use.by_step]),
            (GREEN, [(_place(one.step), one.teacher) for one in use.by_step]),
        ):
            known = [(at, second) for at, second in seconds if second is not None]
            if known:
                axes.plot(*zip(*known, strict=True), color=colour, marker=MARKERS[number], label=label(run.name, 24))
                end = max(end, known[-1][0])
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, end + 0.5)
    axes.set_ylabel("seconds a reply or verdict, mean")
    axes.set_xlabel("step of the episode")
    step_ticks(axes, [str(at) if at <= UNTIL else f"> {UNTIL}" for at in range(1, end + 1)])


def _place(step: str) -> int:
    return int(step) if step.isdecimal() else UNTIL + 1


def _time_sentence(run: Run, use: TimeUse) -> str:
    parts = [
        f"{name} {seconds:.3g} s"
        for name, seconds in (("agent", use.agent), ("teacher", use.teacher), ("rest", use.rest))
        if seconds is not None
    ]
    return f"{run.name}: an episode takes {use.total:.3g} s ({', '.join(parts)})."


def _legend(figure: "Figure", parts: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(color=colour, linewidth=0, alpha=_PALE if name.startswith("pale") else 1) for name, colour in parts
    ]
    legend_below(figure, patches, [name for name, _ in parts])
