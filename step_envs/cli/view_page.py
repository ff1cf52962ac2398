"""Write the HTML file of ``step-envs view``: choose its place, and report it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.errors import StoreError

if TYPE_CHECKING:
    from step_envs.collection.failures import FailedEpisode
    from step_envs.trajectory import Trajectory
    from step_envs.viewer import Page, WrittenPage


_LONGEST_NAME = 120  # bytes; file systems allow 255, encrypted ones about 140


class PageWriter:
    """Collects the trajectories that are shown, and writes them as HTML at the end.

    Args:
        runs: The runs.
        path: The file that the user named; None puts it into the folder of the first run.
        tokens: Tokenizer of the token view.
        offered: Write a file even if the user named none.

    Raises:
        ValueError: A run is named twice, or tokens are asked for and no file is written.
    """

    def __init__(self, runs: Sequence[Path], path: Path | None, *, tokens: str | None, offered: bool) -> None:
        self.kept = 0
        self._asked = path is not None
        if tokens is not None and not (offered or self._asked):
            raise ValueError("--tokens is for the HTML file: say with --html FILE where it is to go.")
        self._runs = {run: number for number, run in enumerate(runs)}
        self._path = default_path(runs) if path is None else path
        self._page = _page(runs, tokens) if offered or self._asked else None

    def add(self, run: Path, trajectory: "Trajectory") -> None:
        """Add a trajectory of a run."""
        self.kept += 1
        if self._page is not None:
            self._page.add(self._runs[run], trajectory)

    def add_failures(self, run: Path, failed: "Sequence[FailedEpisode]") -> None:
        """Add the episodes of a run that have no trajectory."""
        from step_envs.collection.failures import FailureGroups

        if self._page is not None:
            self._page.add_failures(self._runs[run], FailureGroups(failed).groups())

    def finish(self, console: Any, *, quiet: bool) -> None:
        """Write the file, if one is wanted and there is a trajectory, and report it.

        Raises:
            StoreError: The user named the file and it cannot be written.
        """
        from step_envs.cli.render import visible

        if self._page is None or not self.kept:
            return
        try:
            written = self._page.write(self._path)
        except StoreError as error:
            if self._asked:
                raise
            # A run may be in a folder without write access. It can still be shown in the terminal.
            text = f"{error} Name another place with --html FILE, or leave it with --no-html."
            console.print(visible(text), style="yellow", markup=False, soft_wrap=True)
            return
        if not quiet:
            console.print(visible(_report_line(written)), markup=False, soft_wrap=True)


def default_path(runs: Sequence[Path]) -> Path:
    """Return the default path of the file: in the first run, named after the other runs if there are any."""
    first, *others = [run.parent if run.name == "trajectories.jsonl" else run for run in runs]
    names = [os.path.basename(os.path.abspath(run)).removesuffix(".jsonl") for run in others]  # noqa: PTH100, PTH119
    name = "-".join(["view", *(["with", *names] if names else [])])
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"view-with-{len(names)}-others"
    return first.with_suffix(".html") if first.is_file() else first / f"{name}.html"


def _page(runs: Sequence[Path], tokenizer: str | None) -> "Page":
    from step_envs.viewer import Page

    if tokenizer is None:
        return Page(runs)
    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.viewer.tokens import TokenPacker

    return Page(runs, tokens=TokenPacker(load_tokenizer(tokenizer), tokenizer))


def _report_line(written: "WrittenPage") -> str:
    text = f"To read in a browser: {written.path} ({written.size / 1e6:.1f} MB)"
    if written.token_size:
        text += (
            f"; tokens of {written.tokenized} of {written.trajectories} trajectories, {written.token_size / 1e6:.1f} MB"
        )
    return text
