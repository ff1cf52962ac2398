"""``step-envs view --terminal``: browse the episodes of runs with keys, also on a machine that one reaches by ssh alone.

Drawn by ``rich``, which is there anyway, and steered by single keys. Where the terminal does not write UTF-8, every symbol
gets one of ASCII of the same width. A run that is still written grows in the list while one reads.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult, ScreenContext
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from step_envs.cli.dashboard import clock_face
from step_envs.cli.episode_list import FILTERS, EpisodeList, EpisodeRow
from step_envs.cli.render import count, outcome_text, stop_words, turn_lines
from step_envs.cli.terminal_input import KeyReader, single_keys
from step_envs.errors import StoreError
from step_envs.runs import run_names
from step_envs.text import visible
from step_envs.trajectory import Trajectory
from step_envs.viewer.watched_runs import WatchedFigures

_LOOK_EVERY = 0.5
"""Seconds after which the size of the terminal and the run are looked at again."""
_ASCII = str.maketrans("✘✔┃│─━█░…·␛↑↓", "x+||--#.~-^^v")
_KEYS = (
    ("j k, arrows", "next, previous episode; within an episode: scroll"),
    ("space, PgUp PgDn", "a page down; a page up or down"),
    ("g G, Home End", "first, last"),
    ("Enter, right", "open the episode"),
    ("n p", "in an episode: next, previous step"),
    ("N P", "in an episode: next, previous error"),
    ("[ ]", "in an episode: previous, next episode of the list"),
    ("m", "in an episode: long turns and the manual in full, or not"),
    (" ".join(FILTERS), "list " + ", ".join(name for name, _ in FILTERS.values())),
    ("x", "episodes without a trajectory, and why"),
    ("/", "search the task ids; Enter keeps the search, Esc ends it"),
    ("Esc, left", "back"),
    ("?", "this help"),
    ("q", "quit"),
)


def browse(runs: Sequence[Path], *, plain: bool) -> None:
    """Browse the episodes of runs until the user quits.

    Args:
        runs: Run folders or trajectory files.
        plain: Without colour.

    Raises:
        ValueError: There is no terminal, or a run is named twice.
    """
    drawable = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if not drawable or find_spec("termios") is None:  # Windows has none
        raise ValueError(
            "--terminal needs a terminal that can be drawn on, for input and output: leave it out to have the run printed, "
            "or use --watch to read it in a browser."
        )
    console = Console(emoji=False, highlight=False, **({"color_system": None} if plain else {}))  # type: ignore[arg-type]
    with single_keys() as keys, console.screen(hide_cursor=True) as screen:
        _Browser(runs, console, keys, screen).run()


class _Browser:
    """The state of the browser: which view is shown, and how far it is scrolled."""

    def __init__(self, runs: Sequence[Path], console: Console, keys: KeyReader, screen: ScreenContext) -> None:
        self._names = run_names(runs)
        self._list = EpisodeList(runs)
        self._console, self._keys, self._screen = console, keys, screen
        self._view = "list"
        self._top = 0  # the first line that is shown of the list, or of an episode
        self._typing = False
        self._full = False
        self._trajectory: Trajectory | None = None
        self._lines: list[list[Segment]] = []
        self._steps: list[int] = []
        self._errors: list[int] = []
        self._drawn_at = (0, 0)
        self._said = ""

    def run(self) -> None:
        """Show and obey until the user quits."""
        known: object = None
        while True:
            news = self._list.read()
            now = (self._console.size, self._list.figures())
            key = self._keys.key(0)
            if key is None and (news or now[0] != self._drawn_at or _without_time(now[1]) != known):
                known = _without_time(now[1])
                self._draw(now[1])
            if key is None and not self._list.reading:
                key = self._keys.key(_LOOK_EVERY)
            if key is None:
                continue
            if not self._obey(key):
                return
            known = None

    # Keys.

    def _obey(self, key: str) -> bool:
        self._said = ""
        if self._typing:
            self._type(key)
        elif key == "q":
            return False
        elif self._view in ("help", "failed"):
            if self._view == "failed" and key in _SCROLLS:
                self._scroll(key)
            else:
                self._show("list")
        elif key == "?":
            self._show("help")
        elif self._view == "list":
            self._obey_in_list(key)
        else:
            self._obey_in_episode(key)
        return True

    def _obey_in_list(self, key: str) -> None:
        if key in _SCROLLS:
            self._list.move(_distance(key, self._page(), len(self._list.shown)))
        elif key in FILTERS:
            self._list.select(filter=key)
        elif key == "x":
            self._show("failed")
        elif key == "/":
            self._typing = True
        elif key == "escape":
            self._list.select(query="")
        elif key in ("enter", "right") and self._list.shown:
            self._open()

    def _obey_in_episode(self, key: str) -> None:
        if key in ("escape", "left", "backspace"):
            self._show("list")
        elif key in _SCROLLS:
            self._scroll(key)
        elif key in "np":
            self._go(self._steps, key == "n", "step")
        elif key in "NP":
            self._go(self._errors, key == "N", "error")
        elif key in "[]":
            if self._list.move(1 if key == "]" else -1):
                self._open()
            else:
                self._said = f"This is the {'last' if key == ']' else 'first'} episode of the list."
        elif key == "m":
            self._full = not self._full
            self._drawn_at = (0, 0)

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self._typing = False
            if key == "escape":
                self._list.select(query="")
        elif key == "backspace":
            self._list.select(query=self._list.query[:-1])
        elif len(key) == 1 and key.isprintable():
            self._list.select(query=self._list.query + key)

    def _scroll(self, key: str) -> None:
        self._top = max(
            0, min(len(self._lines) - self._page(), self._top + _distance(key, self._page(), len(self._lines)))
        )

    def _go(self, places: list[int], forward: bool, what: str) -> None:
        """Scroll to the next or previous of some lines."""
        here = self._top
        found = (
            next((at for at in places if at > here), None)
            if forward
            else next((at for at in reversed(places) if at < here), None)
        )
        if found is None:
            self._said = f"No {what} {'below' if forward else 'above'}."
        else:
            self._top = found

    def _show(self, view: str) -> None:
        self._view, self._top, self._drawn_at = view, 0, (0, 0)

    def _open(self) -> None:
        row = self._list.chosen()
        assert row is not None
        try:
            self._trajectory = self._list.trajectory(row)
        except StoreError as error:
            self._said = str(error)
            return
        self._show("episode")

    # Drawing.

    def _page(self) -> int:
        return max(1, self._console.height - 3)

    def _draw(self, figures: list[WatchedFigures]) -> None:
        width, height = self._console.size
        head = self._head(figures)
        if self._view == "list":
            body, foot = self._list_lines(), "Enter open  a s f e r u filter  x failed  / search  ? help  q quit"
            if self._typing:
                foot = f"Search: {self._list.query}_"
        elif self._view == "help":
            body, foot = _help(), "any key: back"
        else:
            if (width, height) != self._drawn_at:
                self._lay_out(figures)
            body = _Lines(self._lines[self._top : self._top + self._page()])
            foot = (
                "Esc back"
                if self._view == "failed"
                else "n p step  N P error  [ ] episode  m full  Esc back  ? help  q quit"
            )
            if len(self._lines) > self._page():
                foot = f"{min(100, round(100 * (self._top + self._page()) / len(self._lines)))} %  {foot}"
        self._drawn_at = (width, height)
        bottom = Text(
            visible(self._said or foot), style="yellow" if self._said else "dim", no_wrap=True, overflow="ellipsis"
        )
        self._screen.update(_Fitting(Group(*head, body), bottom))

    def _head(self, figures: list[WatchedFigures]) -> list[Text]:
        if self._view == "episode" and self._trajectory is not None:
            return self._episode_head(self._trajectory)
        rows = self._list.rows
        title = Text(visible(" and ".join(self._names)), style="bold", no_wrap=True, overflow="ellipsis")
        successes = sum(row.success for row in rows)
        share = f", {successes / len(rows):.0%} successful" if rows else ""
        title.append(f"  {'; '.join(map(_state, figures))}{share}", "default not bold")
        problem = next((one.problem for one in figures if one.problem), None)
        if problem is not None:
            title.append(f"  {visible(problem)}", "yellow")
        if self._view != "list":
            return [title, Text()]
        unfiltered = self._list.filter == "a" and not self._list.query
        chosen = "" if unfiltered else f"   {len(self._list.shown):,} of {len(rows):,}: {FILTERS[self._list.filter][0]}"
        if self._list.query:
            chosen += f" {visible(self._list.query)!r}"
        columns = f" {'Ep':>5} {'Ended by':<15} Score Steps Errors      ?  Task{chosen}"
        return [title, Text(columns, style="dim underline", no_wrap=True, overflow="ellipsis")]

    def _episode_head(self, one: Trajectory) -> list[Text]:
        number = "" if one.episode is None else f"  episode {one.episode}"
        title = Text.assemble((visible(one.task_id), "bold"), number, no_wrap=True, overflow="ellipsis")
        facts = Text.assemble(outcome_text(one), f"  score {one.score:.2f}  {count(one.steps, 'step')}", no_wrap=True)
        if one.errors:
            corrected = sum(turn.kind == "correction" for turn in one.turns)
            facts.append(f"  {count(one.errors, 'error')}, {corrected} corrected", "red")
        if one.unknown_verdicts:
            facts.append(f"  {one.unknown_verdicts} without verdict", "yellow")
        facts.append(f"  {self._list.at + 1:,} of {len(self._list.shown):,}", "dim")
        return [title, facts]

    def _list_lines(self) -> RenderableType:
        page = self._page()
        self._top = min(max(self._top, self._list.at - page + 1), self._list.at)
        rows = self._list.shown[self._top : self._top + page]
        if rows:
            return Group(*(_row_text(row, chosen=self._top + at == self._list.at) for at, row in enumerate(rows)))
        if self._list.reading and not self._list.rows:
            return Text("Reading ...", style="dim")
        if self._list.rows:
            return Text("No episode fits: a lists all.", style="dim")
        return Text("No episode is written yet. They appear here as they end.", style="dim")

    def _lay_out(self, figures: list[WatchedFigures]) -> None:
        """Break the episode, or the failures, into lines for the width that there is."""
        options = self._console.options.update(width=max(20, self._console.width - 1))
        if self._view == "failed":
            self._lines = self._console.render_lines(self._failed(), options)
            return
        assert self._trajectory is not None
        one = self._trajectory
        shown = turn_lines(one.turns, full=self._full, taught=one.teacher is not None)
        self._lines = self._console.render_lines(shown, options)
        # The first column holds the number of a step, where it begins.
        begins = [at for at, line in enumerate(self._lines) if "".join(s.text for s in line)[:3].strip().isdigit()]
        replies = [turn for turn in one.turns if turn.role == "assistant" and turn.kind != "instruction"]
        self._steps = begins
        self._errors = [at for at, turn in zip(begins, replies, strict=False) if turn.kind == "error"]
        self._top = max(0, min(self._top, len(self._lines) - 1))

    def _failed(self) -> RenderableType:
        groups = self._list.failures()
        if not groups:
            return Text("No episode has failed: each that was played has a trajectory.")
        lines: list[Text] = []
        for group in groups:
            lines += [
                Text(f"{group.episodes:,} x {visible(group.example.reason)}", style="red"),
                Text(f"    for example episode {group.example.episode}, {visible(group.example.task_id)}", style="dim"),
                Text(f"    {group.advice}"),
                Text(),
            ]
        return Group(*lines)


_SCROLLS = {"j", "k", "up", "down", "pageup", "pagedown", " ", "home", "end", "g", "G"}


def _distance(key: str, page: int, everything: int) -> int:
    """Return how far a key moves, in lines."""
    return {
        "j": 1, "down": 1, "k": -1, "up": -1, "pagedown": page, " ": page, "pageup": -page,
        "home": -everything, "g": -everything, "end": everything, "G": everything,
    }[key]  # fmt: skip


def _row_text(row: EpisodeRow, *, chosen: bool) -> Text:
    ended = stop_words(row.stop)
    text = Text(no_wrap=True, overflow="ellipsis", style="reverse" if chosen else "")
    text.append(f"{'>' if chosen else ' '}{'-' if row.episode is None else row.episode:>5} ")
    text.append(f"{ended:<15} ", "bold green" if row.success else "yellow")
    text.append(f"{row.score:5.2f} {row.steps:5} ")
    text.append(f"{f'{row.errors}, {row.corrected} corr.' if row.errors else '':<12}", "red")
    text.append(f"{row.unknown or '':>1}  ", "yellow")
    text.append(visible(row.task))
    return text


def _state(figures: WatchedFigures) -> str:
    """Say how far a run is."""
    if figures.state == "waiting":
        return "nothing is written yet"
    done = f"{figures.episodes:,}" + ("" if figures.planned is None else f" of {figures.planned:,}")
    text = f"{done} episode{'' if done == '1' else 's'}"
    if figures.failed:
        text += f", {figures.failed:,} failed (x)"
    if figures.state == "running" and figures.left is not None:
        text += f", about {clock_face(figures.left)} left"
    return text


def _without_time(figures: list[WatchedFigures]) -> list[WatchedFigures]:
    return [one._replace(quiet=None) for one in figures]


def _help() -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for keys, what in _KEYS:
        grid.add_row(Text(keys), Text(what))
    return grid


class _Lines:
    """Lines that were laid out before."""

    def __init__(self, lines: list[list[Segment]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            yield from line
            yield Segment.line()


class _Fitting:
    """Fills the screen with a body and a last line, in characters that the terminal can write."""

    def __init__(self, body: RenderableType, bottom: Text) -> None:
        self._body, self._bottom = body, bottom

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, console.height
        body = console.render_lines(self._body, options.update(height=None), pad=True)
        lines = Segment.set_shape(body, width, height - 1) + console.render_lines(
            self._bottom, options.update(height=1)
        )
        for at, line in enumerate(lines[:height]):
            yield from line if not options.ascii_only else [_in_ascii(segment) for segment in line]
            if at < height - 1:
                yield Segment.line()


def _in_ascii(segment: Segment) -> Segment:
    text = "".join(one if one.isascii() else "?" * cell_len(one) for one in segment.text.translate(_ASCII))
    return Segment(text, segment.style, segment.control)
