"""``step-envs eval``: how good is an agent, how well does it recover, and is it better than another?"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from step_envs.cli.options import (
    AsJson,
    Budget,
    Cache,
    Concurrency,
    ConfigFile,
    Env,
    EnvOptions,
    EpisodeSeconds,
    Prices,
    PrintConfig,
    ReplyFormat,
    RequestsPerMinute,
    Resume,
    Split,
    Style,
    TaskFile,
    TaskTypes,
    ThinkActions,
    Tolerant,
)

if TYPE_CHECKING:
    from step_envs.collection.progress import Progress
    from step_envs.training.evaluation import EvalConfig


def eval(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder of the evaluation.", show_default=False)] = None,
    config: ConfigFile = None,
    print_config: PrintConfig = False,
    env: Env = "STeP-ALFWorld-v0",
    split: Split = None,
    task_type: TaskTypes = None,
    tasks: TaskFile = None,
    agent: Annotated[
        str,
        typer.Option(
            help="Who acts: local:model=FOLDER,temperature=0.7 (a checkpoint); openai:model=NAME,base_url=URL; oracle, "
            "novice, random."
        ),
    ] = "oracle",
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Tasks to play, drawn with the seed; all of the split if not given.")
    ] = None,
    per_task: Annotated[int, typer.Option(min=1, help="Episodes of each task, for agents that sample.")] = 1,
    protocol: Annotated[
        str,
        typer.Option(
            help="own: reward and limits of the environment; eto: those of ETO, as STeP and its family report."
        ),
    ] = "own",
    style: Style = "eto",
    reply_format: ReplyFormat = "react",
    tolerant: Tolerant = False,
    think_actions: ThinkActions = False,
    env_option: EnvOptions = None,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="Start inside an error, and also at the same place without the error.")
    ] = False,
    after: Annotated[
        int | None, typer.Option(min=0, help="--recovery: steps of the oracle before the error; drawn if not given.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Compare two evaluations instead, task by task.", show_default=False),
    ] = None,
    concurrency: Concurrency = 16,
    seed: Annotated[int, typer.Option(min=0, help="Decides the tasks, their order, and everything random.")] = 0,
    budget: Budget = None,
    prices: Prices = None,
    cache: Cache = None,
    requests_per_minute: RequestsPerMinute = None,
    episode_seconds: EpisodeSeconds = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Play tasks without a teacher, and report how often the agent succeeds and how it behaves.

    OUT is a run like any other (step-envs view OUT), with evaluation.json in addition. Brackets hold 95 % intervals:
    Wilson's for shares of tasks, else a bootstrap that draws whole tasks. Two evaluations with the same seed play the same
    tasks, so that they can be compared in pairs.

    --recovery measures what reflection is for: the oracle plays the first steps, then one wrong step is taken, and the
    agent continues with the error in its conversation. It also continues from the same place without the error. OUT
    gets both evaluations and recovery.json.

    With more --episodes (or --per-task, if tasks are played several times), --resume makes an evaluation longer.

    --compare compares two evaluations task by task. It reports "no difference" if the 95 % interval of the difference
    contains 0, or if McNemar's test gives p >= 0.05.

    Exit codes: 0 done, 1 some episodes failed or the agent never began one, 2 wrong input, 3 stopped (budget spent,
    endpoint down), 130 interrupted.

    Example: step-envs eval --agent local:model=checkpoints/step --split valid_unseen --concurrency 64 --out runs/step

    Example: step-envs eval --agent local:model=checkpoints/step --episodes 100 --recovery --out runs/step-recovery

    Example: step-envs eval --compare runs/golden runs/step
    """
    if compare is not None:
        if print_config:
            raise ValueError("--print-config prints the settings of an evaluation: leave --compare away.")
        _compare(*compare, as_json=as_json)
        return
    if out is None and not print_config:
        raise ValueError("Name the folder of the evaluation with --out, or two evaluations with --compare A B.")
    from step_envs.cli.config_file import env_options, settings
    from step_envs.cli.config_output import print_settings
    from step_envs.cli.inputs import tasks_in, world
    from step_envs.cli.verb_settings import EvalSettings

    chosen = settings(
        ctx,
        EvalSettings,
        config,
        read={"tasks": tasks_in},
        options={"env_options": env_options(env_option, task_type)},
    )
    world(chosen.env)  # raises an error if there is no such environment
    if print_config:
        print_settings(chosen, "step-envs eval --config FILE --out DIR")
        return
    assert out is not None
    if chosen.recovery:
        _recover(chosen.evaluation(), out, chosen.after, resume=resume, as_json=as_json)
    else:
        _evaluate(chosen.evaluation(), out, resume=resume, as_json=as_json)


def _evaluate(config: "EvalConfig", out: Path, *, resume: bool, as_json: bool) -> None:
    from step_envs.cli.dashboard import watched_run
    from step_envs.cli.eval_tables import evaluation_table
    from step_envs.training.evaluation import evaluate

    console = Console(emoji=False, stderr=as_json)
    with watched_run(console, f"{out}: {config.env}, {config.agent}", out, done="played") as dashboard:
        found = evaluate(config, out, resume=resume, on_start=dashboard.begin, on_progress=dashboard.note)
    _show(console, found.model_dump_json(by_alias=True), as_json, lambda: evaluation_table(found, str(out)))
    _end(console, dashboard.runs)


def _recover(config: "EvalConfig", out: Path, after: int | None, *, resume: bool, as_json: bool) -> None:
    from step_envs.cli.dashboard import watched_run
    from step_envs.cli.eval_tables import recovery_table
    from step_envs.training.comparison import ComparisonError
    from step_envs.training.recovery import recover

    console = Console(emoji=False, stderr=as_json)
    with watched_run(console, f"{out}: recovery, {config.env}, {config.agent}", out, done="played") as dashboard:
        try:
            found = recover(
                config, out, after=after, resume=resume, on_start=dashboard.begin, on_progress=dashboard.note
            )
        except ComparisonError:
            # Nothing is left to compare where the agent never began, or every episode failed.
            dashboard.close()
            _end(console, dashboard.runs)
            raise
    _show(console, found.model_dump_json(by_alias=True), as_json, lambda: recovery_table(found, str(out)))
    _end(console, dashboard.runs)


def _end(console: Console, runs: "Sequence[Progress]") -> None:
    """Say what is missing and why, as ``collect`` says it, and exit with the code for that."""
    from step_envs.cli.dashboard import exit_if_incomplete
    from step_envs.cli.render import failure_lines

    for run in runs:
        for line in failure_lines(run.failures):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    exit_if_incomplete(runs)


def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    from step_envs.cli.eval_tables import comparison_table
    from step_envs.training.comparison import compare

    found = compare(first, second)
    _show(
        Console(emoji=False, stderr=as_json),
        found.model_dump_json(by_alias=True),
        as_json,
        lambda: comparison_table(found),
    )


def _show(console: Console, text: str, as_json: bool, table: Callable[[], Any]) -> None:
    if as_json:
        typer.echo(json.dumps(json.loads(text)))
    else:
        console.print(table(), highlight=False)
