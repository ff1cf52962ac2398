"""``step-envs data``: gets official data, checks it, and puts it where its environment looks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

WORLDS = ("alfworld", "webshop")


@dataclass(frozen=True, slots=True)
class _Got:
    """What a world got, to be told.

    Attributes:
        folder: Where it is.
        counts: Tasks by split.
        sentence: What is there.
        hint: How to use it, where an environment does not find it by itself.
        more: Further values for ``--json``.
    """

    folder: Path
    counts: dict[str, int]
    sentence: str
    hint: str | None
    more: dict[str, Any]


def data(
    name: Annotated[str, typer.Argument(help="What to get: alfworld (the games) or webshop (products and goals).")],
    to: Annotated[Path | None, typer.Option(help="Folder to put it in; the world's usual one if not given.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="webshop: folder with the official files; downloaded if not given.")
    ] = None,
    which: Annotated[
        str | None, typer.Option("--set", help="webshop: what to download, small (1,000 products) or all (1,181,436).")
    ] = None,
    products: Annotated[int | None, typer.Option(min=1, help="webshop: take only the first so many products.")] = None,
    called: Annotated[
        str | None, typer.Option("--name", help="webshop: what task ids call it; the folder's name if not given.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="webshop: replace a catalogue that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Download official data or import it from files, check it, and put it where its environment looks for it.

    A download that broke off goes on where it stopped. What is there already is not fetched again.

    Exit codes: 0 done, 2 wrong input, no network, or damaged data.

    Examples: step-envs data alfworld; step-envs data webshop --from WebShop/data
    """
    from step_envs.errors import unknown_name

    if name not in WORLDS:
        raise unknown_name("data set", name, WORLDS)
    if name == "webshop":
        got = _webshop(to, source, which, products, called, overwrite)
    else:
        _refuse(name, {"--from": source, "--set": which, "--products": products, "--name": called}, overwrite)
        got = _alfworld(to)
    if as_json:
        typer.echo(json.dumps({"data": name, "folder": str(got.folder), "counts": got.counts, **got.more}))
        return
    listed = ", ".join(f"{split} {count:,}" for split, count in got.counts.items())
    typer.echo(f"{got.sentence}: {listed}.")
    if got.hint is not None:
        typer.echo(got.hint)


def _refuse(name: str, given: dict[str, object], overwrite: bool) -> None:
    """Refuse options that a world does not have."""
    wrong = [option for option, value in given.items() if value is not None] + ["--overwrite"] * overwrite
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be used with {name}: it is for webshop.")


def _alfworld(to: Path | None) -> _Got:
    from step_envs.alfworld.download import GAMES_URL, download_games
    from step_envs.alfworld.tasks import OfficialTasks

    file = GAMES_URL.rpartition("/")[2]
    with _bars() as bars:
        folder = download_games(to, progress=lambda done, total: bars.bytes(file, done, total))
    counts = {split: found for split, (found, _) in OfficialTasks(folder).counts().items()}
    hint = None if to is None else f"To play them, set ALFWORLD_DATA={to} or name them with data_path=."
    return _Got(folder, counts, f"The official games are in {folder}", hint, {})


def _webshop(
    to: Path | None, source: Path | None, which: str | None, limit: int | None, called: str | None, overwrite: bool
) -> _Got:
    from step_envs.webshop.tasks import WebShopTasks

    if source is not None and which is not None:
        raise ValueError("--set says what to download, and --from that nothing is: give one of them.")
    options = {"name": called, "limit": limit, "overwrite": overwrite}
    catalogue = _downloaded(to, which or "small", options) if source is None else _imported(to, source, options)
    tasks = WebShopTasks(catalogue)
    goals = catalogue.manifest["goals"]
    return _Got(
        catalogue.folder,
        {split: len(tasks.numbers(split)) for split in tasks.splits},
        f"The catalogue {catalogue.name!r} is in {catalogue.folder}: {len(catalogue):,} products, "
        f"{goals['synthetic']:,} synthetic and {goals['human']:,} human goals. Splits of the {tasks.kind} goals",
        _webshop_hint(catalogue.folder),
        {"name": catalogue.name, "products": len(catalogue), "goals": goals},
    )


def _imported(to: Path | None, source: Path, options: dict[str, Any]) -> Any:
    from step_envs.webshop.catalogue.importer import find_files, import_files
    from step_envs.webshop.download import SETS

    files = find_files(source.expanduser())
    known = {official.products.name: official.records for official in SETS.values()}
    total = options["limit"] or known.get(files[0].name)
    target = _webshop_target(to, files[0].name, options["limit"])
    with _bars() as bars:
        return import_files(*files, target, progress=lambda count: bars.products("Importing", count, total), **options)


def _downloaded(to: Path | None, which: str, options: dict[str, Any]) -> Any:
    from step_envs.errors import unknown_name
    from step_envs.webshop.download import SETS, download_catalogue

    if which not in SETS:
        raise unknown_name("set of products", which, SETS)
    target = _webshop_target(to, SETS[which].products.name, options["limit"])
    total = SETS[which].records
    with _bars() as bars:
        return download_catalogue(
            which,
            target,
            progress=bars.bytes,
            product_progress=lambda what, done: bars.products(what, done, total),
            **options,
        )


def _webshop_target(to: Path | None, file: str, limit: int | None) -> Path:
    from step_envs.webshop.catalogue.sources import import_target

    if to is not None:
        return to.expanduser().resolve()
    size = file.removesuffix(".json").removeprefix("items_shuffle").lstrip("_") or "all"
    return import_target(f"official-{size}" + (f"-first-{limit}" if limit else ""))


def _webshop_hint(folder: Path) -> str | None:
    from step_envs.webshop.catalogue.sources import named_data

    if named_data() == folder:
        return None
    return f"To shop in it, set WEBSHOP_DATA={folder} or name it with data_path=."


@contextmanager
def _bars() -> Iterator["_Bars"]:
    """Show progress on standard error while it lasts."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), "{task.fields[detail]}", TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bars(progress)


class _Bars:
    """A bar for each thing that is told of."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def bytes(self, file: str, done: int, total: int | None) -> None:
        """Show how far a download is."""
        from rich.filesize import decimal

        self._show(file, done, total, decimal(done) + (f" of {decimal(total)}" if total else ""))

    def products(self, what: str, done: int, total: int | None) -> None:
        """Show to how many products something was done."""
        self._show(what, done, total, f"{done:,} products")

    def _show(self, what: str, done: int, total: int | None, detail: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, detail="")
        self._progress.update(self._tasks[what], completed=done, total=total, detail=detail)
