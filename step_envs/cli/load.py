"""``step-envs load``: get a run or a model from the Hugging Face Hub."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from step_envs.cli.options import AsJson


def load(
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="Repository on the hub.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to make: a run, or a checkpoint.", show_default=False)],
    kind: Annotated[
        str | None, typer.Option(help="dataset or model; the data set of this name, or else the model, if not given.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; the newest state if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load a run or a model that `step-envs push` put on the Hugging Face Hub.

    A run comes back as a run folder, byte for byte, for view, export, train and all other subcommands; one that was not
    complete is continued by `step-envs collect` with --resume. Of a model, the weights are loaded as safetensors only.
    Every file is compared with the digest that the hub names. A download that was cut off goes on where it stopped.

    Needs pip install "step-envs[data]". For a private repository, run `hf auth login` or set HF_TOKEN; HF_ENDPOINT names
    another hub.

    Exit codes: 0 done, 2 wrong input, or the hub refuses it or cannot be reached.

    Example: step-envs load USER/boil --out runs/boil

    Example: step-envs load USER/step-0.5b --out checkpoints/step
    """
    from rich.filesize import decimal

    from step_envs.cli.render import visible
    from step_envs.hub import load as load_repository

    with Console(emoji=False, stderr=True).status("Asking the hub ...") as status:
        report = load_repository(
            repo, out, kind=kind, revision=revision, on_file=lambda name: status.update(visible(name))
        )
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"out": str(report.out)}))
        return
    what = "a model" if report.trajectories is None else f"{report.trajectories:,} trajectories"
    typer.echo(
        f"{report.out}: {what}, {report.files} files, {decimal(report.bytes)} ({report.repo}@{report.commit[:8]})"
    )
    if report.left_out:
        typer.echo(f"Not loaded: {visible(', '.join(report.left_out))}.")
