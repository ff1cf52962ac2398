"""``step-envs export``: write trajectories in formats that training code reads."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from step_envs.cli.completion import export_formats
from step_envs.cli.options import ConfigFile, MaxErrors, PrintConfig

_FOR_TRAINERS = ("messages", "turns", "sharegpt", "parquet", "datasets")
"""Formats from which other trainers may train more than they should."""
_ABOUT_PAIRS = (
    "A trainer that does not read the weights compares every token of both sides, observations too: TRL's DPOTrainer does. "
    "step_envs.training.preference_tune compares the replies alone."
)

_ABOUT_PRIVILEGED = (
    "TRL's SDFTTrainer cuts each prompt to its last 512 tokens, unless it is told max_prompt_length=None; the task is at "
    "the beginning."
)


def export(
    ctx: typer.Context,
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; for datasets and minari, the folder.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    print_config: PrintConfig = False,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="messages, turns, sharegpt, pairs, step-pairs, privileged, privileged-parquet, parquet, datasets or "
            "minari; see above.",
            autocompletion=export_formats,
        ),
    ] = "messages",
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="Only episodes with this outcome: kept (by the paper's filter), success, recovered, ...; see "
            "`step-envs view --help`; repeatable. All episodes if not given."
        ),
    ] = None,
    max_errors: MaxErrors = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write trajectories in another format, with the loss weight of every turn.

    messages: JSON Lines of {"messages": [{"role", "content", "loss"}], ...}.

    turns: JSON Lines, one for each trained turn, which is the last message; for trainers that know no weights and can be
    told to train on the last message only.

    sharegpt: a JSON list of {"id", "conversations": [{"from", "value", "loss"}]}, as ETO's data.

    pairs: JSON Lines of {"prompt", "chosen", "rejected"}, messages as above: the best success of a task against each worse
    episode of it, as ETO trains.

    step-pairs: the same form, but single replies from the same state: what the teacher or the oracle would have done
    against the agent's error. The episodes are played again for it.

    privileged: JSON Lines of {"prompt", "privileged_context"}, for TRL's SDFTTrainer: the messages before each reply that a
    teacher judged wrong, and beside them, in words, what was wrong and what is right. The episodes are played again for it.

    privileged-parquet: the same as a table.

    parquet: one table, with kind, action, score and verdict of every turn.

    datasets: the same table as a folder for datasets.load_from_disk.

    minari: episodes of one environment, as a folder for minari.MinariDataset: observations are texts, actions whole
    replies.

    parquet, privileged-parquet and datasets need pip install "step-envs[data]", minari needs pip install
    "step-envs[minari]". A file is written whole or not at all, and the same trajectories give the same bytes. Without
    --outcome all episodes are written, and what the paper's filter would leave out is said: those without success, with
    many errors, or with a step without verdict.

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs export runs/boil --format sharegpt --out boil.json

    Example: step-envs export runs/boil --outcome kept --out train.jsonl
    """
    from rich.console import Console

    from step_envs.cli.config_file import settings
    from step_envs.cli.config_output import print_settings
    from step_envs.cli.inputs import selector
    from step_envs.cli.render import filter_sentence
    from step_envs.cli.verb_settings import ExportSettings
    from step_envs.exports import PAIR_FORMATS, PRIVILEGED_FORMATS, UntrainedReplies
    from step_envs.exports import export as write
    from step_envs.training.filters import broken_rule
    from step_envs.trajectory import Trajectory

    if not runs and config is None:
        raise ValueError("Name a run to export, or a file of settings with --config.")
    if out is None and not print_config:
        raise ValueError("Name the file to write with --out.")
    chosen = settings(ctx, ExportSettings, config, renamed={"form": "format"})
    form, asked = chosen.format, chosen.outcome
    wanted = selector(asked, max_errors=chosen.max_errors)
    if print_config:
        print_settings(chosen, "step-envs export --config FILE --out FILE")
        return
    assert out is not None
    rules: Counter[str | None] = Counter()
    kept = 0
    untrained = UntrainedReplies(form)
    with Console(emoji=False, stderr=True).status("Reading ...") as status:

        def keep(trajectory: Trajectory) -> bool:
            nonlocal kept
            rules[broken_rule(trajectory, max_errors=chosen.max_errors)] += 1
            fits = wanted(trajectory)
            kept += fits
            if fits:
                untrained.add(trajectory)
            status.update(f"{rules.total()} trajectories read, {kept} kept")
            return fits

        said: list[str] = []
        rows = write(chosen.runs, out, form, overwrite=chosen.overwrite, keep=keep, say=said.append)
    read = rules.total()
    by_filter = not asked or bool({"kept", "dropped"} & set(asked))
    if as_json:
        answer: dict[str, Any] = {"out": str(out), "format": form, "read": read, "kept": kept, "rows": rows}
        if form in _FOR_TRAINERS:
            answer["untrained_replies"] = untrained.figures()
        if form in PAIR_FORMATS or form in PRIVILEGED_FORMATS:
            answer["notes"] = said
        dropped = {rule: number for rule, number in rules.items() if rule is not None}
        typer.echo(
            json.dumps(answer | ({"paper_filter": {"kept": rules[None], "dropped": dropped}} if by_filter else {}))
        )
        return
    if by_filter:
        hint = "" if asked or rules[None] == read else " All are written: add --outcome kept for those that it keeps."
        typer.echo(f"{filter_sentence(rules.elements())}{hint}")
    elif kept < read:
        typer.echo(f"{read - kept:,} did not end in the outcome asked for and are left out.")
    if form in PAIR_FORMATS:
        typer.echo(f"{out}: {rows:,} pairs from {kept:,} trajectories")
        for sentence in (*said, _ABOUT_PAIRS):
            typer.echo(sentence)
    elif form in PRIVILEGED_FORMATS:
        typer.echo(f"{out}: {rows:,} prompts from {kept:,} trajectories")
        for sentence in (*said, _ABOUT_PRIVILEGED):
            typer.echo(sentence)
    elif form == "turns":
        typer.echo(f"{out}: {rows:,} trained turns of {kept:,} trajectories")
    else:
        typer.echo(f"{out}: {rows} of {read} trajectories as {form}")
        if rows < kept:
            typer.echo(f"{kept - rows} hold no reply and have no row.")
    if form in _FOR_TRAINERS:
        for sentence in untrained.sentences():
            typer.echo(sentence)
