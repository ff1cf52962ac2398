"""The display of a running collection: figures that are redrawn in place in a terminal, and nothing elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Iterator
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

from step_envs.cli.exit_codes import INTERRUPTED, STOPPED
from step_envs.cli.render import count, outcome_text
from step_envs.errors import BudgetSpentError, ClusterError, EndpointError
from step_envs.statistics import wilson
from step_envs.text import visible

if TYPE_CHECKING:
    from step_envs.collection.collector import Progress
    from step_envs.trajectory import Trajectory

_LATEST = 3
_MOST_REASONS = 5


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
            yield dashboard
        except (BudgetSpentError, EndpointError, ClusterError) as error:
            dashboard.close()
            Console(stderr=True, soft_wrap=True).print(
                f"{visible(str(error))}\nStopped; what was {done} is kept. Add --resume to go on with {out}.",
                markup=False,
            )
            raise typer.Exit(STOPPED) from None
        except KeyboardInterrupt:
            dashboard.close()
            console.print(f"Stopped. Add --resume to the same command to go on with {out}.", markup=False)
            raise typer.Exit(INTERRUPTED) from None


class Dashboard:
    """Draws the progress of a collection in a terminal; prints nothing elsewhere.

    It appears when the run begins, so that an error before that is shown without it.

    Args:
        console: Where to draw.
        title: What is collected.
        clock: Returns the time in seconds; tests pass their own.
    """

    def __init__(self, console: Console, title: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._title = title
        self._clock = clock
        self._live: Live | None = None
        self._figures: Progress | None = None
        self._began = clock()
        self._before = 0
        self._latest: deque[Text] = deque(maxlen=_LATEST)
        self._told: set[str] = set()

    def begin(self, figures: "Progress") -> None:
        """Appear, when the run has begun; ``figures`` hold what was there before."""
        self._figures, self._before, self._began = figures, figures.kept, self._clock()
        if self._console.is_terminal:
            self._live = Live(get_renderable=self.draw, console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    def note(self, figures: "Progress", trajectory: "Trajectory | None") -> None:
        """Show the figures after an episode, and its trajectory; None for a failed episode."""
        self._figures = figures
        if trajectory is not None:
            text = Text.assemble(outcome_text(trajectory), f" {trajectory.score:.2f}  ", visible(trajectory.task_id))
            if trajectory.errors:
                text.append(f"  {count(trajectory.errors, 'error')}", "red")
            self._latest.append(text)
        elif figures.last_problem not in self._told:
            # The reason is said when it happens and once, and not only in failures.jsonl.
            self._told.add(figures.last_problem)
            if len(self._told) <= _MOST_REASONS:
                self._console.print(
                    visible(f"An episode failed: {figures.last_problem}"), markup=False, highlight=False
                )

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
            Text(self._time_left(figures), style="dim"),
        )
        grid.add_row("episodes", bar)
        for name, text in self._lines(figures):
            grid.add_row(name, text)
        for at, text in enumerate(reversed(self._latest)):
            text.no_wrap, text.overflow = True, "ellipsis"
            grid.add_row("" if at else "latest", text)
        title = Text(visible(self._title), style="bold")
        return Panel(
            grid,
            title=title,
            title_align="left",
            box=box.ROUNDED,
            border_style="dim",
            width=min(100, self._console.width),
        )

    def close(self) -> None:
        """Disappear; what is printed next takes its place."""
        if self._live is not None:
            self._live.stop()
            self._live = None

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
            lines.append(("failed", Text(f"{count(figures.failed, 'episode')}; see failures.jsonl", style="red")))
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
        text = _clock_face(passed)
        if done and figures.kept < figures.planned:
            text += f", about {_clock_face(passed / done * (figures.planned - figures.kept))} left"
        return text


def _clock_face(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
