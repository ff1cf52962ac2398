"""``step-envs teacher-eval``: measure teachers against the oracle, and what they cost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from step_envs.cli.completion import env_ids
from step_envs.cli.exit_codes import SOME_FAILED
from step_envs.cli.options import (
    AsJson,
    Budget,
    Concurrency,
    ConfigFile,
    EnvOptions,
    Prices,
    PrintConfig,
    Split,
    TaskTypes,
)

if TYPE_CHECKING:
    from step_envs.collection.teacher_evaluation import TeacherReport
    from step_envs.statistics import Interval


def teacher_eval(
    ctx: typer.Context,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Teacher, e.g. openai:model=NAME,base_url=URL; repeatable.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    print_config: PrintConfig = False,
    env: Annotated[list[str] | None, typer.Option(help="Environment id; repeatable.", autocompletion=env_ids)] = None,
    split: Split = None,
    task_type: TaskTypes = None,
    env_option: EnvOptions = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes for each environment.")] = 20,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Rate of mistakes in these episodes.")] = 0.3,
    concurrency: Concurrency = 2,
    seed: Annotated[int, typer.Option(min=0, help="Decides tasks and mistakes.")] = 0,
    budget: Budget = None,
    prices: Prices = None,
    cache: Annotated[
        Path | None, typer.Option(help="Response cache; if not given, every verdict is asked for again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure teachers against the oracle's labels, on the same episodes with known mistakes.

    Precision: the share of the steps that it calls wrong which are wrong. Recall: the share of the wrong steps that it
    finds. Back on track: the share of its corrections after which the oracle can still complete the task. Brackets hold
    95 % intervals.

    Exit codes: 0 done, 1 a teacher gave no verdict at all, 2 wrong input, or a model cannot be asked.

    Example: step-envs teacher-eval --teacher openai:model=qwen,base_url=http://localhost:8000/v1 --teacher oracle

    Example: step-envs teacher-eval --config quality.toml --json > quality.json
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    from step_envs.cli.config_file import env_options, settings
    from step_envs.cli.config_output import print_settings
    from step_envs.cli.inputs import world
    from step_envs.cli.render import visible
    from step_envs.cli.verb_settings import TeacherEvalSettings
    from step_envs.collection.teacher_evaluation import evaluate_teacher
    from step_envs.endpoint import CostLedger, Gateway, ResponseCache

    if not teacher and config is None:
        raise ValueError("Name a teacher with --teacher, or a file of settings with --config.")
    chosen = settings(ctx, TeacherEvalSettings, config, options={"env_options": env_options(env_option, task_type)})
    for name in chosen.env:
        world(name)  # raises an error if there is no such environment
    if print_config:
        print_settings(chosen, "step-envs teacher-eval --config FILE")
        return
    gateway = Gateway(
        cache=None if chosen.cache is None else ResponseCache(chosen.cache),
        ledger=CostLedger(prices=chosen.prices, budget=chosen.budget),
    )
    reports = []
    console = Console(emoji=False, stderr=True)
    with Progress(TextColumn("{task.description}"), MofNCompleteColumn(), console=console, transient=True) as bar:
        for name in chosen.env:
            for spec in chosen.teacher:
                task = bar.add_task(f"{spec} in {name}", total=chosen.episodes)
                reports.append(
                    evaluate_teacher(
                        spec,
                        name,
                        env_options=chosen.env_options,
                        split=chosen.split,
                        episodes=chosen.episodes,
                        error_rate=chosen.error_rate,
                        seed=chosen.seed,
                        gateway=gateway,
                        concurrency=chosen.concurrency,
                        on_progress=lambda done, task=task: bar.update(task, completed=done),  # type: ignore[misc]
                    )
                )
    gateway.close()
    if as_json:
        typer.echo(json.dumps([report.to_dict() for report in reports]))
    else:
        _show(reports)
    silent = [report for report in reports if report.steps and report.unknown.value == 1.0]
    for report in silent:
        text = f"{report.teacher} has not given a single verdict, in {report.steps:,} steps of {report.env}."
        Console(emoji=False, stderr=True, soft_wrap=True).print(visible(text), markup=False, highlight=False)
    if silent:
        raise typer.Exit(SOME_FAILED)


def _show(reports: "list[TeacherReport]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from step_envs.cli.render import visible

    # One row per figure and one column per teacher: with intervals, the other way round is too wide for a terminal.
    figures: dict[str, Callable[[TeacherReport], str]] = {
        "Steps judged": lambda one: f"{one.steps:,}",
        "Wrong steps among them": lambda one: f"{one.errors:,}",
        "Precision": lambda one: _share(one.precision),
        "Recall": lambda one: _share(one.recall),
        "F1": lambda one: _share(one.f1),
        "Back on track": lambda one: _share(one.back_on_track),
        "No verdict": lambda one: _share(one.unknown),
        "Tokens a step": lambda one: f"{one.tokens_per_step:,.0f}",
        "$ for 1,000 steps": lambda one: "-" if one.cost_per_step is None else f"{1000 * one.cost_per_step:.2f}",
    }
    console = Console(emoji=False)
    for env in dict.fromkeys(report.env for report in reports):
        shown = [report for report in reports if report.env == env]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(visible(env)), title_justify="left")
        table.add_column("", no_wrap=True)
        for report in shown:
            table.add_column(Text(visible(report.teacher)), justify="right", overflow="fold", min_width=17)
        for name, figure in figures.items():
            table.add_row(name, *map(figure, shown))
        console.print(table)


def _share(share: "Interval") -> str:
    if share.value is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
