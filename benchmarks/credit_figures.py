"""The figures, the table and the pictures of ``benchmarks/credit.py``, made of valued episodes."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from step_envs.credit.value_agreement import spearman
from step_envs.trajectory import Trajectory

TITLES = {
    "oracle": "oracle",
    "never-errs": "rollouts, agent that never errs",
    "novice": "rollouts, novice (30 % errors)",
    "tiny": "rollouts, tiny model",
    "estimator": "learned estimator",
}
"""Name of each way of valuing -> what tables and pictures call it."""
_COLOURS = {
    "oracle": "#000000",
    "never-errs": "#009e73",
    "novice": "#0072b2",
    "tiny": "#d55e00",
    "estimator": "#cc79a7",
}
_MARKS = {"oracle": "", "never-errs": "o", "novice": "s", "tiny": "^", "estimator": "D"}
_EQUAL = 1e-9
_RESAMPLES = 500

Row = tuple[float, ...]


class State(NamedTuple):
    """A state of an episode that was still running, with its values.

    Attributes:
        episode: Number of the episode.
        distance: Steps that the oracle needs from here; None if it knows no way.
        values: Name of a way of valuing -> value.
    """

    episode: int
    distance: int | None
    values: Mapping[str, float]


def common_states(valued: Mapping[str, Sequence[Trajectory]], discount: float) -> list[State]:
    """List the states that all ways have valued, without those in which the engine has ended the episode.

    There the value of most ways is the engine's score, which would flatter their agreement.

    Args:
        valued: Name of a way of valuing -> the same episodes in the same order. ``oracle`` must be among them.
        discount: The discount of the oracle's values, from which its distances follow.
    """
    states: list[State] = []
    for number, episode in enumerate(zip(*valued.values(), strict=True)):
        by_way = dict(zip(valued, episode, strict=True))
        replies = [place for place, turn in enumerate(by_way["oracle"].turns) if turn.value is not None]
        if by_way["oracle"].terminated:
            replies = replies[:-1]
        for place in replies:
            found = {way: one.turns[place].value for way, one in by_way.items()}
            values = {way: value for way, value in found.items() if value is not None}
            if len(values) == len(found):
                states.append(State(number, _distance(values["oracle"], discount), values))
    return states


def _distance(value: float, discount: float) -> int | None:
    return None if value == 0 else round(math.log(value) / math.log(discount))


def agreement_figures(states: Sequence[State], way: str) -> dict[str, Any]:
    """Compare one way with the oracle.

    Returns:
        ``spearman_value`` (with the oracle's value, over all states) and ``spearman_distance`` (with its distance, over
        states with a way; -1 is perfect), each with a 95 % interval from resampled episodes, ``[value, low, high]``;
        ``spearman_within`` (with the oracle's value, the mean over episodes), which credit of single steps depends on, and
        which no difference between tasks can raise; ``equal`` (share of states with the oracle's value); ``difference``
        (mean absolute difference) and ``mean``.
    """
    rows = [(state.episode, state.values[way], state.values["oracle"], state.distance) for state in states]
    all_rows = [(float(episode), value, exact) for episode, value, exact, _ in rows]
    reachable = [(float(episode), value, float(far)) for episode, value, _, far in rows if far is not None]
    gaps = [abs(value - exact) for _, value, exact, _ in rows]
    return {
        "spearman_value": _interval(all_rows, _rank_correlation),
        "spearman_distance": _interval(reachable, _rank_correlation),
        "spearman_within": _within_episodes(all_rows),
        "equal": sum(gap < _EQUAL for gap in gaps) / len(gaps),
        "difference": float(np.mean(gaps)),
        "mean": float(np.mean([value for _, value, _, _ in rows])),
    }


def _rank_correlation(rows: Sequence[Row]) -> float | None:
    return spearman([row[1] for row in rows], [row[2] for row in rows])


def _within_episodes(rows: Sequence[Row]) -> float | None:
    found = [_rank_correlation(group) for group in _by_episode(rows)]
    known = [one for one in found if one is not None]
    return float(np.mean(known)) if known else None


def _by_episode(rows: Sequence[Row]) -> list[list[Row]]:
    groups: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[0]].append(row)
    return list(groups.values())


def _interval(rows: Sequence[Row], figure: Callable[[Sequence[Row]], float | None]) -> list[float] | None:
    """Return a figure with a 95 % interval from episodes drawn with replacement; None where there is no figure.

    States of one episode are alike, so that single states drawn at random would give too short an interval.
    """
    value = figure(rows)
    if value is None:
        return None
    groups, rng = _by_episode(rows), np.random.default_rng(0)
    drawn = []
    for _ in range(_RESAMPLES):
        found = figure([row for place in rng.integers(len(groups), size=len(groups)) for row in groups[place]])
        if found is not None:
            drawn.append(found)
    return [value, *(float(bound) for bound in np.quantile(drawn, [0.025, 0.975]))] if drawn else [value, value, value]


def table(results: Mapping[str, Any]) -> str:
    """Write the figures of all worlds as a Markdown table."""
    lines = [
        "| world | values by | rank correlation with the oracle's value | within an episode | with the distance | equal "
        "| mean difference | states per CPU second | per second |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for world in results["worlds"].values():
        for way, one in world["ways"].items():
            correlations = (one[f"spearman_{name}"] for name in ("value", "within", "distance"))
            cells = [world["title"], TITLES[way], *map(_correlation, correlations)]
            cells += [f"{one['equal']:.0%}", f"{one['difference']:.2f}"]
            cells += [_rate(one["states_per_cpu_second"]), _rate(one["states_per_second"])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _correlation(found: Sequence[float] | float | None) -> str:
    if found is None:
        return "none: all values are equal"
    if isinstance(found, float):
        return f"{found:.2f}"
    value, low, high = (f"{number:.2f}" for number in found)
    return value if low == high == value else f"{value} ({low} to {high})"


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def draw(states: Sequence[State], title: str, folder: Path, name: str) -> None:
    """Draw mean values against the oracle's distance, one line for each way, as ``NAME.svg`` and ``NAME.png``.

    Each point is the mean over the states at that distance; the band holds the middle half of them. States from which the
    oracle knows no way are at the right. Distances with less than 1 % of the states are left out.
    """
    import matplotlib
    from matplotlib.figure import Figure

    by_distance: dict[int | None, list[State]] = defaultdict(list)
    for state in states:
        by_distance[state.distance].append(state)
    # A mean over a few states far away would look like a finding.
    known = sorted(distance for distance in by_distance if distance is not None)
    places = [far for far in known if len(by_distance[far]) >= max(1, len(states) // 100)]
    style = {"font.size": 15, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "credit"}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(11, 6.2), layout="constrained")
        axes = figure.subplots()
        nowhere = (places[-1] if places else 0) + 1.6
        for way in states[0].values:
            _draw_way(axes, way, by_distance, places, nowhere)
        ticks, labels = list(map(float, places)), [f"{far}" for far in places]
        if None in by_distance:
            ticks, labels = [*ticks, nowhere], [*labels, "no way"]
            axes.axvline(nowhere - 0.8, color="#cccccc", linewidth=1)
        axes.set_xticks(ticks, labels)
        axes.set_ylim(-0.03, 1.03)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("steps that the oracle needs from the state")
        axes.set_ylabel("value of the state, mean")
        axes.set_title(title, loc="left", fontsize=18)
        figure.legend(frameon=False, fontsize=13, loc="outside lower center", ncols=3)
        for ending, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            figure.savefig(folder / f"{name}.{ending}", metadata=metadata, dpi=100)


def _draw_way(
    axes: Any, way: str, by_distance: Mapping[int | None, Sequence[State]], places: Sequence[int], nowhere: float
) -> None:
    def values(far: int | None) -> list[float]:
        return [state.values[way] for state in by_distance[far]]

    look = {"color": _COLOURS[way], "marker": _MARKS[way], "markersize": 9, "linewidth": 2.2}
    if way == "never-errs":  # on the oracle's line, which it would hide
        look |= {"linestyle": "none", "fillstyle": "none", "markersize": 13, "markeredgewidth": 2}
    axes.plot(places, [float(np.mean(values(far))) for far in places], label=TITLES[way], zorder=3, **look)
    if way not in ("oracle", "never-errs"):
        low, high = np.transpose([np.quantile(values(far), [0.25, 0.75]) for far in places])
        axes.fill_between(places, low, high, color=_COLOURS[way], alpha=0.12, linewidth=0)
    if None in by_distance:
        alone = look | {"linestyle": "none", "marker": _MARKS[way] or "_"}
        axes.plot([nowhere], [float(np.mean(values(None)))], **alone)
