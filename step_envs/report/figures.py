"""Draws the figures of a report as PNG and SVG; the same runs and version of matplotlib give the same bytes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from step_envs.figure_style import Background, drawing, save_picture
from step_envs.report.along_episodes import time_use, value_curves
from step_envs.report.episode_plots import Plot, pages, plot_replies, plot_time, plot_values
from step_envs.report.gathering import Curve, Run
from step_envs.report.outcome_plots import (
    plot_differences,
    plot_errors_by_kind,
    plot_errors_by_step,
    plot_learning_curve,
    plot_success,
)

_REPLIES_NOTE = (
    "Right again: the agent's first right reply after an error. An effect again: the first reply that has one, "
    "after one without, where nobody judges. The bars below say how many episodes get to that step."
)
_VALUES_NOTE = (
    "Each episode is laid out from its start (0 %) to its end (100 %). What a value means depends on what it comes from: "
    "see `step-envs annotate --help`."
)


@dataclass(frozen=True)
class Picture:
    """A figure that was written.

    Attributes:
        name: Name of its files, without the ending.
        title: What it shows.
        alt: The same with its main figures, for who cannot see it.
        note: What has to be known to read it; may be empty.
    """

    name: str
    title: str
    alt: str = ""
    note: str = ""


class _Drawing(NamedTuple):
    name: str
    title: str
    note: str
    plot: Callable[[], Plot | None]


def draw(runs: Sequence[Run], curves: Sequence[Curve], folder: Path, background: Background = "light") -> list[Picture]:
    """Draw all figures for which the runs have data.

    Args:
        runs: The runs.
        curves: How trainings went.
        folder: Where the files go: ``NAME.png`` and ``NAME.svg``.
        background: Colour of the paper, for light or dark slides.

    Raises:
        gymnasium.error.DependencyNotInstalled: ``matplotlib`` is missing.
        ValueError: There is no such background.
    """
    pictures = []
    with drawing("A report", "report", background):
        for one in _drawings(runs, curves):
            plot = one.plot()
            if plot is not None:
                save_picture(plot.figure, folder, one.name)
                pictures.append(Picture(one.name, one.title, plot.alt, one.note))
    return pictures


def _drawings(runs: Sequence[Run], curves: Sequence[Curve]) -> Iterator[_Drawing]:
    yield _Drawing("success", "Success by task type, with 95 % intervals", "", partial(plot_success, runs))
    yield _Drawing("differences", "Differences in success on the same tasks", "", partial(plot_differences, runs))
    for name, page in _numbered("replies-by-step", pages(runs)):
        title = f"Errors and corrections over the steps of an episode{_of(page, runs)}"
        yield _Drawing(name, title, _REPLIES_NOTE, partial(plot_replies, page))
    for name, page in _numbered("values", pages([run for run in runs if value_curves(run)])):
        yield _Drawing(name, f"Value along an episode{_of(page, runs)}", _VALUES_NOTE, partial(plot_values, page))
    yield _Drawing("time", "Where the time of an episode goes", _time_note(runs), partial(plot_time, runs))
    yield _Drawing("errors-by-step", "Share of wrong replies by step", "", partial(plot_errors_by_step, runs))
    yield _Drawing("errors-by-kind", "Errors an episode by kind", "", partial(plot_errors_by_kind, runs))
    for number, curve in enumerate(curves, 1):
        title = f"Training of {curve.name}"
        yield _Drawing(f"learning-curve-{number}", title, "", partial(plot_learning_curve, curve))


def _numbered(name: str, found: Sequence[Sequence[Run]]) -> Iterator[tuple[str, Sequence[Run]]]:
    for number, page in enumerate(found, 1):
        yield name if number == 1 else f"{name}-{number}", page


def _of(page: Sequence[Run], runs: Sequence[Run]) -> str:
    return "" if len(page) == len(runs) else f": {' and '.join(run.name for run in page)}"


def _time_note(runs: Sequence[Run]) -> str:
    said = [
        "Seconds of wall time, with other episodes in flight: the wait for a server, or for the batch of a local model, is "
        "the agent's or teacher's. The world's own time is not recorded and is part of the rest."
    ]
    for run in runs:
        use = time_use(run)
        if use is not None and (missing := use.not_recorded()):
            said.append(f"{run.name}: not recorded, and so part of the rest, is {' and '.join(missing)}.")
    return " ".join(said)


def not_drawn(runs: Sequence[Run]) -> list[str]:
    """Say which pictures of runs are missing, why, and what to do for them."""
    said = []
    without = [run.name for run in runs if not value_curves(run)]
    if without:
        said.append(
            f"No values along the episodes of {_listed(without)}: `step-envs annotate RUN --out RUN-values` writes them, "
            "into a run that you can report on."
        )
    uses = [(run.name, time_use(run)) for run in runs]
    untimed = [name for name, use in uses if use is None or not (use.agent_timed or use.teacher_timed)]
    if untimed:
        said.append(
            f"No picture of the time of {_listed(untimed)}: neither the agent's nor a teacher's is recorded, as for "
            "scripts and for answers from the cache."
        )
    return said


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
