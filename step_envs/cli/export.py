"""``step-envs export``: write trajectories in formats that training code reads."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

_FOR_TRAINERS = ("messages", "turns", "sharegpt", "parquet", "datasets")
"""Formats from which other trainers may train more than they should."""


def export(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="File to write; for datasets and minari, the folder.", show_default=False)],
    form: Annotated[
        str, typer.Option("--format", help="messages, turns, sharegpt, parquet, datasets or minari; see above.")
    ] = "messages",
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="Only episodes with this outcome: kept (by the paper's filter), success, recovered, ...; see "
            "`step-envs view --help`; repeatable. All episodes if not given."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write trajectories in another format, with the loss weight of every turn.

    messages: JSON Lines of {"messages": [{"role", "content", "loss"}], ...}.

    turns: JSON Lines, one for each trained turn, which is the last message; for trainers that know no weights and can be
    told to train on the last message only.

    sharegpt: a JSON list of {"id", "conversations": [{"from", "value", "loss"}]}, as ETO's data.

    parquet: one table, with kind, action, score and verdict of every turn.

    datasets: the same table as a folder for datasets.load_from_disk.

    minari: episodes of one environment, as a folder for minari.MinariDataset: observations are texts, actions whole
    replies.

    parquet and datasets need pip install "step-envs[data]", minari needs pip install "step-envs[minari]". A file is written
    whole or not at all, and the same trajectories give the same bytes. Without --outcome all episodes are written, and what
    the paper's filter would leave out is said: those without success, with many errors, or with a step without verdict.

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs export runs/boil --format sharegpt --out boil.json

    Example: step-envs export runs/boil --outcome kept --out train.jsonl
    """
    from rich.console import Console

    from step_envs.cli.inputs import selector
    from step_envs.cli.render import filter_sentence
    from step_envs.exports import UntrainedReplies
    from step_envs.exports import export as write
    from step_envs.training.filters import broken_rule
    from step_envs.trajectory import Trajectory

    wanted = selector(outcome)
    rules: Counter[str | None] = Counter()
    kept = 0
    untrained = UntrainedReplies(form)
    with Console(stderr=True).status("Reading ...") as status:

        def keep(trajectory: Trajectory) -> bool:
            nonlocal kept
            rules[broken_rule(trajectory)] += 1
            chosen = wanted(trajectory)
            kept += chosen
            if chosen:
                untrained.add(trajectory)
            status.update(f"{rules.total()} trajectories read, {kept} kept")
            return chosen

        rows = write(runs, out, form, overwrite=overwrite, keep=keep)
    read = rules.total()
    by_filter = not outcome or "kept" in outcome
    if as_json:
        answer: dict[str, Any] = {"out": str(out), "format": form, "read": read, "kept": kept, "rows": rows}
        if form in _FOR_TRAINERS:
            answer["untrained_replies"] = untrained.figures()
        dropped = {rule: number for rule, number in rules.items() if rule is not None}
        typer.echo(
            json.dumps(answer | ({"paper_filter": {"kept": rules[None], "dropped": dropped}} if by_filter else {}))
        )
        return
    if by_filter:
        hint = "" if outcome or rules[None] == read else " All are written: add --outcome kept for those that it keeps."
        typer.echo(f"{filter_sentence(rules.elements())}{hint}")
    elif kept < read:
        typer.echo(f"{read - kept:,} did not end in the outcome asked for and are left out.")
    if form == "turns":
        typer.echo(f"{out}: {rows:,} trained turns of {kept:,} trajectories")
    else:
        typer.echo(f"{out}: {rows} of {read} trajectories as {form}")
        if rows < kept:
            typer.echo(f"{kept - rows} hold no reply and have no row.")
    if form in _FOR_TRAINERS:
        for sentence in untrained.sentences():
            typer.echo(sentence)
