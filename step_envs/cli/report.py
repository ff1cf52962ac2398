"""``step-envs report``: tables and figures for a paper, from runs."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders or trajectory files.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report.", show_default="report in the first run")
    ] = None,
    curve: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a training or one of its checkpoints, for its learning curve; repeatable."),
    ] = None,
    teacher_eval: Annotated[
        Path | None, typer.Option(help="Output of `step-envs teacher-eval --json`, for how good the teachers are.")
    ] = None,
    taught: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEACHER=RUN",
            help="RUN (one of the RUNs) evaluates a model that was trained on the data of TEACHER (one of --teacher-eval): "
            "for one table of both; repeatable.",
        ),
    ] = None,
    background: Annotated[
        str, typer.Option(help="Colour of the figures' paper: light, or dark for dark slides.")
    ] = "light",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, too.")] = False,
) -> None:
    """Report on runs with tables and pictures for a paper or a talk.

    Tables are Markdown, LaTeX and JSON, with an interval to every share; pictures are SVG, and PNG as wide as a slide.

    Success and reward by split and task type; runs against each other on the same tasks; how often errors were recovered
    from; errors by kind and by step; what the teachers said, beside the oracle's verdicts where a run has them; tokens,
    time and cost. Pictures show success by task type, errors and corrections over the steps, the values along an episode
    (of runs that `step-envs annotate` wrote), and where the time goes. They need matplotlib: pip install
    "step-envs[report]".

    If the interval of a difference contains 0, the report says "no difference"; it also says where there are few tasks.

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs report runs/before runs/after --out report

    Example: step-envs report eval-a eval-b --teacher-eval q.json --taught oracle=eval-a --taught openai:model=x=eval-b

    Example: step-envs report runs/first-values --background dark

    Example: step-envs report runs/trained --curve checkpoints/stage-2
    """
    from rich.console import Console

    from step_envs.cli.render import visible
    from step_envs.figure_style import known_background
    from step_envs.report import gather, make_report, read_curve, read_teacher_eval, taught_models

    folder = out or (runs[0] if runs[0].is_dir() else runs[0].parent) / "report"
    paper = known_background(background)
    gathered = gather(runs)
    measured = [] if teacher_eval is None else read_teacher_eval(teacher_eval)
    made = make_report(
        gathered,
        folder,
        curves=[read_curve(one) for one in curve or []],
        teacher_reports=measured,
        taught=taught_models(taught or [], gathered, measured),
        background=paper,
        command=shlex.join(["step-envs", *sys.argv[1:]]),
    )
    if as_json:
        typer.echo(json.dumps(made.to_json()))
        return
    console = Console(emoji=False, highlight=False)
    for finding in made.findings:
        console.print(visible(finding), markup=False, soft_wrap=True)
    for sentence in made.not_drawn:
        console.print(visible(sentence), markup=False, soft_wrap=True, style="dim")
    console.print(
        visible(
            f"Report: {folder / 'report.md'}   Tables for LaTeX: {folder / 'report.tex'}   Figures: {folder / 'figures'}"
        ),
        markup=False,
        soft_wrap=True,
    )
