"""What one sees of a collection while it runs: figures that are redrawn in place, and nothing where nobody looks."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from step_envs.cli.render import count, stopped
from step_envs.statistics import wilson
from step_envs.text import visible

if TYPE_CHECKING:
    from step_envs.collection.collector import Progress
    from step_envs.trajectory import Trajectory

_LATEST = 3


class Dashboard:
    """Draws how far a collection is, in a terminal; elsewhere it is quiet.

    It appears when the run begins, so that what is refused before is refused without it.

    Args:
        console: Where it draws.
        title: What is collected.
        clock: Gives the time in seconds; another one for tests.
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

    def begin(self, figures: "Progress") -> None:
        """Appear: the run has begun, with what it may hold already."""
        self._figures, self._before, self._began = figures, figures.kept, self._clock()
        if self._console.is_terminal:
            self._live = Live(get_renderable=self.draw, console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    def note(self, figures: "Progress", trajectory: "Trajectory | None") -> None:
        """Take the figures after an episode, and its trajectory, None for a failure."""
        self._figures = figures
        if trajectory is not None:
            text = Text.assemble(stopped(trajectory), f" {trajectory.score:.2f}  ", visible(trajectory.task_id))
            if trajectory.errors:
                text.append(f"  {count(trajectory.errors, 'error')}", "red")
            self._latest.append(text)

    def draw(self) -> RenderableType:
        """Draw the figures as they are now."""
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
        """Disappear; what is said afterwards stands where it was."""
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
