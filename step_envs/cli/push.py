"""``step-envs push``: put a run or a model on the Hugging Face Hub."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from step_envs.cli.options import AsJson


def push(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder, trajectory file, or folder of a model.", show_default=False),
    ],
    repo: Annotated[str, typer.Option(help="Repository on the hub, as USER/NAME.", show_default=False)],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a repository that is made; else only its owner.")
    ] = False,
    license: Annotated[
        str | None, typer.Option(help="Id of the licence for the card, e.g. mit; left to you on the hub if not given.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run or model that is there; its history keeps it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be pushed, and ask the hub nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Push a run or a trained model to the Hugging Face Hub, with a card.

    A run becomes tables, which the hub shows and datasets.load_dataset("USER/NAME") reads, and beside them the run as it
    was recorded, which `step-envs load` copies back byte for byte. The card says how the data was made, which turns are
    trained, what the paper's filter would drop, and what was left out. A model is what `step-envs train` wrote, without
    its intermediate checkpoints.

    A new repository is private. Before anything is sent, all of it is searched for keys, and refused if there is one. The
    same push again sends nothing; of a run that went on, it sends what has changed. What you write on the hub outside the
    marked part of the card stays, and so does the licence.

    Needs pip install "step-envs[data]" and a token that may write: run `hf auth login`, or set HF_TOKEN. HF_ENDPOINT names
    another hub.

    Exit codes: 0 done, 2 wrong input, or the hub refuses it or cannot be reached.

    Example: step-envs push runs/boil --repo USER/boil --dry-run

    Example: step-envs push checkpoints/step --repo USER/step-0.5b --license apache-2.0
    """
    from rich.filesize import decimal

    from step_envs.hub import push as push_folder

    report = push_folder(folder, repo, public=public, license=license, overwrite=overwrite, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"dry_run": dry_run}))
        return
    for name, size in sorted(report.changed.items()):
        typer.echo(f"  {name}  {decimal(size)}")
    for name in report.removed:
        typer.echo(f"  {name}  removed")
    if report.left_out:
        typer.echo(f"Left out: {', '.join(report.left_out)}.")
    if dry_run:
        typer.echo(f"\n{report.card}")
        typer.echo(f"Nothing was sent. Without --dry-run, these {len(report.changed)} files go to {report.url}.")
    elif not report.changed and not report.removed:
        typer.echo(f"{report.url} holds all of this already: nothing was sent.")
    else:
        seen = "private" if report.private else "public"
        made = f"a new {seen} repository" if report.created else f"{seen}, {report.unchanged} files unchanged"
        typer.echo(f"{report.url}: {len(report.changed)} files pushed ({made}).")
