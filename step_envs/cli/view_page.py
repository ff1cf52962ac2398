"""The HTML file of ``step-envs view``: where it goes, and what is said of it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.errors import StoreError

if TYPE_CHECKING:
    from step_envs.trajectory import Trajectory
    from step_envs.viewer import Page, Written


_LONGEST_NAME = 120  # bytes; file systems take 255, those that encrypt about 140


class PageWriter:
    """Takes the trajectories that are shown, and writes them as HTML at the end.

    Args:
        runs: The runs.
        path: Where the user wants the file; None leaves it to the runs' own folder.
        tokens: Tokenizer of the token view.
        offered: Write one even though none was asked for.

    Raises:
        ValueError: A run is named twice, or tokens are wanted and no file is.
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
        """Take a trajectory of a run."""
        self.kept += 1
        if self._page is not None:
            self._page.add(self._runs[run], trajectory)

    def finish(self, console: Any, *, quiet: bool) -> None:
        """Write the file, if there is to be one and something for it to hold, and say so.

        Raises:
            StoreError: It was asked for and cannot be written.
        """
        from step_envs.cli.render import visible

        if self._page is None or not self.kept:
            return
        try:
            written = self._page.write(self._path)
        except StoreError as error:
            if self._asked:
                raise
            # A run may lie where nothing can be written; looking at it is no less possible for that.
            text = f"{error} Name another place with --html FILE, or leave it with --no-html."
            console.print(visible(text), style="yellow", markup=False, soft_wrap=True)
            return
        if not quiet:
            console.print(visible(_said(written)), markup=False, soft_wrap=True)


def default_path(runs: Sequence[Path]) -> Path:
    """Say where the file goes when the user does not: into the first run, named after the others where there are any."""
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


def _said(written: "Written") -> str:
    text = f"To read in a browser: {written.path} ({written.size / 1e6:.1f} MB)"
    if written.token_size:
        text += (
            f"; tokens of {written.tokenized} of {written.trajectories} trajectories, {written.token_size / 1e6:.1f} MB"
        )
    return text
