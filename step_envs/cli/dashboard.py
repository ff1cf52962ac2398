"""The display of a running collection: figures that are redrawn in place in a terminal, and a line now and then elsewhere.

A log file must not be empty for minutes, and must not fill with drawings either. So where there is no terminal, a plain
line is printed at the start, every half a minute, and at once when an episode fails for a new reason or Ctrl-C is pressed.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from step_envs.cli.exit_codes import INTERRUPTED, SOME_FAILED, STOPPED
from step_envs.cli.render import count, outcome_text
from step_envs.errors import BudgetSpentError, ClusterError, EndpointError, shortened
from step_envs.statistics import wilson
from step_envs.text import visible

if TYPE_CHECKING:
    from step_envs.collection.progress import Progress
    from step_envs.trajectory import Trajectory

_LATEST = 3
_LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""
_TICK = 0.2
"""Seconds after which a Ctrl-C is noticed at the latest."""
_PUT_AWAY = 1.5
"""Seconds that episodes have to end by themselves after the second Ctrl-C."""
_ROOM_FOR_CTRL_C = 4
"""Columns that stay free at the right. The terminal writes ``^C`` there; if that began a new line, the top of the panel
would stay behind when the panel is removed."""


@contextmanager
def watched_run(console: Console, title: str, out: Path, *, done: str) -> "Iterator[Dashboard]":
    """Show a dashboard while a run goes on; if it stops early, say why in a sentence and exit with the code for that.

    Args:
        console: Where to draw.
        title: What is run.
        out: Folder of the run.
        done: What was done until then, for the sentence: ``"collected"``.
    """
    with Dashboard(console, title) as dashboard:
        try:
            with _ended_by_second_interrupt(dashboard, console, out):
                yield dashboard
        except (BudgetSpentError, EndpointError, ClusterError) as error:
            dashboard.close()
            Console(emoji=False, stderr=True, soft_wrap=True).print(
                f"{visible(str(error))}\nStopped; what was {done} is kept. Add --resume to go on with {out}.",
                markup=False,
            )
            raise typer.Exit(STOPPED) from None
        except KeyboardInterrupt:
            dashboard.close()
            console.print(_stopped(out), markup=False, soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _ended_by_second_interrupt(dashboard: "Dashboard", console: Console, out: Path) -> Iterator[None]:
    """End the process soon after the second Ctrl-C, whatever an episode in play is waiting for.

    Episodes that play in this process end at their next step, and then everything is put away in order. One that waits for
    a model that does not answer would keep the process for minutes. What is on disk is whole at any moment.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_TICK):
            if dashboard.interrupts > 1 and not ended.wait(_PUT_AWAY):
                dashboard.close()
                console.print(_stopped(out), markup=False, soft_wrap=True)
                console.file.flush()
                os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True, name="second Ctrl-C").start()
    try:
        yield
    finally:
        ended.set()


def _stopped(out: Path) -> str:
    return f"Stopped. Add --resume to the same command to go on with {out}."


def exit_if_incomplete(runs: "Sequence[Progress]") -> None:
    """Exit with ``SOME_FAILED`` if episodes of a run are missing, or if it is of no use; then say in a sentence why."""
    sentences = dict.fromkeys(filter(None, (run.of_no_use() for run in runs)))
    for sentence in sentences:
        Console(emoji=False, stderr=True, soft_wrap=True).print(visible(sentence), markup=False, highlight=False)
    if sentences or any(run.failed for run in runs):
        raise typer.Exit(SOME_FAILED)


class Dashboard:
    """Draws the progress of a collection in a terminal; prints a plain line now and then elsewhere.

    It appears when the run begins, so that an error before that is shown without it.

    Args:
        console: Where to draw.
        title: What is collected.
        clock: Returns the time in seconds; tests pass their own.

    Attributes:
        runs: The figures of every run that began.
    """

    def __init__(self, console: Console, title: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._title = title
        self._clock = clock
        self._live: Live | None = None
        self._figures: Progress | None = None
        self.runs: list[Progress] = []
        self._began = clock()
        self._before = 0
        self._latest: deque[Text] = deque(maxlen=_LATEST)
        self._closed = threading.Event()
        self._ticker: threading.Thread | None = None
        self._printed = clock()
        self._interrupts = 0
        self._told: set[str] = set()

    @property
    def interrupts(self) -> int:
        """How often Ctrl-C was pressed in the run that goes on."""
        return 0 if self._figures is None else self._figures.interrupts

    def begin(self, figures: "Progress") -> None:
        """Appear, when the run has begun; ``figures`` hold what was there before."""
        self.close()
        self._figures, self._before, self._began = figures, figures.kept, self._clock()
        self.runs.append(figures)
        self._interrupts = 0
        if self._console.is_terminal:
            self._live = Live(get_renderable=self.draw, console=self._console, transient=True, refresh_per_second=4)
            self._live.start()
            return
        self._print(f"{self._title}: {self.line()}")
        self._closed.clear()
        self._ticker = threading.Thread(target=self._tick, daemon=True, name="progress lines")
        self._ticker.start()

    def tick(self) -> None:
        """Print a line if it is time for one, or if Ctrl-C was pressed; for where there is no terminal."""
        figures = self._figures
        assert figures is not None
        if figures.interrupts != self._interrupts:
            self._interrupts = figures.interrupts
            self._print(_stopping(figures))
        elif self._clock() - self._printed >= _LINE_EVERY:
            self._print(self.line())

    def line(self) -> str:
        """Return the current figures as one line of text."""
        figures = self._figures
        assert figures is not None
        parts = [f"{figures.kept:,} of {count(figures.planned, 'episode')}", self._time_left(figures)]
        parts += [f"{name} {text.plain}" for name, text in self._lines(figures)]
        return "; ".join(parts)

    def note(self, figures: "Progress", trajectory: "Trajectory | None") -> None:
        """Show the figures after an episode, and its trajectory; None for a failed episode."""
        self._figures = figures
        if self._ticker is not None:
            for reason in figures.reasons:
                if reason not in self._told and len(self._told) < _LATEST:
                    self._print(f"An episode failed: {shortened(' '.join(reason.split()), 1000)}")
                self._told.add(reason)
        if trajectory is not None:
            text = Text.assemble(outcome_text(trajectory), f" {trajectory.score:.2f}  ", visible(trajectory.task_id))
            if trajectory.errors:
                text.append(f"  {count(trajectory.errors, 'error')}", "red")
            self._latest.append(text)

    def draw(self) -> RenderableType:
        """Draw the current figures."""
        figures = self._figures
        assert figures is not None
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(ratio=1, overflow="ellipsis")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=figures.planned, completed=figures.kept, width=34),
            f"{figures.kept:,} of {figures.planned:,}",
        )
        grid.add_row("episodes", bar)
        grid.add_row("time", Text(self._time_left(figures)))
        for name, text in self._lines(figures):
            grid.add_row(name, text)
        for at, text in enumerate(reversed(self._latest)):
            text.no_wrap, text.overflow = True, "ellipsis"
            grid.add_row("" if at else "latest", text)
        if figures.interrupts:
            grid.add_row("stopping", Text(_stopping(figures), style="bold yellow", overflow="fold"))
        title = Text(visible(self._title), style="bold")
        return Panel(
            grid,
            title=title,
            title_align="left",
            box=box.ROUNDED,
            border_style="dim",
            width=max(20, min(100, self._console.width - _ROOM_FOR_CTRL_C)),
        )

    def close(self) -> None:
        """Disappear; what is printed next takes its place."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._ticker is not None:
            self._closed.set()
            self._ticker.join()
            self._ticker = None
            self.tick()
            self._print(self.line())

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            self.tick()

    def _print(self, text: str) -> None:
        self._printed = self._clock()
        self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lines(self, figures: "Progress") -> list[tuple[str, Text]]:
        share = wilson(figures.successes, figures.kept)
        lines = []
        if share.value is not None and share.low is not None and share.high is not None:
            text = Text.assemble(
                (f"{share.value:.0%}", "bold green"), f"  between {share.low:.0%} and {share.high:.0%}"
            )
            lines.append(("success", text))
            corrected = f"{figures.corrections:,} of {figures.errors:,} corrected"
            lines.append(("errors", Text(f"{figures.errors / figures.kept:.2f} an episode, {corrected}")))
        if figures.unknown:
            lines.append(("no verdict", Text(count(figures.unknown, "step"), style="yellow")))
        if figures.failed:
            lines.append(("failed", Text(f"{count(figures.failed, 'episode')}", style="red")))
        if figures.reasons:
            reason = Text(shortened(visible(_last(figures.reasons))), style="red", no_wrap=True, overflow="ellipsis")
            lines.append(("reason", reason))
        if figures.paid is not None:
            lines.append(("paid", Text(self._paid(figures))))
        return lines

    def _paid(self, figures: "Progress") -> str:
        paid = figures.paid
        assert paid is not None
        text = f"{paid.prompt_tokens:,} tokens read, {paid.completion_tokens:,} written"
        if paid.cost is not None:
            text += f", ${paid.cost:.2f}"
            if 0 < figures.kept < figures.planned:
                text += f" (about ${paid.cost * figures.planned / figures.kept:.2f} in all)"
        return text

    def _time_left(self, figures: "Progress") -> str:
        passed = self._clock() - self._began
        done = figures.kept - self._before
        text = clock_face(passed)
        if done and passed > 0:
            text += f", {done / passed * 60:,.3g} a minute"
        if done and figures.kept < figures.planned:
            text += f", about {clock_face(passed / done * (figures.planned - figures.kept))} left"
        return text


def _stopping(figures: "Progress") -> str:
    """Say what is waited for since Ctrl-C was pressed, and what pressing it again does."""
    waited = count(figures.in_flight, "episode")
    kept = "Nothing that is written is lost"
    if figures.interrupts == 1:
        return f"Stopping: waiting for {waited} in play to end; press Ctrl-C again to leave them. {kept}."
    return f"Stopping: leaving {waited}. {kept}; --resume plays them again."


def _last(reasons: Iterable[str]) -> str:
    return " ".join(list(reasons)[-1].split())  # a list at once, for another thread may add to them


def clock_face(seconds: float) -> str:
    """Write seconds as on a clock: ``3:05`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
