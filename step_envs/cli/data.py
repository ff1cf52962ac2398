"""``step-envs data``: get official data, check it, and put it where its environment looks for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

_WORLDS = {
    "alfworld": "step_envs.alfworld.download",
    "sciworld": "step_envs.sciworld.download",
    "webshop": "step_envs.webshop.download",
}
"""World -> its module with ``get_data`` and ``DATA_OPTIONS``; see ``step_envs.official_data``."""

_OPTION_NAMES = {
    "source": "--from",
    "which": "--set",
    "products": "--products",
    "name": "--name",
    "overwrite": "--overwrite",
}
"""Option of ``get_data`` -> how it is written on the command line."""


def data(
    name: Annotated[
        str,
        typer.Argument(
            help="What to get: alfworld (the games), webshop (products and goals) or sciworld (comes with its package).",
            autocompletion=lambda: list(_WORLDS),
        ),
    ],
    to: Annotated[Path | None, typer.Option(help="Folder to put it in; the world's usual one if not given.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="webshop: folder with the official files; downloaded if not given.")
    ] = None,
    which: Annotated[
        str | None, typer.Option("--set", help="webshop: what to download, small (1,000 products) or all (1,181,436).")
    ] = None,
    products: Annotated[
        int | None, typer.Option(min=1, help="webshop: import only the first so many products.")
    ] = None,
    called: Annotated[
        str | None, typer.Option("--name", help="webshop: what task ids call it; the folder's name if not given.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="webshop: replace an existing catalogue.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Download or import official data, check it, and put it where its environment looks for it.

    An interrupted download continues where it stopped. Data that is already there is not downloaded again.

    Exit codes: 0 done, 2 wrong input, no network, or damaged data.

    Examples: step-envs data alfworld; step-envs data webshop --from WebShop/data
    """
    from step_envs.errors import unknown_name

    if name not in _WORLDS:
        raise unknown_name("data set", name, _WORLDS)
    download = import_module(_WORLDS[name])
    given = {"source": source, "which": which, "products": products, "name": called, "overwrite": overwrite or None}
    options = {option: value for option, value in given.items() if value is not None}
    _refuse_others(name, options, download.DATA_OPTIONS)
    with _bars() as bars:
        report = download.get_data(to, progress=bars, **options)
    if as_json:
        typer.echo(
            json.dumps({"data": name, "folder": str(report.folder), "counts": dict(report.counts), **report.more})
        )
        return
    listed = ", ".join(f"{split} {count:,}" for split, count in report.counts.items())
    typer.echo(f"{report.sentence}: {listed}.")
    if report.hint is not None:
        typer.echo(report.hint)


def _refuse_others(world: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    """Refuse options that a world does not have."""
    wrong = [_OPTION_NAMES[option] for option in options if option not in known]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be used with {world}: it is for webshop.")


@contextmanager
def _bars() -> Iterator["_Bars"]:
    """Show progress bars on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), "{task.fields[detail]}", TimeElapsedColumn())
    with Progress(*columns, console=Console(emoji=False, stderr=True), transient=True) as progress:
        yield _Bars(progress)


class _Bars:
    """Shows one progress bar per file or task."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def bytes(self, file: str, done: int, total: int | None) -> None:
        """Show the progress of a download."""
        from rich.filesize import decimal

        self._show(file, done, total, decimal(done) + (f" of {decimal(total)}" if total else ""))

    def items(self, what: str, done: int, total: int | None) -> None:
        """Show the number of products that are done."""
        self._show(what, done, total, f"{done:,} products")

    def _show(self, what: str, done: int, total: int | None, detail: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, detail="")
        self._progress.update(self._tasks[what], completed=done, total=total, detail=detail)
