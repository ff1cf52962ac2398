"""``step-envs export``: write trajectories in formats that training code reads."""

import json
from pathlib import Path
from typing import Annotated

import typer


def export(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="File to write; for datasets and minari, the folder.", show_default=False)],
    form: Annotated[
        str, typer.Option("--format", help="messages, sharegpt, parquet, datasets or minari; see above.")
    ] = "messages",
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="Only episodes with this outcome; see `step-envs view --help`; repeatable."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write trajectories in another format, with the loss weight of every turn.

    messages: JSON Lines of {"messages": [{"role", "content", "loss"}], ...}.

    sharegpt: a JSON list of {"id", "conversations": [{"from", "value", "loss"}]}, as ETO's data.

    parquet: one table, with kind, action, score and verdict of every turn.

    datasets: the same table as a folder for datasets.load_from_disk.

    minari: episodes of one environment, as a folder for minari.MinariDataset: observations are texts, actions whole
    replies.

    parquet and datasets need pip install "step-envs[data]", minari needs pip install "step-envs[minari]". A file is written
    whole or not at all, and the same trajectories give the same bytes.

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs export runs/boil --format sharegpt --out boil.json
    """
    from rich.console import Console

    from step_envs.cli.inputs import selector
    from step_envs.exports import export as write
    from step_envs.trajectory import Trajectory

    wanted = selector(outcome)
    read = kept = 0
    with Console(stderr=True).status("Reading ...") as status:

        def keep(trajectory: Trajectory) -> bool:
            nonlocal read, kept
            read += 1
            chosen = wanted(trajectory)
            kept += chosen
            status.update(f"{read} trajectories read, {kept} kept")
            return chosen

        rows = write(runs, out, form, overwrite=overwrite, keep=keep)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "format": form, "read": read, "kept": kept, "rows": rows}))
        return
    typer.echo(f"{out}: {rows} of {read} trajectories as {form}")
    if rows < kept:
        typer.echo(f"{kept - rows} hold no reply and have no row.")
