"""``step-envs annotate``: write what each state was worth into the trajectories of runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from step_envs.cli.exit_codes import STOPPED
from step_envs.cli.options import AsJson, Budget, Cache, ConfigFile, Prices, PrintConfig, RequestsPerMinute, Resume

if TYPE_CHECKING:
    from step_envs.credit import AnnotationFigures


def annotate(
    ctx: typer.Context,
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result, a run like any other.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    print_config: PrintConfig = False,
    value: Annotated[
        str, typer.Option(help="Value function: oracle, rollouts:agent=AGENT,n=5, or estimator:model=DIR; see above.")
    ] = "oracle",
    concurrency: Annotated[
        int, typer.Option(min=1, help="Episodes at once; a local checkpoint answers them as one batch.")
    ] = 2,
    env_option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the environments that differs from the recorded one, e.g. data_path=FOLDER."),
    ] = None,
    budget: Budget = None,
    prices: Prices = None,
    cache: Cache = None,
    requests_per_minute: RequestsPerMinute = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Write what each state was worth into the trajectories of runs.

    A value, from 0 to 1, is the expected final score, times the discount for every step that it still takes. OUT gets the
    same trajectories, with a value for the start and for the state after every reply. Except for estimator, their episodes
    are played again, and every answer of the world is compared with the record.

    oracle[:discount=0.95]: by the environment's oracle, exactly.

    rollouts:agent=AGENT[,n=5,discount=0.95,max_steps=STEPS,seed=0]: the mean over n continuations by an agent, which begin
    from a snapshot of the state. Inside AGENT write ; for every comma: rollouts:agent=local:model=DIR;temperature=1,n=5

    estimator:model=DIR[,device=auto,dtype=auto]: by a model that was trained on outcomes with train_progress_estimator; it
    reads the episodes only, and does not discount.

    The figures say how many replies lost value. A right step loses none; one that wastes time loses a little.

    Exit codes: 0 done, 2 wrong input, or a world answers differently than in the record, 3 stopped (budget spent, endpoint
    down), 130 interrupted. What was written is kept, and --resume goes on.

    Example: step-envs annotate runs/boil --out runs/boil-values

    Example: step-envs annotate runs/boil --value rollouts:agent=novice:error_rate=0.3,n=5 --out runs/boil-novice
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from step_envs.cli.config_file import env_options, settings
    from step_envs.cli.config_output import print_settings
    from step_envs.credit import AnnotateConfig
    from step_envs.credit import annotate as run
    from step_envs.errors import BudgetSpentError, ClusterError, EndpointError
    from step_envs.outcomes import read_outcomes
    from step_envs.text import visible

    if not runs and config is None:
        raise ValueError("Name a run to annotate, or a file of settings with --config.")
    if out is None and not print_config:
        raise ValueError("Name the folder of the result with --out.")
    chosen = settings(ctx, AnnotateConfig, config, options={"env_options": env_options(env_option, None)})
    if print_config:
        print_settings(chosen, "step-envs annotate --config FILE --out DIR")
        return
    assert out is not None
    total = sum(1 for one in chosen.runs for _ in read_outcomes(one))
    console = Console(emoji=False, stderr=True)
    columns = (TextColumn("annotated"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        try:
            figures = run(
                chosen, out, resume=resume, on_progress=lambda done: bar.update(task, completed=done.trajectories)
            )
        except (BudgetSpentError, EndpointError, ClusterError) as error:
            bar.stop()
            Console(emoji=False, stderr=True, soft_wrap=True).print(visible(str(error)), markup=False, highlight=False)
            raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(json.dumps(figures.summary()))
    else:
        for line in _lines(figures):
            typer.echo(line)
        typer.echo(f"Trajectories: {out / 'trajectories.jsonl'}   Look at them: step-envs view {out}")


def _lines(figures: "AnnotationFigures") -> list[str]:
    lines = [f"{figures.values:,} values in {figures.trajectories:,} trajectories."]
    if figures.unvalued:
        why = "no way to success is known from their start, or they do not fit into the estimator's context"
        lines.append(f"{figures.unvalued:,} trajectories have no value: {why}.")
    if figures.compared:
        shares = (f"{kind} {figures.fell[kind]:,} of {number:,}" for kind, number in figures.compared.items())
        lines.append(f"Replies that lost value: {', '.join(shares)}.")
    return lines
